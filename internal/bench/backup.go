package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// ballast is what fills the store that is backed up.
type ballast struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

var ballasts = store.Define(store.Spec[ballast]{Kind: "bench-ballast", Version: 1, ID: func(b *ballast) string { return b.ID }})

// backups are online backups, one after the other, of a store in which 16 goroutines write: what those keep of their rate.
func backups(ctx context.Context, b *bench) (err error) {
	const writers = 16
	megabytes := pick(b.short, 32, 256)
	dir := b.sub("backup")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	db, err := sqlite.Open(filepath.Join(dir, "nubecula.db"), nil)
	if err != nil {
		return err
	}
	s, err := store.New(db, store.Options{Key: store.NewKey()})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Prepare(ctx, ballasts); err != nil {
		return err
	}
	put := func(ctx context.Context, id string, kilobytes int) error {
		return s.Update(ctx, func(tx *store.Tx) error {
			return ballasts.Put(tx, &ballast{id, strings.Repeat("x", kilobytes<<10)})
		})
	}
	for i := range megabytes {
		if err := put(ctx, fmt.Sprint("ballast-", i), 1<<10); err != nil {
			return err
		}
	}
	write := func(ctx context.Context, client int) error { return put(ctx, fmt.Sprint("writer-", client), 1) }
	alone, err := load(ctx, writers, b.measure, 0, write)
	if err != nil {
		return err
	}

	// Backups begin before the writers are measured and end after them, so that there is one all the time.
	var copied, took atomic.Int64 // backups, and nanoseconds of them
	began, stop, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		close(began)
		for i := 0; ; i++ {
			path, at := filepath.Join(dir, fmt.Sprint("copy-", i)), time.Now()
			err := db.Backup(ctx, path)
			took.Add(int64(time.Since(at)))
			copied.Add(1)
			err = errors.Join(err, os.Remove(path))
			select {
			case <-stop:
				ended <- err
				return
			default:
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	<-began
	during, err := load(ctx, writers, b.measure, 0, write)
	close(stop)
	if err = errors.Join(err, <-ended); err != nil {
		return err
	}
	b.add("writes, sqlite, 16 goroutines", alone.rate(), "1/s", "", "99th percentile %.1f ms; a document of 1 KB each, synchronous FULL", alone.quantile(0.99))
	b.add("the same during an online backup", during.rate(), "1/s", "", "99th percentile %.1f ms", during.quantile(0.99))
	b.add("kept of their rate", 100*during.rate()/alone.rate(), "%", "", "one backup behind the other, with check and fsync")
	b.add("one such backup", float64(took.Load())/float64(copied.Load())/1e9, "s", "", "of %d MB; %d of them", megabytes, copied.Load())
	return nil
}
