package nova_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/network"
)

// reply is a raw answer.
type reply struct {
	status int
	header http.Header
	doc    map[string]any
	text   string
}

// call sends a request as it is: version "" sends none, body "" no body.
func (s *site) call(user, version, method, path, body string) reply {
	s.t.Helper()
	req, err := http.NewRequest(method, s.env.URL()+"/compute/v2.1"+path, strings.NewReader(body))
	require.NoError(s.t, err)
	req.Header.Set("X-Auth-Token", s.token(user))
	if version != "" {
		req.Header.Set("OpenStack-API-Version", "compute "+version)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	r := reply{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if len(text) > 0 {
		require.NoError(s.t, json.Unmarshal(text, &r.doc), string(text))
	}
	return r
}

func (s *site) createBody(extra string) string {
	return fmt.Sprintf(`{"server": {"name": "s", "flavorRef": "42", "imageRef": %q, %s}}`, s.env.Seeded.ImageID, extra)
}

func TestVersionsOfTheCreateBody(t *testing.T) {
	s := newSite(t)
	nets := `"networks": [{"uuid": "` + s.env.Seeded.NetworkID + `"}]`
	device := `"block_device_mapping_v2": [{"source_type": "image", "destination_type": "local", "boot_index": 0, "uuid": "` + s.env.Seeded.ImageID + `"%s}]`
	for _, c := range []struct {
		version, extra string
		wrong          string // "" means it is right; else the message names this
	}{
		{"2.1", `"metadata": {}`, ""},
		{"2.36", `"metadata": {}`, ""},
		{"2.37", `"metadata": {}`, "server.networks: is missing"},
		{"2.36", `"networks": "auto"`, "server.networks"},
		{"2.37", `"networks": "auto"`, ""},
		{"2.37", `"networks": "none"`, ""},
		{"2.37", `"networks": "some"`, "server.networks"},
		{"2.18", `"description": "d"`, "use microversion 2.19 or newer"},
		{"2.19", `"description": "d"`, ""},
		{"2.19", `"description": null`, ""},
		{"2.31", `"networks": [{"uuid": "` + s.env.Seeded.NetworkID + `", "tag": "t"}]`, "server.networks[0].tag"},
		{"2.36", `"networks": [{"uuid": "` + s.env.Seeded.NetworkID + `", "tag": "t"}]`, ""},
		{"2.37", `"networks": [{"uuid": "` + s.env.Seeded.NetworkID + `", "tag": "t"}]`, "server.networks[0].tag"},
		{"2.42", `"networks": [{"uuid": "` + s.env.Seeded.NetworkID + `", "tag": "t"}]`, ""},
		{"2.51", nets + `, "tags": ["a"]`, "server.tags"},
		{"2.52", nets + `, "tags": ["a"]`, ""},
		{"2.52", nets + `, "tags": ["a,b"]`, "server.tags[0]"},
		{"2.56", nets + `, "personality": [{"path": "/etc/motd", "contents": "aGk="}]`, ""},
		{"2.56", nets + `, "personality": [{"path": "/etc/motd", "contents": "?"}]`, "server.personality[0].contents"},
		{"2.57", nets + `, "personality": []`, "removed after microversion 2.56"},
		{"2.62", nets + `, "trusted_image_certificates": null`, "server.trusted_image_certificates"},
		{"2.63", nets + `, "trusted_image_certificates": null`, ""},
		{"2.63", nets + `, "trusted_image_certificates": ["c"]`, "not verified here"},
		{"2.32", fmt.Sprintf(device, `, "tag": "t"`), ""},
		{"2.33", fmt.Sprintf(device, `, "tag": "t"`), "tag"},
		{"2.42", nets + ", " + fmt.Sprintf(device, `, "tag": "t"`), ""},
		{"2.66", nets + ", " + fmt.Sprintf(device, `, "volume_type": "t"`), "volume_type"},
		{"2.67", nets + ", " + fmt.Sprintf(device, `, "volume_type": "t"`), ""},
		{"2.1", `"block_device_mapping_v2": [{"source_type": "volume", "destination_type": "volume", "boot_index": 0, "uuid": "` + s.env.Seeded.ImageID + `"}]`, "no volume service yet"},
		{"2.73", nets + `, "host": "host-1"`, "server.host"},
		{"2.74", nets + `, "host": "host-1"`, "create_on_host"},
		{"2.74", nets + `, "host": "host-1", "availability_zone": "nova:host-1"`, "exclude each other"},
		{"2.89", nets + `, "hostname": "h1"`, "server.hostname"},
		{"2.90", nets + `, "hostname": "h1"`, ""},
		{"2.93", nets + `, "hostname": "h1.example"`, "server.hostname"},
		{"2.94", nets + `, "hostname": "h1.example"`, ""},
		{"2.94", nets + `, "hostname": "h1", "max_count": 2`, "server.hostname"},
		{"2.1", `"color": "red"`, "server.color"},
		{"2.1", `"user_data": "not base64!"`, "server.user_data"},
		{"2.1", `"min_count": 3, "max_count": 2`, "server.min_count"},
		{"2.1", `"min_count": "2"`, ""},
		{"2.1", `"min_count": 0`, "server.min_count"},
		{"2.1", `"config_drive": "yes"`, ""},
		{"2.1", `"config_drive": 7`, "server.config_drive"},
		{"2.1", `"key_name": "none such"`, "none such"},
		{"2.1", `"security_groups": [{"name": "none such"}]`, "none such"},
		{"2.1", `"networks": [{"uuid": "00000000-0000-0000-0000-000000000000"}]`, "00000000-0000-0000-0000-000000000000"},
		{"2.1", `"networks": [{}]`, "server.networks[0].uuid"},
		{"2.1", `"accessIPv4": "::1"`, "server.accessIPv4"},
		{"2.1", `"OS-DCF:diskConfig": "AUTOMATIC"`, "server.OS-DCF:diskConfig"},
		{"2.1", `"metadata": {"a": 1}`, "server.metadata.a"},
		{"2.1", `"availability_zone": "nowhere"`, "nowhere"},
	} {
		r := s.call("demo", c.version, "POST", "/servers", s.createBody(c.extra))
		if c.wrong == "" {
			require.Equal(t, http.StatusAccepted, r.status, "%s %s: %s", c.version, c.extra, r.text)
			require.Equal(t, r.header.Get("Location"), r.doc["server"].(map[string]any)["links"].([]any)[0].(map[string]any)["href"])
			continue
		}
		if c.wrong == "create_on_host" {
			require.Equal(t, http.StatusForbidden, r.status, r.text)
			continue
		}
		require.Equal(t, http.StatusBadRequest, r.status, "%s %s: %s", c.version, c.extra, r.text)
		require.Contains(t, r.doc["badRequest"].(map[string]any)["message"], c.wrong, c.version)
	}
	s.env.Settle()
	s.env.Check()
}

func TestNoFreeAddress(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	sys := s.env.Cloud.As(identity.System()).Network
	n, err := sys.CreateNetwork(ctx, network.CreateNetwork{ProjectID: s.env.Seeded.ProjectID, Name: "full"})
	require.NoError(t, err)
	_, err = sys.CreateSubnet(ctx, network.CreateSubnet{ProjectID: s.env.Seeded.ProjectID, NetworkID: n.ID, CIDR: netip.MustParsePrefix("192.0.2.0/30"),
		Pools: []network.Pool{{Start: netip.MustParseAddr("192.0.2.2"), End: netip.MustParseAddr("192.0.2.2")}}})
	require.NoError(t, err)
	body := s.createBody(`"networks": [{"uuid": "` + n.ID + `"}]`)
	require.Equal(t, http.StatusAccepted, s.call("demo", "", "POST", "/servers", body).status)
	r := s.call("demo", "", "POST", "/servers", body)
	require.Equal(t, http.StatusConflict, r.status, r.text)
	require.Contains(t, r.text, "conflictingRequest")
	s.env.Settle()
	s.env.Check()
}

func TestRefusals(t *testing.T) {
	s := newSite(t)
	v := s.boot(s.client("demo", ""), s.small("web"))
	own := "/servers/" + v.ID
	for _, c := range []struct {
		user, version, method, path, body string
		status                            int
		says                              string
	}{
		{"demo", "", "GET", "/servers/nowhere", "", 404, "itemNotFound"},
		{"demo", "", "GET", "/nothing", "", 404, "itemNotFound"},
		{"demo", "", "PATCH", own, "{}", 405, "badMethod"},
		{"demo", "2.97", "GET", own, "", 406, "from 2.1 to 2.96"},
		{"demo", "2.x", "GET", own, "", 400, "Major.Minor"},
		{"demo", "", "POST", own + "/action", `{"fly": null}`, 400, "no such action: fly"},
		{"demo", "", "POST", own + "/action", `{}`, 400, "exactly one"},
		{"demo", "", "POST", own + "/action", `{"reboot": {"type": "WARM"}}`, 400, "reboot.type"},
		{"demo", "", "POST", own + "/action", `{"reboot": {}}`, 400, "reboot.type: is missing"},
		{"demo", "2.44", "POST", own + "/action", `{"addFloatingIp": {"address": "1.2.3.4"}}`, 404, "does not exist in API version 2.44"},
		{"demo", "2.43", "POST", own + "/action", `{"addFloatingIp": {"address": "1.2.3.4"}}`, 501, "notImplemented"},
		{"demo", "2.72", "POST", own + "/action", `{"lock": {"locked_reason": "r"}}`, 202, ""},
		{"demo", "2.73", "POST", own + "/action", `{"lock": {"reason": "r"}}`, 400, "lock.reason"},
		{"demo", "2.25", "GET", own + "/tags", "", 404, "itemNotFound"},
		{"demo", "2.26", "PUT", own + "/tags", `{"tags": ["a/b"]}`, 400, "tags[0]"},
		{"demo", "", "PUT", own + "/metadata/a", `{"meta": {"b": "1"}}`, 400, "the URI"},
		{"demo", "", "PUT", own + "/metadata/a", `{"meta": {"a": "1", "b": "1"}}`, 400, "1 to 1 entries"},
		{"demo", "2.18", "PUT", own, `{"server": {"description": "d"}}`, 400, "2.19 or newer"},
		{"demo", "", "PUT", own, `{"server": {"name": " "}}`, 400, "server.name"},
		{"demo", "", "PUT", own, `{"server": {"Name": "x"}}`, 400, "server.Name"},
		{"demo", "", "PUT", own, ``, 400, "no body"},
		{"demo", "2.37", "GET", "/servers?status=nonsense", "", 200, `"servers":[]`},
		{"demo", "2.38", "GET", "/servers?status=nonsense", "", 400, "status"},
		{"demo", "", "GET", "/servers?status=DELETED", "", 403, "only administrators"},
		{"demo", "2.74", "GET", "/servers?color=red", "", 200, `"name":"web"`},
		{"demo", "2.75", "GET", "/servers?color=red", "", 400, "color"},
		{"demo", "", "GET", "/servers?name=(", "", 400, "regular expression"},
		{"demo", "", "GET", "/servers?limit=-1", "", 400, "limit"},
		{"demo", "", "GET", "/servers?limit=0", "", 200, `"servers":[]`},
		{"demo", "", "GET", "/servers?sort_key=color", "", 400, "sort_key"},
		{"demo", "2.74", "GET", "/servers?sort_key=id", "", 200, `"name":"web"`},
		{"demo", "2.75", "GET", "/servers?sort_key=id", "", 400, "sort_key"},
		{"demo", "", "GET", "/servers?sort_key=host", "", 403, "forbidden"},
		{"demo", "", "GET", "/servers?changes-since=yesterday", "", 400, "changes-since"},
		{"demo", "2.66", "GET", "/servers?changes-since=2026-01-02T00:00:00Z&changes-before=2026-01-01T00:00:00Z", "", 400, "changes-since"},
		{"demo", "", "GET", "/servers?metadata=x", "", 400, "metadata"},
		{"demo", "2.25", "GET", "/servers?tags=nobody", "", 200, `"name":"web"`},
		{"demo", "2.26", "GET", "/servers?tags=nobody", "", 200, `"servers":[]`},
		{"demo", "2.4", "GET", "/servers?ip6=nothing", "", 200, `"name":"web"`},
		{"demo", "2.5", "GET", "/servers?ip6=nothing", "", 200, `"servers":[]`},
		{"admin", "2.52", "GET", "/os-hypervisors/nonsense", "", 404, "itemNotFound"},
		{"admin", "2.53", "GET", "/os-hypervisors/nonsense", "", 400, "UUID"},
		{"admin", "2.53", "GET", "/os-hypervisors?hypervisor_hostname_pattern=nobody", "", 404, "nobody"},
		{"admin", "2.53", "GET", "/os-hypervisors?hypervisor_hostname_pattern=host&limit=1", "", 400, "limit"},
		{"admin", "2.53", "PUT", "/os-services/enable", `{"status": "enabled"}`, 400, "UUID"},
		{"admin", "2.52", "PUT", "/os-services/enable", `{"host": "host-1", "binary": "nova-api"}`, 400, "nova-compute"},
		{"admin", "2.10", "PUT", "/os-services/force-down", `{"host": "host-1", "binary": "nova-compute"}`, 404, "unknown action"},
		{"demo", "", "GET", "/os-services", "", 403, "forbidden"},
		{"demo", "", "GET", "/os-aggregates", "", 403, "forbidden"},
		{"demo", "", "GET", "/os-migrations", "", 403, "forbidden"},
		{"admin", "2.54", "PUT", "/flavors/42", `{"flavor": {"description": "d"}}`, 404, "itemNotFound"},
		{"admin", "", "GET", "/flavors?is_public=perhaps", "", 400, "is_public"},
		{"admin", "", "POST", "/flavors", `{"flavor": {"name": "f", "ram": 1, "vcpus": 0, "disk": 0}}`, 400, "flavor.vcpus"},
		{"admin", "", "GET", "/flavors/42/os-flavor-access", "", 404, "public"},
		{"admin", "2.36", "PUT", "/os-quota-sets/p", `{"quota_set": {"floating_ips": 5}}`, 400, "removed after microversion 2.35"},
		{"admin", "2.35", "PUT", "/os-quota-sets/p", `{"quota_set": {"floating_ips": 5}}`, 400, "network service"},
		{"admin", "2.49", "PUT", "/os-quota-class-sets/default", `{"quota_class_set": {"server_groups": 5, "cores": 7}}`, 200, `"cores":7`},
		{"admin", "2.50", "PUT", "/os-quota-class-sets/default", `{"quota_class_set": {"fixed_ips": 5}}`, 400, "2.49"},
		{"admin", "2.50", "PUT", "/os-quota-class-sets/other", `{"quota_class_set": {"cores": 5}}`, 400, "default"},
		{"admin", "", "PUT", "/os-quota-sets/p?user_id=u", `{"quota_set": {"cores": 5}}`, 400, "user_id"},
		{"demo", "", "POST", "/os-keypairs", `{"keypair": {"name": "a@b"}}`, 400, "keypair.name"},
		{"demo", "2.1", "POST", "/os-keypairs", `{"keypair": {"name": "a", "type": "ssh"}}`, 400, "keypair.type"},
		{"demo", "2.9", "POST", "/os-keypairs", `{"keypair": {"name": "a", "user_id": "x"}}`, 400, "keypair.user_id"},
		{"demo", "", "POST", own + "/os-interface", `{"interfaceAttachment": {"net_id": "` + v.ID + `", "port_id": "` + v.ID + `"}}`, 400, "either"},
		{"demo", "2.48", "POST", own + "/os-interface", `{"interfaceAttachment": {"tag": "t"}}`, 400, "2.49"},
		{"demo", "", "GET", own + "/ips/nonet", "", 404, "nonet"},
		{"demo", "2.5", "POST", own + "/remote-consoles", `{}`, 404, "itemNotFound"},
		{"demo", "2.6", "POST", own + "/remote-consoles", `{}`, 400, "console type"},
		{"demo", "", "GET", "/images", "", 404, "itemNotFound"},
	} {
		r := s.call(c.user, c.version, c.method, c.path, c.body)
		require.Equal(t, c.status, r.status, "%s %s %s %s: %s", c.version, c.method, c.path, c.body, r.text)
		require.Contains(t, r.text, c.says, "%s %s %s", c.version, c.method, c.path)
		require.NotEmpty(t, r.header.Get("X-Compute-Request-Id"))
		if c.says != "itemNotFound" && c.status != http.StatusMethodNotAllowed {
			require.NotEmpty(t, r.header.Get("X-OpenStack-Nova-API-Version"), "%s %s", c.version, c.path)
		}
	}
}

func TestOtherProjectsServersAreNotThere(t *testing.T) {
	s := newSite(t)
	v := s.boot(s.client("admin", ""), s.small("theirs"))
	for _, path := range []string{"", "/metadata", "/ips", "/os-interface", "/os-instance-actions", "/os-security-groups", "/os-volume_attachments"} {
		require.Equal(t, http.StatusNotFound, s.call("demo", "2.79", "GET", "/servers/"+v.ID+path, "").status, path)
	}
	require.Equal(t, http.StatusNotFound, s.call("demo", "", "DELETE", "/servers/"+v.ID, "").status)
	require.Equal(t, http.StatusNotFound, s.call("demo", "", "POST", "/servers/"+v.ID+"/action", `{"os-stop": null}`).status)
	require.Equal(t, http.StatusNotFound, s.call("demo", "", "POST", "/servers/"+v.ID+"/action", `{"addSecurityGroup": {"name": "default"}}`).status)
}

func TestReadersChangeNothingOfServers(t *testing.T) {
	s := newSite(t)
	v := s.boot(s.client("demo", ""), s.small("web"))
	s.addReader()
	for _, path := range []string{"", "/metadata", "/ips", "/os-interface", "/os-instance-actions", "/os-security-groups"} {
		require.Equal(t, http.StatusOK, s.call("reader", "", "GET", "/servers/"+v.ID+path, "").status, path)
	}
	for _, body := range []string{
		`{"os-stop": null}`, `{"lock": null}`, `{"reboot": {"type": "SOFT"}}`, `{"forceDelete": null}`, `{"os-resetState": {"state": "error"}}`,
		`{"addSecurityGroup": {"name": "default"}}`, `{"removeSecurityGroup": {"name": "default"}}`, `{"addSecurityGroup": {"name": "none"}}`,
	} {
		require.Equal(t, http.StatusForbidden, s.call("reader", "", "POST", "/servers/"+v.ID+"/action", body).status, body)
	}
}

func TestActionsOfServers(t *testing.T) {
	s := newSite(t)
	v := s.boot(s.client("demo", ""), s.small("web"))
	path := "/servers/" + v.ID + "/os-instance-actions"
	s.env.Advance(time.Second)
	require.Equal(t, http.StatusAccepted, s.call("demo", "", "POST", "/servers/"+v.ID+"/action", `{"os-stop": null}`).status)
	s.env.Settle()
	r := s.call("demo", "2.58", "GET", path+"?limit=1", "")
	list := r.doc["instanceActions"].([]any)
	require.Len(t, list, 1)
	require.Equal(t, "stop", list[0].(map[string]any)["action"])
	require.Contains(t, r.text, `"links":[{"rel":"next"`)
	id := list[0].(map[string]any)["request_id"].(string)
	require.NotContains(t, s.call("demo", "2.50", "GET", path+"/"+id, "").text, "events")
	r = s.call("demo", "2.62", "GET", path+"/"+id, "")
	require.Contains(t, r.text, "hostId")
	require.NotContains(t, r.text, "host-")
	require.Contains(t, s.call("admin", "2.62", "GET", path+"/"+id, "").text, `"host":"host-`)
	require.Equal(t, http.StatusBadRequest, s.call("demo", "2.58", "GET", path+"?color=red", "").status)

	require.Equal(t, http.StatusNoContent, s.call("demo", "", "DELETE", "/servers/"+v.ID, "").status)
	s.env.Settle()
	require.Equal(t, http.StatusNotFound, s.call("demo", "2.20", "GET", path, "").status)
	require.Len(t, s.call("demo", "2.21", "GET", path, "").doc["instanceActions"], 3)
}

func TestIdempotentCreate(t *testing.T) {
	s := newSite(t)
	send := func(path, key, body string) reply {
		req, err := http.NewRequest("POST", s.env.URL()+"/compute/v2.1"+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("X-Auth-Token", s.token("demo"))
		req.Header.Set("Idempotency-Key", key)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return reply{status: resp.StatusCode, header: resp.Header, text: string(text)}
	}
	first := send("/servers", "one", s.createBody(`"metadata": {}`))
	require.Equal(t, http.StatusAccepted, first.status, first.text)
	again := send("/servers", "one", s.createBody(`"metadata": {}`))
	require.Equal(t, first.text, again.text)
	require.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
	require.Equal(t, http.StatusConflict, send("/servers", "one", s.createBody(`"metadata": {"a": "b"}`)).status)
	list := s.call("demo", "", "GET", "/servers", "").doc["servers"].([]any)
	require.Len(t, list, 1)
	s.env.Settle()

	pair := send("/os-keypairs", "two", `{"keypair": {"name": "k"}}`)
	require.Equal(t, http.StatusOK, pair.status, pair.text)
	require.Contains(t, pair.text, "PRIVATE KEY")
	require.Equal(t, pair.text, send("/os-keypairs", "two", `{"keypair": {"name": "k"}}`).text, "the same private key")

	action := "/servers/" + list[0].(map[string]any)["id"].(string) + "/action"
	for range 2 {
		require.Equal(t, http.StatusAccepted, send(action, "three", `{"os-stop": null}`).status, "the second is a replay, not a conflict")
	}
	require.Equal(t, http.StatusAccepted, send(action, "four", `{"addSecurityGroup": {"name": "default"}}`).status)
	require.Equal(t, http.StatusBadRequest, send(action, "five", `{"os-getConsoleOutput": {}}`).status)
}

func TestPutShowsLessBefore275(t *testing.T) {
	s := newSite(t)
	v := s.boot(s.client("demo", ""), s.small("web"))
	old := s.call("demo", "2.74", "PUT", "/servers/"+v.ID, `{"server": {"name": "a"}}`)
	require.NotContains(t, old.text, "OS-EXT-IPS")
	require.NotContains(t, old.text, "config_drive")
	now := s.call("demo", "2.75", "PUT", "/servers/"+v.ID, `{"server": {"name": "a"}}`)
	require.Contains(t, now.text, "OS-EXT-IPS-MAC:mac_addr")
	require.Contains(t, now.text, "config_drive")
}
