package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nubecula/cloud/internal/clock"
)

// skewed is the machine's clock as people who set it wrong would make it. What is measured goes on evenly.
type skewed struct {
	clock.Clock
	by atomic.Int64 // nanoseconds
}

// newSkewed reads the file, if there is one, now and at each SIGHUP.
func newSkewed(ctx context.Context, file string) (*skewed, error) {
	s := &skewed{Clock: clock.System()}
	if file == "" {
		return s, nil
	}
	if err := s.read(file); err != nil {
		return nil, err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				if err := s.read(file); err != nil {
					fmt.Fprintln(os.Stderr, "node:", err)
				}
			}
		}
	}()
	return s, nil
}

func (s *skewed) read(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	by, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	s.by.Store(int64(by))
	return nil
}

func (s *skewed) Now() time.Time { return s.Clock.Now().Add(time.Duration(s.by.Load())) }
