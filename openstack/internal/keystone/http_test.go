package keystone_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTokenOnTheWire(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.ok(201, "POST", "/v3/auth/tokens", auth("admin", adminPassword, `{"project":{"name":"admin","domain":{"name":"Default"}}}`))
	require.NotEmpty(t, a.header.Get("X-Subject-Token"))
	require.Equal(t, "2026-01-02T03:04:05.000678Z", a.at("token", "issued_at"))
	require.Equal(t, "2026-01-03T03:04:05.000678Z", a.at("token", "expires_at"))
	require.Equal(t, "Default", a.at("token", "user", "domain", "name"))
	require.Equal(t, []any{"password"}, a.at("token", "methods"))
	require.Contains(t, a.text, `"url":"`+l.url+`/network"`)

	token := a.header.Get("X-Subject-Token")
	got := l.ok(200, "GET", "/v3/auth/tokens", "", "X-Subject-Token", token)
	require.Equal(t, token, got.header.Get("X-Subject-Token"))
	require.Equal(t, a.json, got.json)
	require.NotContains(t, l.ok(200, "GET", "/v3/auth/tokens?nocatalog", "", "X-Subject-Token", token).text, "catalog")
	require.Empty(t, l.ok(200, "HEAD", "/v3/auth/tokens", "", "X-Subject-Token", token).text)
	l.ok(204, "DELETE", "/v3/auth/tokens", "", "X-Subject-Token", token)
	l.ok(404, "GET", "/v3/auth/tokens", "", "X-Subject-Token", token)
	l.ok(404, "DELETE", "/v3/auth/tokens", "", "X-Subject-Token", token)
	gone := l.ok(401, "GET", "/v3/users", "", "X-Auth-Token", token)
	require.Equal(t, `Keystone uri="`+l.url+`/identity"`, gone.header.Get("WWW-Authenticate"))
	require.Equal(t, float64(401), gone.at("error", "code"))
	require.Equal(t, "Unauthorized", gone.at("error", "title"))

	system := l.ok(201, "POST", "/v3/auth/tokens", auth("admin", adminPassword, `{"system":{"all":true}}`))
	require.Equal(t, true, system.at("token", "system", "all"))
	unscoped := l.ok(201, "POST", "/v3/auth/tokens", auth("admin", adminPassword, `"unscoped"`))
	require.Nil(t, unscoped.at("token", "roles"))
	require.Nil(t, unscoped.at("token", "catalog"))
	require.Equal(t, true, l.ok(200, "GET", "/v3/auth/system", "").at("system").([]any)[0].(map[string]any)["all"])
	domains := l.ok(200, "GET", "/v3/auth/domains", "").at("domains")
	require.Empty(t, domains)
}

func TestBadAuthRequests(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for body, status := range map[string]int{
		``:                         400,
		`{`:                        400,
		`{}`:                       400,
		`{"auth":{}}`:              400,
		`{"auth":{"identity":{}}}`: 400,
		`{"auth":{"identity":[]}}`: 400,
		`{"auth":{"identity":{"methods":["password"]}}}`:                                                          400,
		`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","password":"secret"}}}}}`: 400,
		`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"x"}}}}}`:                           400,
		`{"auth":{"identity":{"methods":["totp"],"totp":{"user":{}}}}}`:                                           401,
		`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":"x"}}}}`:        401,
		`{"auth":{"identity":{"methods":["token"],"token":{"id":"x"}}}}`:                                          401,
		`{"auth":{"identity":{"methods":["token"],"token":{}}}}`:                                                  400,
		auth("admin", "secret-but-wrong", ""):                                                                     401,
		auth("nobody", "secret-x", ""):                                                                            401,
		auth("admin", adminPassword, `{"project":{"name":"admin"}}`):                                              400,
		auth("admin", adminPassword, `{"project":{"name":"nope","domain":{"id":"default"}}}`):                     401,
		auth("admin", adminPassword, `{"project":{"id":"nope"}}`):                                                 401,
		auth("admin", adminPassword, `{"domain":{"id":"default"}}`):                                               401,
		auth("admin", adminPassword, `{"domain":{}}`):                                                             400,
		auth("admin", adminPassword, `{}`):                                                                        400,
		auth("admin", adminPassword, `"scoped"`):                                                                  400,
		auth("admin", adminPassword, `{"system":{"all":false}}`):                                                  400,
		auth("admin", adminPassword, `{"system":{"all":true},"domain":{"id":"default"}}`):                         400,
		auth("admin", adminPassword, `{"OS-TRUST:trust":{"id":"x"}}`):                                             401,
		strings.Replace(auth("admin", adminPassword, ""), `"methods"`, `"odd":1,"methods"`, 1):                    400,
	} {
		a := l.do("POST", "/v3/auth/tokens", body)
		require.Equal(t, status, a.status, "%s: %s", body, a.text)
		require.NotEmpty(t, a.at("error", "message"), body)
		require.Empty(t, a.header.Get("X-Subject-Token"))
		require.NotContains(t, a.text, adminPassword)
	}
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, c := range []struct{ method, path, body, names string }{
		{"POST", "/v3/users", `{"user":{"name":1}}`, "user.name"},
		{"POST", "/v3/users", `{"user":{"name":""}}`, "name"},
		{"POST", "/v3/users", `{"user":{"name":"x","enabled":"yes"}}`, "user.enabled"},
		{"POST", "/v3/users", `{"user":{"name":"x","enabled":null}}`, "user.enabled"},
		{"POST", "/v3/users", `{"user":{"name":"x","password":1}}`, "user.password"},
		{"POST", "/v3/users", `{"user":{"name":"x","options":{"odd":1}}}`, "options.odd"},
		{"POST", "/v3/users", `{"user":{"name":"x","domain_id":"nowhere"}}`, "domain_id"},
		{"POST", "/v3/users", `{"user":{"name":"x","default_project_id":"default"}}`, "default_project_id"},
		{"POST", "/v3/users", `{"user":[]}`, "user"},
		{"POST", "/v3/users", `{"name":"x"}`, "user"},
		{"POST", "/v3/users", `{"user":{"name":"x"},"more":1}`, "more"},
		{"POST", "/v3/projects", `{"project":{"name":"x","tags":"t"}}`, "project.tags"},
		{"POST", "/v3/projects", `{"project":{"name":"` + strings.Repeat("x", 65) + `"}}`, "name"},
		{"PUT", "/v3/projects/default/tags", `{}`, "tags"},
		{"POST", "/v3/domains", `{"domain":{"name":"x","explicit_domain_id":"a b"}}`, "explicit_domain_id"},
		{"PUT", "/v3/regions/a", `{"region":{"id":"b"}}`, "region.id"},
		{"GET", "/v3/users?enabled=perhaps", "", "enabled"},
		{"GET", "/v3/users?name__like=x", "", "name__like"},
		{"GET", "/v3/users?limit=-1", "", "limit"},
		{"GET", "/v3/users?marker=nobody", "", "marker"},
		{"GET", "/v3/services?marker=nobody", "", "marker"},
		{"GET", "/v3/role_assignments?effective&group.id=x", "", "group.id"},
		{"GET", "/v3/role_assignments?scope.project.id=x&scope.system", "", "scope"},
		{"GET", "/v3/auth/tokens", "", "X-Subject-Token"},
	} {
		a := l.do(c.method, c.path, c.body)
		require.Equal(t, 400, a.status, "%s %s %s: %s", c.method, c.path, c.body, a.text)
		require.Contains(t, a.at("error", "message"), c.names)
	}
	l.ok(404, "GET", "/v3/OS-TRUST/trusts", "")
	l.ok(405, "PUT", "/v3/users", "{}")
}

func TestPagesFollowTheirLinks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for i := range 7 {
		l.ok(201, "POST", "/v3/projects", fmt.Sprintf(`{"project":{"name":"p%d"}}`, i))
	}
	for _, path := range []string{"/v3/projects?limit=3", "/v3/roles?limit=2", "/v3/services?limit=1", "/v3/endpoints?limit=4"} {
		key := strings.TrimPrefix(path[:strings.Index(path, "?")], "/v3/")
		whole := l.ok(200, "GET", "/v3/"+key, "").at(key).([]any)
		var paged []any
		for next := path; next != ""; {
			a := l.ok(200, "GET", next, "")
			paged = append(paged, a.at(key).([]any)...)
			url, _ := a.at("links", "next").(string)
			next = strings.TrimPrefix(url, l.url)
		}
		require.Equal(t, whole, paged, path)
	}
}

func TestProjectTreeOnTheWire(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.ok(201, "POST", "/v3/projects", `{"project":{"name":"a"}}`).id("project")
	b := l.ok(201, "POST", "/v3/projects", `{"project":{"name":"b","parent_id":"`+a+`"}}`).id("project")
	c := l.ok(201, "POST", "/v3/projects", `{"project":{"name":"c","parent_id":"`+b+`"}}`).id("project")
	got := l.ok(200, "GET", "/v3/projects/"+c+"?parents_as_ids", "")
	require.Equal(t, map[string]any{b: map[string]any{a: map[string]any{"default": nil}}}, got.at("project", "parents"))
	require.Len(t, l.ok(200, "GET", "/v3/projects/"+c+"?parents_as_list", "").at("project", "parents"), 2)
	got = l.ok(200, "GET", "/v3/projects/"+a+"?subtree_as_ids", "")
	require.Equal(t, map[string]any{b: map[string]any{c: nil}}, got.at("project", "subtree"))
	require.Len(t, l.ok(200, "GET", "/v3/projects/"+a+"?subtree_as_list", "").at("project", "subtree"), 2)
	l.ok(403, "PATCH", "/v3/projects/"+c, `{"project":{"parent_id":"`+a+`"}}`)
	l.ok(201, "PUT", "/v3/projects/"+c+"/tags/red", "")
	l.ok(204, "GET", "/v3/projects/"+c+"/tags/red", "")
	l.ok(204, "DELETE", "/v3/projects/"+c+"/tags/red", "")
	l.ok(404, "GET", "/v3/projects/"+c+"/tags/red", "")
}

func TestSystemAssignments(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	u := l.ok(201, "POST", "/v3/users", `{"user":{"name":"u","password":"secret1"}}`).id("user")
	reader := l.ok(200, "GET", "/v3/roles?name=reader", "").at("roles").([]any)[0].(map[string]any)["id"].(string)
	path := "/v3/system/users/" + u + "/roles"
	l.ok(204, "PUT", path+"/"+reader, "")
	l.ok(204, "HEAD", path+"/"+reader, "")
	require.Len(t, l.ok(200, "GET", path, "").at("roles"), 1)
	got := l.ok(200, "GET", "/v3/role_assignments?scope.system=all&include_names", "")
	require.Len(t, got.at("role_assignments"), 2)
	require.Contains(t, got.text, `"system":{"all":true}`)
	token := l.login("u", "secret1", `{"system":{"all":true}}`)
	l.ok(204, "DELETE", path+"/"+reader, "")
	l.ok(401, "GET", "/v3/auth/projects", "", "X-Auth-Token", token)
	l.ok(404, "HEAD", path+"/"+reader, "")
}

func TestWhatAnOrdinaryUserGets(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	u := l.ok(201, "POST", "/v3/users", `{"user":{"name":"u","password":"secret1"}}`).id("user")
	other := l.ok(201, "POST", "/v3/users", `{"user":{"name":"v"}}`).id("user")
	p := l.ok(201, "POST", "/v3/projects", `{"project":{"name":"p"}}`).id("project")
	member := l.ok(200, "GET", "/v3/roles?name=member", "").at("roles").([]any)[0].(map[string]any)["id"].(string)
	l.ok(204, "PUT", "/v3/projects/"+p+"/users/"+u+"/roles/"+member, "")
	admins := l.admin
	l.admin = l.login("u", "secret1", `{"project":{"id":"`+p+`"}}`)
	l.ok(200, "GET", "/v3/users/"+u, "")
	l.ok(200, "GET", "/v3/users/"+u+"/projects", "")
	l.ok(200, "GET", "/v3/projects/"+p, "")
	l.ok(200, "GET", "/v3/domains/default", "")
	l.ok(200, "GET", "/v3/auth/catalog", "")
	l.ok(200, "GET", "/v3/regions", "")
	l.ok(404, "GET", "/v3/users/"+other, "")
	for _, path := range []string{"/v3/users", "/v3/projects", "/v3/roles", "/v3/services", "/v3/endpoints", "/v3/role_assignments", "/v3/groups"} {
		a := l.ok(403, "GET", path, "")
		require.Equal(t, "Forbidden", a.at("error", "title"))
	}
	l.ok(403, "POST", "/v3/users", `{"user":{"name":"w","password":"secret2"}}`)
	l.ok(403, "GET", "/v3/auth/tokens", "", "X-Subject-Token", admins)
	l.ok(403, "DELETE", "/v3/auth/tokens", "", "X-Subject-Token", admins)
	l.ok(200, "GET", "/v3/auth/tokens", "", "X-Subject-Token", l.admin)
	l.ok(204, "POST", "/v3/users/"+u+"/password", `{"user":{"password":"secret3","original_password":"secret1"}}`)
	l.ok(401, "GET", "/v3/auth/projects", "")
	l.ok(401, "POST", "/v3/users/"+u+"/password", `{"user":{"password":"secret4","original_password":"secret1"}}`)
	l.login("u", "secret3", "")
}

func TestIdempotentUserCreate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	body := `{"user":{"name":"u","password":"secret1"}}`
	first := l.ok(201, "POST", "/v3/users", body, "Idempotency-Key", "k1")
	again := l.ok(201, "POST", "/v3/users", body, "Idempotency-Key", "k1")
	require.Equal(t, first.json, again.json)
	l.ok(409, "POST", "/v3/users", `{"user":{"name":"w"}}`, "Idempotency-Key", "k1")
	l.ok(409, "POST", "/v3/users", body)
	l.login("u", "secret1", "")
}
