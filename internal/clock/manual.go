package clock

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Manual is a Clock whose time stands still until Advance. It counts the
// goroutines that wait on it, so that a test can tell "all wait for time" from "still at work".
type Manual struct {
	mu       sync.Mutex
	now      time.Time
	mono     time.Duration
	seq      int
	timers   []*timer // by due, then seq
	sleepers int
	onSleep  func()
}

type timer struct {
	due time.Duration
	seq int
	f   func()
}

// NewManual returns a clock that stands at start.
func NewManual(start time.Time) *Manual { return &Manual{now: start.UTC()} }

// Now returns the wall time set by Advance and Jump.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Mono returns the sum of all Advances.
func (m *Manual) Mono() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mono
}

// Jump sets the wall clock forward or back as an administrator would; no timer fires.
func (m *Manual) Jump(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}

// Advance moves time by d and runs, in order and in the caller's goroutine, what falls due.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	end := m.mono + d
	for len(m.timers) > 0 && m.timers[0].due <= end {
		t := m.timers[0]
		m.timers = m.timers[1:]
		m.now = m.now.Add(max(0, t.due-m.mono))
		m.mono = max(m.mono, t.due)
		m.mu.Unlock()
		t.f()
		m.mu.Lock()
	}
	m.now = m.now.Add(end - m.mono)
	m.mono = end
	m.mu.Unlock()
}

// Step moves time to the earliest timer and runs that one alone, in a goroutine of its own as the machine's clock
// does. It reports false, and does nothing, when none falls due within limit. The goroutine may still be at work.
func (m *Manual) Step(limit time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.timers) == 0 || m.timers[0].due > m.mono+limit {
		return false
	}
	t := m.timers[0]
	m.timers = m.timers[1:]
	m.now = m.now.Add(max(0, t.due-m.mono))
	m.mono = max(m.mono, t.due)
	go t.f()
	return true
}

// Next returns how long until the earliest timer, and whether there is one.
func (m *Manual) Next() (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.timers) == 0 {
		return 0, false
	}
	return max(0, m.timers[0].due-m.mono), true
}

// OnSleep has f called whenever a goroutine has entered Sleep. nil ends that.
func (m *Manual) OnSleep(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onSleep = f
}

// Sleepers returns how many goroutines are inside Sleep.
func (m *Manual) Sleepers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sleepers
}

// AfterFunc arranges for f to run inside the Advance that reaches d from now.
func (m *Manual) AfterFunc(d time.Duration, f func()) func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	t := &timer{due: m.mono + max(0, d), seq: m.seq, f: f}
	at, _ := slices.BinarySearchFunc(m.timers, t, func(a, b *timer) int {
		if a.due != b.due {
			return int(a.due - b.due)
		}
		return a.seq - b.seq
	})
	m.timers = slices.Insert(m.timers, at, t)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if i := slices.Index(m.timers, t); i >= 0 {
			m.timers = slices.Delete(m.timers, i, i+1)
		}
	}
}

// Sleep blocks until Advance has moved time by d or ctx ends.
func (m *Manual) Sleep(ctx context.Context, d time.Duration) error {
	woken := make(chan struct{})
	var once sync.Once
	wake := func() {
		once.Do(func() {
			m.mu.Lock()
			m.sleepers--
			m.mu.Unlock()
			close(woken)
		})
	}
	m.mu.Lock()
	m.sleepers++
	notify := m.onSleep
	m.mu.Unlock()
	if d >= 0 {
		defer m.AfterFunc(d, wake)()
	}
	if notify != nil {
		notify()
	}
	defer wake()
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
