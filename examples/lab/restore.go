package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// restore puts a backup in the place of the store.
func restore(ctx context.Context, args []string, out io.Writer) error {
	dir, files, err := parseOnly("restore", " FILE", args, 1, 1)
	if err != nil {
		return err
	}
	if err := ended(ctx, dir); err != nil {
		return err
	}
	key := filepath.Join(dir, "key")
	kept, err := sqlite.Restore(files[0], filepath.Join(dir, "nubecula.db"), func(copy string) error {
		if err := opens(ctx, copy, key); err != nil {
			return fmt.Errorf("the backup does not open with %s, which must be the key of the lab that was backed up: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is the store now.\n", files[0])
	if kept != "" {
		fmt.Fprintf(out, "What was there before is kept as %s; delete it when you do not want it back.\n", kept)
	}
	fmt.Fprintln(out, "Start the lab, and run `lab check`: if hosts have seen a newer store, nothing is deleted and no address given out before `lab accept-store`.")
	return nil
}

// opens tries the sealing key on a database.
func opens(ctx context.Context, path, keyFile string) error {
	if _, err := os.Stat(keyFile); err != nil { // KeyFile would make one
		return err
	}
	key, err := store.KeyFile(keyFile)
	if err != nil {
		return err
	}
	db, err := sqlite.Open(path, nil)
	if err != nil {
		return err
	}
	s, err := store.New(db, store.Options{Key: key})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	return errors.Join(s.Prepare(ctx), s.Close())
}
