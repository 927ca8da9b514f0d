package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/nubecula/cloud/operator"
)

// backup copies the store into a file.
func backup(ctx context.Context, args []string, out io.Writer) error {
	dir, files, err := parseOnly("backup", " FILE", args, 1, 1)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(files[0])
	if err != nil {
		return err
	}
	c, err := dial(ctx, dir)
	switch {
	case err == nil:
		var done operator.BackedUp
		err = c.ask(ctx, "POST", "/backup", map[string]string{"path": path}, &done)
	case errors.Is(err, errNotRunning):
		err = backupAtRest(ctx, dir, path)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `%s holds the store as it was when this command began.
Keep with it, once, since they never change: %s (without it no secret in the backup can be read; keep it apart from the backups) and %s.
Copy %s after each backup: it then has every image that the backup knows.
`, path, filepath.Join(dir, "key"), filepath.Join(dir, "passwords.json"), filepath.Join(dir, "images"))
	return nil
}

func backupAtRest(ctx context.Context, dir, path string) error {
	if err := isLab(dir); err != nil {
		return err
	}
	s, db, err := openStore(dir)
	if err != nil {
		return err
	}
	return errors.Join(db.Backup(ctx, path), s.Close())
}
