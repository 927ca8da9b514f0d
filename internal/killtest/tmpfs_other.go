//go:build !linux

package main

import "errors"

func noTmpfs() string { return "a tmpfs is Linux's" }

func mountTmpfs(string, string) error { return errors.New(noTmpfs()) }

func unmount(string) error { return nil }
