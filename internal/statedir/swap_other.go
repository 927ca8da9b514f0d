//go:build !linux

package statedir

import "os"

// swap puts the file tmp in the place of path; the old file, if there is one, may stay as tmp.
func swap(tmp, path string) error { return os.Rename(tmp, path) }
