//go:build !linux

package statedir

import "os"

// swap puts the file tmp in the place of path.
func swap(tmp, path string) error { return os.Rename(tmp, path) }
