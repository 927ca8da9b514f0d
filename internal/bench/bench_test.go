package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var tab table
	tab.add("boots", 412.7, "boots/s", "0.5-1.0", "%d boots", 9)
	tab.atLeast(1000)
	tab.add("first answer", 0.04567, "ms", "", "none")
	tab.atMost(0.5)
	var out strings.Builder
	tab.print(&out)
	lines := strings.Split(out.String(), "\n")
	require.Equal(t, []string{
		"WHAT          VALUE   UNIT     GOAL          OPENSTACK ZED  NOTE",
		"boots         413     boots/s  >= 1000 NO    0.5-1.0        9 boots",
		"first answer  0.0457  ms       <= 0.500 yes  -              none",
	}, lines[:3])
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 0.5: "0.500", 9.876: "9.88", 31.25: "31.2", 99.96: "100.0", 123.4: "123", 18000: "18000", 1e-9: "0.000000"} {
		require.Equal(t, want, number(v), v)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	count := func(context.Context, int) error { calls.Add(1); return nil }
	r, err := load(t.Context(), 3, time.Hour, 10, count)
	require.NoError(t, err)
	require.Equal(t, 10, r.n)
	require.EqualValues(t, 13, calls.Load(), "each client calls once before it counts")
	require.Len(t, r.times, 10)

	wrong := errors.New("wrong")
	_, err = load(t.Context(), 2, time.Hour, 0, func(context.Context, int) error {
		if calls.Add(1) > 20 {
			return wrong
		}
		return nil
	})
	require.ErrorIs(t, err, wrong)
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	r := result{}
	for i := 10; i > 0; i-- {
		r.times = append(r.times, time.Duration(i)*time.Millisecond)
	}
	require.Equal(t, 6.0, r.quantile(0.5))
	require.Equal(t, 10.0, r.quantile(1))
	require.Zero(t, result{}.quantile(0.5))
}

func TestPassword(t *testing.T) {
	t.Parallel()
	clouds := "clouds:\n  lab-admin:\n    auth:\n      password: wrong\n  lab:\n    auth:\n      username: demo\n      password: right\n  x:\n"
	got, err := password([]byte(clouds), "lab")
	require.NoError(t, err)
	require.Equal(t, "right", got)
	_, err = password([]byte("clouds:\n  lab-admin:\n    auth:\n      password: wrong\n"), "lab")
	require.Error(t, err)
}

func TestProcess(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs /proc")
	}
	bytes, err := resident(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, bytes, int64(1<<20))
	used, err := cpuTime(os.Getpid())
	require.NoError(t, err)
	require.Less(t, used, time.Hour)
	_, err = cpuTime(1 << 30)
	require.Error(t, err)
}

func TestUnknownSection(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), []string{"-only", "nothing-like-it", "-dir", t.TempDir()}), "no section has such a name")
}

func TestPlot(t *testing.T) {
	t.Parallel()
	svg := plot([]point{{servers: 1000, bootCPU: 2, roundCPU: 2, page: 10, show: 0.05, delCPU: 1},
		{servers: 100000, bootCPU: 2.5, roundCPU: 2.5, page: 11, show: 0.06, delCPU: 1.25}})
	var text []string
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if c, ok := token.(xml.CharData); ok && len(bytes.TrimSpace(c)) > 0 {
			text = append(text, string(c))
		}
	}
	require.Equal(t, []string{"0.01", "0.1", "1", "10", "100", "1000", "100000", "servers in the store",
		"page of 1,000, ms", "boot, ms of processor", "boot beside a round, ms", "delete, ms of processor", "one server, ms"}, text)
	require.Contains(t, string(svg), `d="M70.0 102.5L530.0 `, "the first line goes from the left edge to the right one")
	require.NotContains(t, string(svg), "NaN")
	names := regexp.MustCompile(`<text x="540" y="([0-9.]+)"`).FindAllStringSubmatch(string(svg), -1)
	require.Len(t, names, 5)
	seen := map[string]bool{}
	for _, n := range names {
		require.False(t, seen[n[1]], "two names on one line")
		seen[n[1]] = true
	}
}
