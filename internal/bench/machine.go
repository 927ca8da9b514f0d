package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// machine measures what the other figures hang on: the disk and the cost of a password.
func machine(_ context.Context, b *bench) error {
	f, err := os.CreateTemp(b.dir, "fsync-")
	if err != nil {
		return err
	}
	block := make([]byte, 4096)
	var r result
	for range 100 {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return errors.Join(err, f.Close())
		}
		if err := f.Sync(); err != nil {
			return errors.Join(err, f.Close())
		}
		r.times = append(r.times, time.Since(began))
	}
	if err := f.Close(); err != nil {
		return err
	}
	b.add("fsync of 4 KiB, median", r.quantile(0.5), "ms", "", "100 appends to a file where the data is; 90 %% within %s ms", number(r.quantile(0.9)))

	began := time.Now()
	if _, err := bcrypt.GenerateFromPassword([]byte("password"), bcrypt.DefaultCost); err != nil {
		return err
	}
	b.add("bcrypt, cost 10", ms(time.Since(began)), "ms", "", "one processor; %s, %d processors, %s/%s", runtime.Version(), runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH)
	return nil
}
