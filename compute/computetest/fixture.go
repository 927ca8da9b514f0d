package computetest

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
)

// fixture is one test's host, a connection to it, and a Cloud of its own.
type fixture struct {
	*testing.T
	h     Harness
	host  Host
	d     computedriver.Hypervisor
	ctx   context.Context
	cloud string
}

func newFixture(t *testing.T, h Harness) *fixture {
	f := &fixture{T: t, h: h, host: h.New(t), ctx: t.Context(), cloud: "suite-" + id.Random()}
	f.d = f.open()
	return f
}

// open makes one more connection to the host.
func (f *fixture) open() computedriver.Hypervisor {
	d := f.host.Open(f.T)
	f.Cleanup(func() { _ = d.Close() })
	return d
}

// guest returns a guest that is not defined yet; it is undefined when the test ends.
func (f *fixture) guest() computedriver.Guest {
	g := computedriver.Guest{
		Mark:      computedriver.Mark{Cloud: f.cloud, ID: id.Random(), Generation: 1},
		Name:      "suite",
		Hostname:  "suite-host",
		VCPUs:     1,
		MemoryMiB: 256,
		Root:      computedriver.Disk{SizeGiB: 1},
		ConfigDrive: map[string][]byte{
			"openstack/latest/meta_data.json": []byte(`{"hostname":"suite-host","uuid":"u"}`),
			"openstack/latest/user_data":      []byte("#!/bin/sh\necho user data\n"),
		},
	}
	if f.h.Binding.VIFType() != "unbound" {
		g.NICs = []computedriver.NIC{{PortID: id.Random(), MAC: "fa:16:3e:00:00:01", Binding: f.h.Binding}}
	}
	f.h.Shape(&g)
	f.Cleanup(func() {
		d := f.host.Open(f.T) // not f.d, which a test may have closed
		_ = d.Undefine(context.Background(), computedriver.Ref{ID: g.Mark.ID, Generation: 1 << 40})
		_ = d.Close()
	})
	return g
}

// based returns a guest whose root disk starts as an image that the host has not seen.
func (f *fixture) based() computedriver.Guest {
	g := f.guest()
	g.Root = computedriver.Disk{Base: f.base()}
	return g
}

func (f *fixture) base() *computedriver.Base {
	var b computedriver.Base
	if f.h.Base != nil {
		b = *f.h.Base
	} else {
		data := bytes.Repeat([]byte("nubecula"), 1<<17)
		sum := sha512.Sum512(data)
		b = computedriver.Base{Format: "raw", SizeBytes: int64(len(data)), SHA512: hex.EncodeToString(sum[:]),
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
	}
	b.ID = id.Random()
	return &b
}

// defined returns a guest that is off, running one that is on.
func (f *fixture) defined() computedriver.Guest {
	f.Helper()
	g := f.guest()
	require.NoError(f, f.d.Define(f.ctx, g))
	return g
}

func (f *fixture) running() computedriver.Guest {
	f.Helper()
	g := f.defined()
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	return g
}

// state returns the line that d lists for the guest.
func (f *fixture) state(d computedriver.Hypervisor, id string) (computedriver.GuestState, bool) {
	f.Helper()
	all, err := d.Guests(f.ctx)
	require.NoError(f, err)
	var found []computedriver.GuestState
	for _, s := range all {
		if s.Mark.ID == id {
			found = append(found, s)
		}
	}
	require.LessOrEqual(f, len(found), 1, "guest %s is listed more than once: %v", id, found)
	if len(found) == 0 {
		return computedriver.GuestState{}, false
	}
	return found[0], true
}

// want checks that exactly g is listed, in this power state.
func (f *fixture) want(g computedriver.Guest, p computedriver.Power) {
	f.Helper()
	s, ok := f.state(f.d, g.Mark.ID)
	require.True(f, ok, "guest %s is not listed", g.Mark.ID)
	require.Equal(f, g.Mark, s.Mark)
	require.Equal(f, p, s.Power, "power of guest %s", g.Mark.ID)
}

// absent checks that no guest of that id is listed.
func (f *fixture) absent(id string) {
	f.Helper()
	s, ok := f.state(f.d, id)
	require.False(f, ok, "guest %s is still listed: %v", id, s)
}

// code checks that err carries the code.
func (f *fixture) code(want fault.Code, err error, what ...any) {
	f.Helper()
	require.Error(f, err, what...)
	require.Equal(f, want.String(), fault.CodeOf(err).String(), "%s: %v", fmt.Sprint(what...), err)
}

// at returns g as a later placement would have it.
func at(g computedriver.Guest, generation int64) computedriver.Guest {
	g.Mark.Generation = generation
	return g
}
