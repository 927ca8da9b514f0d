package nova

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// FuzzCreateBody: whatever is sent, it is understood or Invalid, and what is understood makes sense.
func FuzzCreateBody(f *testing.F) {
	f.Add(`{"server": {"name": "s", "flavorRef": 1, "imageRef": "70a599e0-31e7-49b7-b260-868f441e862b", "networks": "auto"}}`, 37)
	f.Add(`{"server": {"name": "s", "flavorRef": "1", "imageRef": "", "user_data": "YQ==", "min_count": "2", "networks": [{"port": null, "uuid": "x"}]}}`, 1)
	f.Add(`{"server": {"name": "s", "flavorRef": "1", "block_device_mapping_v2": [{"source_type": "image", "boot_index": "0", "uuid": "70a599e031e749b7b260868f441e862b"}]}, "os:scheduler_hints": {"a": [1, "b"], "c": {"d": null}}}`, 96)
	f.Add(`{"server": {"name": "s", "flavorRef": "1", "personality": [{"path": "/a", "contents": "YQ=="}], "metadata": {"k": "v"}}}`, 56)
	f.Fuzz(func(t *testing.T, body string, version int) {
		version = 1 + (version&0x7fffffff)%newest
		r := &rest.Request{Body: []byte(body), Version: rest.V(2, version), Principal: &identity.Principal{}}
		b, err := read[createBody](r, createShape())
		var req compute.CreateServer
		if err == nil {
			req, err = b.request(version)
		}
		switch {
		case err == nil && (req.Name == "" || req.FlavorID == "" || !isUUID(req.ImageID) || req.MinCount < 1 || req.MaxCount < req.MinCount || req.Auto && req.None):
			t.Fatalf("taken at 2.%d: %+v from %s", version, req, body)
		case err != nil && !fault.Is(err, fault.Invalid):
			t.Fatalf("at 2.%d: %v from %s", version, err, body)
		}
	})
}

// FuzzServerQuery: whatever is asked, it is understood, Invalid or Denied.
func FuzzServerQuery(f *testing.F) {
	f.Add("name=a&status=ACTIVE&limit=5&marker=x&sort_key=uuid&sort_dir=desc", 1, false)
	f.Add("changes-since=2026-01-01T00:00:00Z&tags=a,b&not-tags-any=c&locked=true&all_tenants=1&power_state=1", 96, true)
	f.Add("status=deleted&ip=^10&launch_index=x&deleted=true&config_drive=maybe", 75, true)
	f.Fuzz(func(t *testing.T, text string, version int, admin bool) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		version = 1 + (version&0x7fffffff)%newest
		p := &identity.Principal{}
		if admin {
			p.Roles = []string{identity.RoleAdmin}
		}
		r := &rest.Request{Query: values, Version: rest.V(2, version), Principal: p, HTTP: &http.Request{}}
		if err = serverQuery().check(r); err == nil {
			var q compute.ServerQuery
			q, _, err = (&api{}).serverSelection(r)
			if err == nil && !admin && (q.Deleted || q.Host != "" || q.ProjectID != "" || len(q.IDs) > 0) {
				t.Fatalf("a user selects by what is for administrators: %+v from %s", q, text)
			}
		}
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Denied) {
			t.Fatalf("at 2.%d: %v from %s", version, err, text)
		}
	})
}

// FuzzExtraSpecs: the rules for extra specs refuse or take, and never more than names that are known.
func FuzzExtraSpecs(f *testing.F) {
	f.Add("hw:cpu_policy", "dedicated")
	f.Add("resources1:VCPU", "2")
	f.Add("trait:HW_CPU_X86_AVX", "required")
	f.Add("free", "anything")
	f.Fuzz(func(t *testing.T, key, value string) {
		err := checkSpecs(map[string]string{key: value}, 86)
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatal(err)
		}
		if checkSpecs(map[string]string{key: value}, 85) != nil {
			t.Fatal("nothing is refused before 2.86")
		}
	})
}
