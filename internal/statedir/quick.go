package statedir

import (
	"errors"
	"os"
	"path/filepath"
)

// spare is a file in each folder that the next document is written to. It then changes places with the old file of that document,
// which is the next spare: no file is made or removed for a change. Both are slow on ext4, the more so the more files were removed
// just now, and so is a rename over an existing file, which writes the new one to the disk at once.
const spare = ".spare"

// replaceQuickly is Replace for what need not outlive a power cut; one call at a time in a folder.
func replaceQuickly(path string, data []byte) error {
	tmp := filepath.Join(filepath.Dir(path), spare)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE, 0o600) // not truncated: ext4 writes such a file to the disk when it is closed
	if err != nil {
		return err
	}
	was, err := f.Stat()
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil && was.Size() > int64(len(data)) {
		err = f.Truncate(int64(len(data)))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(tmp) // on a full disk it would keep room that somebody needs
		return err
	}
	return swap(tmp, path)
}
