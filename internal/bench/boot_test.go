package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkBoot counts what a boot allocates and takes of the processor, on one goroutine; it bears a machine at work
// on other things better than a rate does. Use -benchtime 1000x -benchmem.
func BenchmarkBoot(b *testing.B) {
	for _, name := range []string{"memory", "sqlite"} {
		b.Run(name, func(b *testing.B) {
			var w where
			if name == "sqlite" {
				w.sqlite = b.TempDir()
			}
			c, err := compose(b.Context(), w)
			require.NoError(b, err)
			defer c.Close()
			require.NoError(b, c.boot(b.Context(), 10))
			before, err := cpuTime(os.Getpid())
			require.NoError(b, err)
			for b.Loop() {
				require.NoError(b, c.boot(b.Context(), 1))
			}
			us, err := perCall(os.Getpid(), before, b.N)
			require.NoError(b, err)
			b.ReportMetric(us, "cpu-us/op")
		})
	}
}
