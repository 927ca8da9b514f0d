package compute_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/quota"
	"github.com/nubecula/cloud/network"
)

func TestMultipleCreate(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	req := e.request("web")
	req.MinCount, req.MaxCount = 2, 5
	_, err := e.admin.UpdateQuota(e.ctx, "a", map[string]int64{"instances": 3}, false)
	require.NoError(t, err)
	c, err := e.alice.CreateServer(e.ctx, req)
	require.NoError(t, err)
	require.Len(t, c.Servers, 3, "as many as the quota allows")
	require.NotEmpty(t, c.AdminPass)
	e.settle()
	for i, v := range c.Servers {
		v = e.get(v.ID)
		require.Equal(t, compute.StatusActive, v.Status())
		require.Equal(t, fmt.Sprintf("web-%d", i+1), v.Name)
		require.Equal(t, i, v.LaunchIndex)
		require.Equal(t, c.ReservationID, v.ReservationID)
	}
	_, err = e.alice.CreateServer(e.ctx, req)
	require.True(t, fault.Is(err, fault.Quota), err)
	e.sound()
}

func TestInvalidRequests(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	port, err := e.net.As(alice()).CreatePort(e.ctx, network.CreatePort{NetworkID: e.networkID})
	require.NoError(t, err)
	for field, change := range map[string]func(r *compute.CreateServer){
		"name":              func(r *compute.CreateServer) { r.Name = "" },
		"flavorRef":         func(r *compute.CreateServer) { r.FlavorID = "none" },
		"imageRef":          func(r *compute.CreateServer) { r.ImageID = "5d4a25f3-8b8c-4d1b-9f8e-1f4be6d5a111" },
		"key_name":          func(r *compute.CreateServer) { r.KeyName = "none" },
		"availability_zone": func(r *compute.CreateServer) { r.Zone = "mars" },
		"min_count":         func(r *compute.CreateServer) { r.MinCount, r.MaxCount = 3, 2 },
		"max_count":         func(r *compute.CreateServer) { r.MaxCount = 100000 },
		"user_data":         func(r *compute.CreateServer) { r.UserData = make([]byte, 60000) },
		"hostname":          func(r *compute.CreateServer) { r.Hostname = "-no" },
		"security_groups":   func(r *compute.CreateServer) { r.SecurityGroups = []string{"none"} },
		"tags":              func(r *compute.CreateServer) { r.Tags = []string{"a,b"} },
		"networks":          func(r *compute.CreateServer) { r.Auto, r.None = true, true },
		"networks[0]": func(r *compute.CreateServer) {
			r.Networks = []compute.Network{{NetworkID: "5d4a25f3-8b8c-4d1b-9f8e-1f4be6d5a111"}}
		},
		"networks[1]":  func(r *compute.CreateServer) { r.Networks = []compute.Network{{PortID: port.ID}, {PortID: port.ID}} },
		"metadata":     func(r *compute.CreateServer) { r.Metadata = map[string]string{strings.Repeat("k", 256): "v"} },
		"metadata.key": func(r *compute.CreateServer) { r.Metadata = map[string]string{"key": strings.Repeat("v", 256)} },
		"networks[0] address": func(r *compute.CreateServer) {
			r.Networks = []compute.Network{{PortID: port.ID, FixedIP: netip.MustParseAddr("10.0.0.9")}}
		},
	} {
		req := e.request("x")
		change(&req)
		_, err := e.alice.CreateServer(e.ctx, req)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", field, err)
		require.Contains(t, err.Error(), strings.TrimSuffix(field, " address"))
	}
	req := e.request("x")
	req.Files = make([]compute.File, 6)
	for i := range req.Files {
		req.Files[i].Path = "/x"
	}
	_, err = e.alice.CreateServer(e.ctx, req)
	require.True(t, fault.Is(err, fault.Quota), err)
	req = e.request("x")
	req.Zone = "nova:host-1"
	_, err = e.alice.CreateServer(e.ctx, req)
	require.True(t, fault.Is(err, fault.Denied), err)
	page, err := e.admin.ListServers(e.ctx, compute.ServerQuery{AllProjects: true})
	require.NoError(t, err)
	require.Empty(t, page.Servers)
	e.sound()
}

func TestNetworksOfServer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	req := e.request("none")
	req.None = true
	v := e.create(req)
	require.Empty(t, v.NICs)

	req = e.request("fixed")
	req.Networks = []compute.Network{{NetworkID: e.networkID, FixedIP: netip.MustParseAddr("10.0.7.7"), Tag: "front"}}
	v = e.create(req)
	e.settle()
	require.Equal(t, "10.0.7.7", e.get(v.ID).Addresses[0].Addr.String())
	_, err := e.alice.CreateServer(e.ctx, req)
	require.True(t, fault.Is(err, fault.Conflict), err)

	_, err = e.net.As(alice()).CreateNetwork(e.ctx, network.CreateNetwork{Name: "second"})
	require.NoError(t, err)
	_, err = e.alice.CreateServer(e.ctx, e.request("which"))
	require.True(t, fault.Is(err, fault.Conflict), err)
	e.settle()
	e.sound()
}

// TestOwnPort goes with a port from server to server: it is kept, and a server of an older placement never keeps the next from binding it.
func TestOwnPort(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	port, err := e.net.As(alice()).CreatePort(e.ctx, network.CreatePort{NetworkID: e.networkID})
	require.NoError(t, err)
	req := e.request("holder")
	req.Networks = []compute.Network{{PortID: port.ID}}
	for range 3 {
		v := e.create(req)
		_, err := e.alice.CreateServer(e.ctx, req)
		require.True(t, fault.Is(err, fault.Conflict), err)
		e.settle()
		v = e.get(v.ID)
		require.Equal(t, compute.StatusActive, v.Status(), "%+v", v.Fault)
		p, err := e.net.As(alice()).GetPort(e.ctx, port.ID)
		require.NoError(t, err)
		require.Equal(t, network.Active, p.Status)
		require.Equal(t, "compute:nova", p.DeviceOwner)
		require.NoError(t, e.alice.DeleteServer(e.ctx, v.ID))
		e.settle()
		p, err = e.net.As(alice()).GetPort(e.ctx, port.ID)
		require.NoError(t, err)
		require.Empty(t, p.DeviceID)
		require.Nil(t, p.Binding)
		e.sound()
	}
}

func TestConfigDrive(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	key, err := e.alice.CreateKeypair(e.ctx, compute.CreateKeypair{Name: "mine"})
	require.NoError(t, err)
	req := e.request("told")
	req.KeyName, req.UserData, req.Metadata = "mine", []byte("#!/bin/sh\nsecret-word\n"), map[string]string{"role": "web"}
	req.Files = []compute.File{{Path: "/etc/motd", Contents: []byte("hello-motd")}}
	req.AdminPass = "pass-for-admin"
	v := e.create(req)
	e.settle()
	v = e.get(v.ID)
	require.Equal(t, compute.StatusActive, v.Status(), "%+v", v.Fault)
	require.False(t, v.ConfigDrive, "nobody asked for one")
	var files map[string][]byte
	for _, b := range e.hosts {
		if g, found, err := b.Defined(v.ID); err == nil && found {
			files = g.ConfigDrive
			require.Len(t, g.NICs, 1)
			require.Equal(t, v.NICs[0].MAC, g.NICs[0].MAC)
			require.NotEqual(t, "unbound", g.NICs[0].Binding.VIFType())
		}
	}
	var meta struct {
		UUID       string
		PublicKeys map[string]string `json:"public_keys"`
		Meta       map[string]string
		Zone       string `json:"availability_zone"`
		AdminPass  string `json:"admin_pass"`
		Hostname   string
	}
	require.NoError(t, json.Unmarshal(files["openstack/latest/meta_data.json"], &meta))
	require.Equal(t, v.ID, meta.UUID)
	require.Equal(t, strings.TrimSpace(key.PublicKey), meta.PublicKeys["mine"])
	require.Equal(t, "web", meta.Meta["role"])
	require.Equal(t, "nova", meta.Zone)
	require.Equal(t, "pass-for-admin", meta.AdminPass)
	require.Equal(t, "told.novalocal", meta.Hostname)
	require.Equal(t, "#!/bin/sh\nsecret-word\n", string(files["openstack/latest/user_data"]))
	require.Equal(t, "hello-motd", string(files["openstack/content/0000"]))
	require.Contains(t, string(files["openstack/latest/network_data.json"]), v.NICs[0].MAC)
	for _, secret := range []string{"secret-word", "pass-for-admin", "hello-motd", "PRIVATE KEY"} {
		require.NotContains(t, e.log.String(), secret)
	}
	data, err := e.admin.UserData(e.ctx, v.ID)
	require.NoError(t, err)
	require.Equal(t, req.UserData, data)
	require.Contains(t, e.log.String(), v.ID)
}

// TestExactQuota: of 200 concurrent creates exactly as many succeed as the quota allows.
func TestExactQuota(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const limit = 17
	_, err := e.admin.UpdateQuota(e.ctx, "a", map[string]int64{"cores": limit}, false)
	require.NoError(t, err)
	ok, refused := e.storm(200)
	require.Equal(t, limit, ok)
	require.Equal(t, 200-limit, refused)
	e.settle()
	e.sound()
}

// storm creates n servers at once and counts those accepted and those refused by quota.
func (e *env) storm(n int) (ok, refused int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range n {
		wg.Go(func() {
			req := e.request(fmt.Sprint("s", i))
			req.None = i%2 == 0
			_, err := e.alice.CreateServer(e.ctx, req)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				ok++
			case fault.Is(err, fault.Quota):
				refused++
			default:
				e.t.Error(err)
			}
		})
	}
	wg.Wait()
	return ok, refused
}

// TestExactCapacity: of 200 concurrent creates exactly as many become ACTIVE as the hosts hold.
func TestExactCapacity(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: 3, host: fakecompute.Options{VCPUs: 3, MemoryMiB: 512 * 11, DiskGiB: 1000, Enforce: true}})
	_, err := e.admin.UpdateQuota(e.ctx, "a", map[string]int64{"cores": quota.Unlimited}, false)
	require.NoError(t, err)
	ok, _ := e.storm(200)
	require.Equal(t, 200, ok)
	e.settle()
	e.sound()
	active := 0
	page, err := e.alice.ListServers(e.ctx, compute.ServerQuery{})
	require.NoError(t, err)
	for _, v := range page.Servers {
		if v.Status() == compute.StatusActive {
			active++
		} else {
			require.Equal(t, compute.StatusError, v.Status())
			require.Contains(t, v.Fault.Message, "No valid host was found")
		}
	}
	require.Equal(t, 33, active, "11 on each host by memory")
}

func TestForcedHost(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	root := e.svc.As(who("root", "a", "admin", "member"))
	req := e.request("pinned")
	req.Zone = "nova:host-2"
	c, err := root.CreateServer(e.ctx, req)
	require.NoError(t, err)
	e.settle()
	require.Equal(t, "host-2", e.get(c.Servers[0].ID).Host)
	yes := true
	h, err := e.admin.UpdateHost(e.ctx, "host-2", compute.UpdateHost{Disabled: &yes})
	require.NoError(t, err)
	require.True(t, h.Disabled)
	for range 4 {
		require.NotEqual(t, "host-2", e.boot("other").Host)
	}
	c, err = root.CreateServer(e.ctx, req)
	require.NoError(t, err)
	e.settle()
	require.Equal(t, "host-2", e.get(c.Servers[0].ID).Host, "forced past being disabled")
	zones, err := e.alice.ListZones(e.ctx, false)
	require.NoError(t, err)
	require.Len(t, zones, 1)
	require.True(t, zones[0].Available)
	e.sound()
}

// TestHardRebootWithoutItsPort: who deletes a server's port, or takes it for something else, has not lost the server.
func TestHardRebootWithoutItsPort(t *testing.T) {
	t.Parallel()
	for what, lose := range map[string]func(e *env, port string) error{
		"deleted": func(e *env, port string) error { return e.net.As(alice()).DeletePort(e.ctx, port) },
		"given away": func(e *env, port string) error {
			device := "other"
			_, err := e.net.As(alice()).UpdatePort(e.ctx, network.UpdatePort{ID: port, DeviceID: &device})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			req := e.request("web")
			req.Networks = []compute.Network{{NetworkID: e.networkID}, {NetworkID: e.networkID}}
			v := e.create(req)
			e.settle()
			ports, err := e.net.As(alice()).ListPorts(e.ctx, network.PortFilter{DeviceIDs: []string{v.ID}})
			require.NoError(t, err)
			require.Len(t, ports, 2)
			require.NoError(t, lose(e, ports[0].ID))
			e.settle()
			require.NoError(t, e.alice.RebootServer(e.ctx, v.ID, compute.Hard))
			e.settle()
			require.Equal(t, compute.StatusActive, e.get(v.ID).Status())
			require.Len(t, e.get(v.ID).Addresses, 1)
			require.NoError(t, e.alice.DeleteServer(e.ctx, v.ID))
			e.settle()
			e.sound()
			left, err := e.net.As(alice()).ListPorts(e.ctx, network.PortFilter{})
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// TestHardRebootOvertakesSoft: the hard one does not wait.
func TestHardRebootOvertakesSoft(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	v := e.boot("slow")
	e.faults.Fail(inject.Rule{Method: "Reboot", Hang: true})
	require.NoError(t, e.alice.RebootServer(e.ctx, v.ID, compute.Soft))
	e.rest()
	require.True(t, fault.Is(e.alice.StopServer(e.ctx, v.ID), fault.Conflict))
	require.NoError(t, e.alice.RebootServer(e.ctx, v.ID, compute.Hard))
	require.Equal(t, compute.StatusHardReboot, e.get(v.ID).Status())
	e.settle()
	require.Equal(t, compute.StatusActive, e.get(v.ID).Status())
	require.Equal(t, compute.NoTask, e.get(v.ID).TaskState)
	e.sound()
}
