package finding

import "sync"

// Told keeps alarms from being given again and again: it remembers which were due in the last pass. The zero value is ready.
type Told struct {
	mu   sync.Mutex
	last map[string]bool
}

// Pass begins a pass. One that is not ended leaves what is remembered as it was.
func (t *Told) Pass() *Pass {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Pass{t, t.last, map[string]bool{}}
}

// Pass is one look at what may be due. It is used by one goroutine.
type Pass struct {
	told      *Told
	last, due map[string]bool
}

// First notes an alarm that is due, by a key, and reports whether it was not the last time.
func (p *Pass) First(key string) bool {
	p.due[key] = true
	return !p.last[key]
}

// End has the next pass compare with this one.
func (p *Pass) End() {
	p.told.mu.Lock()
	defer p.told.mu.Unlock()
	p.told.last = p.due
}
