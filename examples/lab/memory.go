package main

import (
	"os"
	"runtime/debug"
	"time"
)

// useMemory lets the heap grow to three times what is in use, not twice, before garbage is collected, unless $GOGC says otherwise:
// a lab's heap is small, and collecting it was 7 % of a boot. What the start needed and nothing after it goes back to the system soon.
func useMemory() (stop func()) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	t := time.AfterFunc(3*time.Second, debug.FreeOSMemory)
	return func() { t.Stop() }
}
