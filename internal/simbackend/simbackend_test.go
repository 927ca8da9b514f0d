package simbackend_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/computetest"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/image/imagetest"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/simbackend"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/network/networktest"
)

// serve starts a backend and returns it with its socket.
func serve(t *testing.T, o *simbackend.Options) (*simbackend.Server, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sim") // t.TempDir is too long for a socket
	require.NoError(t, err)
	address := filepath.Join(dir, "sock")
	s, err := simbackend.NewServer(o)
	require.NoError(t, err)
	l, err := net.Listen("unix", address)
	require.NoError(t, err)
	go s.Serve(l)
	t.Cleanup(func() { l.Close(); os.RemoveAll(dir) })
	return s, address
}

func TestHypervisorConformance(t *testing.T) {
	t.Parallel()
	_, address := serve(t, nil)
	computetest.Run(t, computetest.Harness{
		Wait:    computetest.Poll(10 * time.Second), // for hints
		Binding: networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: "br-fake"}},
		New: func(*testing.T) computetest.Host {
			name := id.Random()
			return computetest.Host{Open: func(*testing.T) computedriver.Hypervisor { return simbackend.NewHypervisor(address, name) }}
		},
	})
}

func TestProviderConformance(t *testing.T) {
	t.Parallel()
	_, address := serve(t, nil)
	networktest.Run(t, networktest.Harness{New: func(*testing.T) networktest.Backend {
		return networktest.Backend{Open: func(*testing.T) networkdriver.Provider { return simbackend.NewProvider(address) }}
	}})
}

func TestStoreConformance(t *testing.T) {
	t.Parallel()
	_, address := serve(t, nil)
	imagetest.Run(t, imagetest.Harness{New: func(*testing.T) imagetest.Backend {
		return imagetest.Backend{Open: func(*testing.T) imagedriver.Store { return simbackend.NewStore(address) }}
	}})
}

func guest(generation int64) computedriver.Guest {
	return computedriver.Guest{Mark: computedriver.Mark{Cloud: "c", ID: "server", Generation: generation}, Name: "n", VCPUs: 1, MemoryMiB: 1, Root: computedriver.Disk{SizeGiB: 1}}
}

// TestLate: a call whose caller has given up happens all the same.
func TestLate(t *testing.T) {
	t.Parallel()
	m := clock.NewManual(time.Unix(0, 0))
	s, address := serve(t, &simbackend.Options{Clock: m})
	control := simbackend.NewControl(address)
	require.NoError(t, control.SetFaults(t.Context(), simbackend.Rule{Method: "Define", Latency: time.Minute, Times: 1}))
	asleep := make(chan struct{}, 1)
	m.OnSleep(func() { asleep <- struct{}{} })
	h := simbackend.NewHypervisor(address, "h")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asleep; cancel() }()
	require.Equal(t, fault.Canceled, fault.CodeOf(h.Define(ctx, guest(1))))
	list, err := h.Guests(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	computetest.Poll(10*time.Second)(t, "the Server's effect", func() bool { // it learns by and by that the caller has gone
		m.Advance(time.Minute)
		return s.Report().Effects["Define"] == 1
	})
	list, err = h.Guests(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s, address := serve(t, nil)
	control := simbackend.NewControl(address)
	require.NoError(t, control.SetFaults(t.Context(),
		simbackend.Rule{Driver: "h", Method: "Define", Fail: true, Times: 1}, simbackend.Rule{Method: "Start", Fail: true, After: true, Times: 1}))
	h := simbackend.NewHypervisor(address, "h")
	require.Equal(t, fault.Unavailable, fault.CodeOf(h.Define(t.Context(), guest(1))))
	require.NoError(t, h.Define(t.Context(), guest(1)))
	require.Equal(t, fault.Unavailable, fault.CodeOf(h.Start(t.Context(), guest(1).Mark.Ref())))
	require.NoError(t, h.Start(t.Context(), guest(1).Mark.Ref()), "it runs already")
	r, err := control.Report(t.Context())
	require.NoError(t, err)
	require.Equal(t, s.Report(), r)
	require.Equal(t, 2, r.Faults)
	require.Equal(t, 4, r.Calls)
	require.Equal(t, map[string]int{"Define": 1, "Start": 1}, r.Effects)
	require.Equal(t, map[string]simbackend.Tally{"server": {Placements: 1, Starts: 1}}, r.Servers)
	require.Empty(t, r.Violations)
}

// TestSecondCopy: two hosts that each were told to run the server are found, although each did as it was told.
func TestSecondCopy(t *testing.T) {
	t.Parallel()
	s, address := serve(t, nil)
	one, two := simbackend.NewHypervisor(address, "one"), simbackend.NewHypervisor(address, "two")
	for i, h := range []*simbackend.Hypervisor{one, two} {
		g := guest(int64(i + 1))
		require.NoError(t, h.Define(t.Context(), g))
		require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
	}
	require.Equal(t, []string{"server server runs 2 times: generation by host map[one:1 two:2]"}, s.Report().Violations)
}

// TestUploadCutOff: what a killed client sent is torn.
func TestUploadCutOff(t *testing.T) {
	t.Parallel()
	_, address := serve(t, nil)
	c, err := net.Dial("unix", address)
	require.NoError(t, err)
	_, err = c.Write([]byte("POST /image/Put/x HTTP/1.1\r\nHost: sim\r\nContent-Length: 1000\r\n\r\n\x00\x00\x00\x05hello\x00\x00\x00\x05he"))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	store := simbackend.NewStore(address)
	computetest.Poll(10*time.Second)(t, "torn data", func() bool {
		all, err := store.Images(t.Context())
		require.NoError(t, err)
		return len(all) == 1 && all[0].Torn
	})
	_, err = store.Put(t.Context(), "x", bytes.NewReader([]byte("whole")))
	require.NoError(t, err)
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	address := filepath.Join(t.TempDir(), "none")
	err := simbackend.NewHypervisor(address, "h").Start(t.Context(), computedriver.Ref{ID: "x", Generation: 1})
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	require.ErrorContains(t, err, address)
}
