package fakecompute_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/internal/serverdata"
)

func BenchmarkDefineStart(b *testing.B) {
	for _, where := range []string{"memory", "dir"} {
		b.Run(where, func(b *testing.B) {
			h := open(b, where)
			for i := 0; b.Loop(); i++ {
				g := guest(fmt.Sprintf("guest-%d", i))
				g.ConfigDrive = serverdata.Tree(&serverdata.Server{ID: g.Mark.ID, Name: g.Name, Hostname: g.Hostname, RandomSeed: make([]byte, 512)}) // as a cloud makes it
				require.NoError(b, h.Define(b.Context(), g))
				require.NoError(b, h.Start(b.Context(), g.Mark.Ref()))
			}
		})
	}
}

func BenchmarkGuests(b *testing.B) {
	for _, where := range []string{"memory", "dir"} {
		b.Run(where+"/10000", func(b *testing.B) {
			h := open(b, where)
			for i := range 10000 {
				require.NoError(b, h.Define(b.Context(), guest(fmt.Sprintf("guest-%d", i))))
			}
			for b.Loop() {
				all, err := h.Guests(b.Context())
				require.NoError(b, err)
				require.Len(b, all, 10000)
			}
		})
	}
}

func open(t testing.TB, where string) *fakecompute.Hypervisor {
	t.Helper()
	o := fakecompute.Options{}
	if where == "dir" {
		o.Dir = t.TempDir()
	}
	return connect(t, o)
}

func connect(t testing.TB, o fakecompute.Options) *fakecompute.Hypervisor {
	t.Helper()
	h, err := fakecompute.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

func guest(id string) computedriver.Guest {
	return computedriver.Guest{
		Mark:      computedriver.Mark{Cloud: "cloud", ID: id, Generation: 1},
		Name:      "name of " + id,
		Hostname:  "host-of-" + id,
		VCPUs:     2,
		MemoryMiB: 1024,
		Root:      computedriver.Disk{SizeGiB: 10},
		ConfigDrive: map[string][]byte{
			"openstack/latest/meta_data.json": []byte(`{"uuid":"` + id + `","hostname":"` + id + `.novalocal","public_keys":{"mine":"ssh-ed25519 AAAA me@here"}}`),
			"openstack/latest/user_data":      []byte("#!/bin/sh\necho hello\n"),
		},
	}
}
