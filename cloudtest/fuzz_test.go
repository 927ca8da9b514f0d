package cloudtest_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/openstack"
)

// FuzzAPI sends an administrator's calls to the whole of the APIs: whatever a client sends, the answer is not 500, and
// what calls itself JSON is. It covers each decoder of a body and of a query that has no target of its own.
func FuzzAPI(f *testing.F) {
	for _, s := range [][3]string{
		{"POST", "/v3/users", `{"user": {"name": "a", "password": "b", "email": "c", "options": {"lock_password": true}, "default_project_id": null}}`},
		{"PATCH", "/v3/users/USER", `{"user": {"enabled": true, "description": "x"}}`},
		{"POST", "/v3/users/USER/password", `{"user": {"password": "a", "original_password": "b"}}`},
		{"POST", "/v3/projects", `{"project": {"name": "p", "parent_id": "default", "tags": ["a"], "is_domain": false, "options": {"immutable": true}}}`},
		{"PUT", "/v3/projects/PROJECT/tags", `{"tags": ["a", "b"]}`},
		{"POST", "/v3/roles", `{"role": {"name": "r", "domain_id": null, "options": {}}}`},
		{"POST", "/v3/domains", `{"domain": {"name": "d", "enabled": false}}`},
		{"POST", "/v3/services", `{"service": {"type": "t", "name": "n"}}`},
		{"POST", "/v3/endpoints", `{"endpoint": {"interface": "public", "url": "http://$(tenant_id)s", "service_id": "s"}}`},
		{"GET", "/v3/users?name__contains=d&enabled=1&limit=2&marker=x", ""},
		{"GET", "/v3/role_assignments?user.id=a&scope.project.id=b&effective&include_names=1", ""},
		{"POST", "/compute/v2.1/servers/SERVER/action", `{"reboot": {"type": "HARD"}}`},
		{"POST", "/compute/v2.1/servers/SERVER/action", `{"os-getConsoleOutput": {"length": 5}}`},
		{"POST", "/compute/v2.1/servers/SERVER/action", `{"os-resetState": {"state": "active"}}`},
		{"PUT", "/compute/v2.1/servers/SERVER", `{"server": {"name": "n", "accessIPv4": "1.2.3.4", "OS-DCF:diskConfig": "AUTO"}}`},
		{"POST", "/compute/v2.1/servers/SERVER/metadata", `{"metadata": {"a": "b"}}`},
		{"POST", "/compute/v2.1/servers/SERVER/os-interface", `{"interfaceAttachment": {"net_id": "n", "fixed_ips": [{"ip_address": "10.0.0.9"}]}}`},
		{"POST", "/compute/v2.1/flavors", `{"flavor": {"name": "f", "ram": 1, "vcpus": "2", "disk": 3, "id": "auto", "swap": 0, "rxtx_factor": 1.5}}`},
		{"POST", "/compute/v2.1/flavors/42/os-extra_specs", `{"extra_specs": {"hw:cpu_policy": "shared"}}`},
		{"POST", "/compute/v2.1/flavors/42/action", `{"addTenantAccess": {"tenant": "t"}}`},
		{"POST", "/compute/v2.1/os-keypairs", `{"keypair": {"name": "k", "public_key": "ssh-rsa AAAA x"}}`},
		{"POST", "/compute/v2.1/os-keypairs", `{"keypair": {"name": "k", "type": "x509", "public_key": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}}`},
		{"PUT", "/compute/v2.1/os-quota-sets/PROJECT", `{"quota_set": {"cores": -1, "ram": 5, "force": true}}`},
		{"PUT", "/compute/v2.1/os-services/x", `{"status": "disabled", "disabled_reason": "r"}`},
		{"GET", "/compute/v2.1/servers/detail?changes-since=2026-01-01T00:00:00Z&ip=10.*&sort_key=a&all_tenants=1&metadata=%7B%22a%22:1%7D", ""},
		{"GET", "/compute/v2.1/flavors/detail?minRam=a&limit=-1&is_public=None", ""},
		{"GET", "/compute/v2.1/os-simple-tenant-usage?start=2026-01-01&detailed=1", ""},
		{"POST", "/network/v2.0/security-group-rules", `{"security_group_rule": {"direction": "ingress", "port_range_min": 1, "protocol": "tcp", "remote_ip_prefix": "::/0"}}`},
		{"PUT", "/network/v2.0/networks/NETWORK", `{"network": {"mtu": 1, "provider:segmentation_id": 5}}`},
		{"PUT", "/network/v2.0/quotas/PROJECT", `{"quota": {"port": -1}}`},
		{"GET", "/network/v2.0/ports?fixed_ips=ip_address%3D10.0.0.2&fixed_ips=subnet_id=x&fields=id&sort_key=name&sort_dir=asc&limit=1&tags=a", ""},
		{"PATCH", "/image/v2/images/IMAGE", `[{"op": "add", "path": "/tags/0", "value": "x"}]`},
		{"POST", "/image/v2/images/IMAGE/members", `{"member": "m"}`},
		{"GET", "/image/v2/images?created_at=gt:2026-01-01T00:00:00Z&size_min=1&sort=name:asc,size&name=in:a,b&limit=1", ""},
	} {
		f.Add(s[0], s[1], s[2], "")
		f.Add(s[0], s[1], s[2], "2.90")
	}
	w := &world{}
	f.Fuzz(func(t *testing.T, method, target, body, version string) { w.call(t, method, target, body, version) })
}

// world is a cloud that many calls share; it is made anew when a call has cost it its administrator.
type world struct {
	mu     sync.Mutex
	calls  int
	h      http.Handler
	names  *strings.Replacer
	header http.Header
	end    func()
}

func (w *world) call(t *testing.T, method, target, body, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls%1000 == 0 {
		w.renew(t)
	}
	w.calls++
	u, err := url.ParseRequestURI(w.names.Replace(target))
	if err != nil || u.Host != "" || u.Scheme != "" {
		return
	}
	if _, err := http.NewRequest(method, "/", nil); err != nil {
		return
	}
	req := httptest.NewRequest("GET", "/", strings.NewReader(body))
	req.Method, req.URL, req.RequestURI, req.Header = method, u, u.RequestURI(), w.header.Clone()
	if version != "" {
		req.Header.Set("OpenStack-API-Version", "compute "+version)
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, req)
	if rec.Code == http.StatusInternalServerError || rec.Code < 200 {
		t.Fatalf("%s %s %s: %d %s", method, u, body, rec.Code, rec.Body)
	}
	if strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json") && method != "HEAD" && rec.Body.Len() > 0 && !json.Valid(rec.Body.Bytes()) {
		t.Fatalf("%s %s: not JSON: %s", method, u, rec.Body)
	}
	if rec.Code == http.StatusUnauthorized {
		w.calls = 0
	}
}

func (w *world) renew(t *testing.T) {
	if w.end != nil {
		w.end()
	}
	tb := &longer{TB: t}
	env := cloudtest.New(tb, cloudtest.Options{Log: slog.New(slog.DiscardHandler), Once: true})
	w.end = tb.end
	w.h = openstack.Handler(env.Cloud, nil)
	w.names = strings.NewReplacer("SERVER", env.Boot("web"), "PROJECT", env.Seeded.ProjectID, "USER", env.Seeded.UserID,
		"NETWORK", env.Seeded.NetworkID, "IMAGE", env.Seeded.ImageID)
	w.header = http.Header{"X-Auth-Token": {env.AdminToken()}, "Content-Type": {"application/json"}}
	env.Settle()
}

// longer is a test whose environment outlives it.
type longer struct {
	testing.TB
	cleanups []func()
}

func (l *longer) Cleanup(f func()) { l.cleanups = append(l.cleanups, f) }

func (l *longer) end() {
	for _, f := range l.cleanups {
		f()
	}
}
