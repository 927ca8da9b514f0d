package main

import (
	"fmt"
	"os"
	"syscall"
)

func noTmpfs() string {
	if os.Geteuid() != 0 {
		return "only root may mount a small tmpfs to be filled"
	}
	return ""
}

func mountTmpfs(dir, size string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=700,size="+size); err != nil {
		return fmt.Errorf("mount tmpfs of %s on %s: %w", size, dir, err)
	}
	return nil
}

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
