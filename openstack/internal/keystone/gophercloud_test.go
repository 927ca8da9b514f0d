package keystone_test

import (
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/catalog"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/domains"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/endpoints"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/osinherit"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/regions"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/registeredlimits"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/services"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/gophercloud/gophercloud/v2/pagination"
	"github.com/stretchr/testify/require"
)

// all returns every item of a pager, over all its pages.
func all[T any](l *lab, p pagination.Pager, extract func(pagination.Page) ([]T, error)) []T {
	l.Helper()
	page, err := p.AllPages(l.ctx)
	require.NoError(l, err)
	out, err := extract(page)
	require.NoError(l, err)
	return out
}

func ptr[T any](v T) *T { return &v }

func TestGophercloudTokens(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.client()
	require.Equal(t, l.url+"/identity/v3/", c.Endpoint)
	token := c.TokenID
	got := tokens.Get(l.ctx, c, token)
	who, err := got.ExtractUser()
	require.NoError(t, err)
	require.Equal(t, "admin", who.Name)
	project, err := got.ExtractProject()
	require.NoError(t, err)
	require.Equal(t, "Default", project.Domain.Name)
	held, err := got.ExtractRoles()
	require.NoError(t, err)
	require.Len(t, held, 4)
	cat, err := got.ExtractServiceCatalog()
	require.NoError(t, err)
	require.Len(t, cat.Entries, 3)
	require.Equal(t, l.url+"/compute/v2.1", cat.Entries[1].Endpoints[0].URL)

	re := tokens.Create(l.ctx, c, &tokens.AuthOptions{TokenID: token, Scope: tokens.Scope{System: true}})
	text, err := re.ExtractTokenID()
	require.NoError(t, err)
	valid, err := tokens.Validate(l.ctx, c, text)
	require.NoError(t, err)
	require.True(t, valid)
	require.NoError(t, tokens.Revoke(l.ctx, c, text).Err)
	valid, err = tokens.Validate(l.ctx, c, text)
	require.NoError(t, err)
	require.False(t, valid)
	require.Len(t, all(l, catalog.List(c), catalog.ExtractServiceCatalog), 3)
}

func TestGophercloudProjectsAndDomains(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.client()
	d, err := domains.Create(l.ctx, c, domains.CreateOpts{Name: "acme", Description: "x"}).Extract()
	require.NoError(t, err)
	require.True(t, d.Enabled)
	p, err := projects.Create(l.ctx, c, projects.CreateOpts{Name: "p", DomainID: d.ID, Tags: []string{"t1"}, Extra: map[string]any{"cost": "7"},
		Options: map[projects.Option]any{projects.Immutable: false}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "7", p.Extra["cost"])
	require.Equal(t, d.ID, p.ParentID)
	child, err := projects.Create(l.ctx, c, projects.CreateOpts{Name: "child", ParentID: p.ID, Enabled: ptr(false)}).Extract()
	require.NoError(t, err)
	require.False(t, child.Enabled)
	p, err = projects.Update(l.ctx, c, p.ID, projects.UpdateOpts{Name: "q", Description: ptr("new"), Extra: map[string]any{"cost": "8"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, []any{"q", "new", "8"}, []any{p.Name, p.Description, p.Extra["cost"]})
	got, err := projects.Get(l.ctx, c, p.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, p, got)
	_, err = projects.ModifyTags(l.ctx, c, p.ID, projects.ModifyTagsOpts{Tags: []string{"b", "a"}}).Extract()
	require.NoError(t, err)
	tags, err := projects.ListTags(l.ctx, c, p.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, tags.Tags)
	require.Len(t, all(l, projects.List(c, projects.ListOpts{DomainID: d.ID, TagsAny: "b,z"}), projects.ExtractProjects), 1)
	require.NoError(t, projects.DeleteTags(l.ctx, c, p.ID).ExtractErr())
	require.Len(t, all(l, projects.List(c, projects.ListOpts{DomainID: d.ID}), projects.ExtractProjects), 2)
	require.Len(t, all(l, projects.List(c, projects.ListOpts{Name: "child", Enabled: ptr(false)}), projects.ExtractProjects), 1)
	require.Empty(t, all(l, projects.List(c, projects.ListOpts{Name: "child", Enabled: ptr(true)}), projects.ExtractProjects))
	require.Len(t, all(l, projects.List(c, projects.ListOpts{Filters: map[string]string{"name__contains": "hil"}}), projects.ExtractProjects), 1)
	require.Len(t, all(l, projects.ListAvailable(c), projects.ExtractProjects), 1)

	err = projects.Delete(l.ctx, c, p.ID).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, 403), err)
	require.NoError(t, projects.Delete(l.ctx, c, child.ID).ExtractErr())
	require.NoError(t, projects.Delete(l.ctx, c, p.ID).ExtractErr())
	_, err = projects.Get(l.ctx, c, p.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, 404), err)

	require.Len(t, all(l, domains.List(c, domains.ListOpts{Name: "acme"}), domains.ExtractDomains), 1)
	require.Empty(t, all(l, domains.ListAvailable(c), domains.ExtractDomains))
	err = domains.Delete(l.ctx, c, d.ID).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, 403), err)
	d, err = domains.Update(l.ctx, c, d.ID, domains.UpdateOpts{Name: "acme2", Enabled: ptr(false)}).Extract()
	require.NoError(t, err)
	d, err = domains.Get(l.ctx, c, d.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, []any{"acme2", false}, []any{d.Name, d.Enabled})
	require.NoError(t, domains.Delete(l.ctx, c, d.ID).ExtractErr())
	asProject, err := projects.Create(l.ctx, c, projects.CreateOpts{Name: "dom", IsDomain: ptr(true)}).Extract()
	require.NoError(t, err)
	require.True(t, asProject.IsDomain)
	require.Len(t, all(l, projects.List(c, projects.ListOpts{IsDomain: ptr(true)}), projects.ExtractProjects), 2)
}

func TestGophercloudUsersAndGroups(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.client()
	p, err := projects.Create(l.ctx, c, projects.CreateOpts{Name: "p"}).Extract()
	require.NoError(t, err)
	u, err := users.Create(l.ctx, c, users.CreateOpts{Name: "u", DomainID: "default", Password: "secret1", DefaultProjectID: p.ID, Description: "d",
		Options: map[users.Option]any{users.IgnorePasswordExpiry: true, users.MultiFactorAuthRules: []any{[]any{"password", "totp"}}},
		Extra:   map[string]any{"email": "u@example.org"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "u@example.org", u.Extra["email"])
	require.Equal(t, true, u.Options["ignore_password_expiry"])
	require.Equal(t, p.ID, u.DefaultProjectID)
	got, err := users.Get(l.ctx, c, u.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, u, got)
	u, err = users.Update(l.ctx, c, u.ID, users.UpdateOpts{Name: "v", Password: "secret2", Description: ptr("e"), Extra: map[string]any{"email": nil, "room": "1"},
		Options: map[users.Option]any{users.IgnorePasswordExpiry: nil}}).Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]any{"room": "1"}, u.Extra)
	require.NotContains(t, u.Options, "ignore_password_expiry")
	l.login("v", "secret2", "")
	require.NoError(t, users.ChangePassword(l.ctx, c, u.ID, users.ChangePasswordOpts{OriginalPassword: "secret2", Password: "secret3"}).ExtractErr())
	l.login("v", "secret3", "")
	require.Len(t, all(l, users.List(c, users.ListOpts{DomainID: "default", Enabled: ptr(true)}), users.ExtractUsers), 2)
	require.Len(t, all(l, users.List(c, users.ListOpts{Filters: map[string]string{"name__istartswith": "V"}}), users.ExtractUsers), 1)

	g, err := groups.Create(l.ctx, c, groups.CreateOpts{Name: "g", Description: "d", Extra: map[string]any{"k": "v"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "v", g.Extra["k"])
	g, err = groups.Update(l.ctx, c, g.ID, groups.UpdateOpts{Name: "h", Description: ptr("")}).Extract()
	require.NoError(t, err)
	g, err = groups.Get(l.ctx, c, g.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "h", g.Name)
	require.Len(t, all(l, groups.List(c, groups.ListOpts{Name: "h"}), groups.ExtractGroups), 1)
	require.NoError(t, users.AddToGroup(l.ctx, c, g.ID, u.ID).ExtractErr())
	in, err := users.IsMemberOfGroup(l.ctx, c, g.ID, u.ID).Extract()
	require.NoError(t, err)
	require.True(t, in)
	require.Len(t, all(l, users.ListInGroup(c, g.ID, nil), users.ExtractUsers), 1)
	require.Len(t, all(l, users.ListGroups(c, u.ID), groups.ExtractGroups), 1)
	require.Empty(t, all(l, users.ListProjects(c, u.ID), projects.ExtractProjects))
	require.NoError(t, users.RemoveFromGroup(l.ctx, c, g.ID, u.ID).ExtractErr())
	in, err = users.IsMemberOfGroup(l.ctx, c, g.ID, u.ID).Extract()
	require.NoError(t, err)
	require.False(t, in)
	require.NoError(t, groups.Delete(l.ctx, c, g.ID).ExtractErr())
	require.NoError(t, users.Delete(l.ctx, c, u.ID).ExtractErr())
}

func TestGophercloudRoles(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.client()
	p, err := projects.Create(l.ctx, c, projects.CreateOpts{Name: "p"}).Extract()
	require.NoError(t, err)
	u, err := users.Create(l.ctx, c, users.CreateOpts{Name: "u", Password: "secret1"}).Extract()
	require.NoError(t, err)
	g, err := groups.Create(l.ctx, c, groups.CreateOpts{Name: "g"}).Extract()
	require.NoError(t, err)
	r, err := roles.Create(l.ctx, c, roles.CreateOpts{Name: "r", Extra: map[string]any{"k": "v", "options": map[string]any{"immutable": true}}}).Extract()
	require.NoError(t, err)
	err = roles.Delete(l.ctx, c, r.ID).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, 403), err)
	r, err = roles.Update(l.ctx, c, r.ID, roles.UpdateOpts{Extra: map[string]any{"options": map[string]any{"immutable": false}}}).Extract()
	require.NoError(t, err)
	r, err = roles.Update(l.ctx, c, r.ID, roles.UpdateOpts{Name: "s", Extra: map[string]any{"k": "w"}}).Extract()
	require.NoError(t, err)
	got, err := roles.Get(l.ctx, c, r.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, r, got)
	require.Len(t, all(l, roles.List(c, roles.ListOpts{Name: "s"}), roles.ExtractRoles), 1)
	require.Len(t, all(l, roles.List(c, nil), roles.ExtractRoles), 6)

	for _, o := range []roles.AssignOpts{{UserID: u.ID, ProjectID: p.ID}, {GroupID: g.ID, ProjectID: p.ID}, {UserID: u.ID, DomainID: "default"}, {GroupID: g.ID, DomainID: "default"}} {
		require.NoError(t, roles.Assign(l.ctx, c, r.ID, o).ExtractErr())
		require.Len(t, all(l, roles.ListAssignmentsOnResource(c, roles.ListAssignmentsOnResourceOpts(o)), roles.ExtractRoles), 1)
	}
	l.login("u", "secret1", `{"domain":{"name":"Default"}}`)
	require.Len(t, all(l, users.ListProjects(c, u.ID), projects.ExtractProjects), 1)
	require.Len(t, all(l, roles.ListAssignments(c, roles.ListAssignmentsOpts{RoleID: r.ID}), roles.ExtractRoleAssignments), 4)
	named := all(l, roles.ListAssignments(c, roles.ListAssignmentsOpts{UserID: u.ID, ScopeProjectID: p.ID, IncludeNames: ptr(true)}), roles.ExtractRoleAssignments)
	require.Len(t, named, 1)
	require.Equal(t, []string{"s", "u", "Default", "p", "Default"},
		[]string{named[0].Role.Name, named[0].User.Name, named[0].User.Domain.Name, named[0].Scope.Project.Name, named[0].Scope.Project.Domain.Name})
	require.NoError(t, users.AddToGroup(l.ctx, c, g.ID, u.ID).ExtractErr())
	require.Len(t, all(l, roles.ListAssignments(c, roles.ListAssignmentsOpts{UserID: u.ID, Effective: ptr(true)}), roles.ExtractRoleAssignments), 2)

	inherit := osinherit.AssignOpts{UserID: u.ID, DomainID: "default"}
	require.NoError(t, osinherit.Assign(l.ctx, c, r.ID, inherit).ExtractErr())
	require.NoError(t, osinherit.Validate(l.ctx, c, r.ID, osinherit.ValidateOpts(inherit)).ExtractErr())
	l.login("u", "secret1", `{"project":{"name":"admin","domain":{"id":"default"}}}`)
	require.NoError(t, osinherit.Unassign(l.ctx, c, r.ID, osinherit.UnassignOpts(inherit)).ExtractErr())
	require.Error(t, osinherit.Validate(l.ctx, c, r.ID, osinherit.ValidateOpts(inherit)).ExtractErr())
	require.NoError(t, roles.Unassign(l.ctx, c, r.ID, roles.UnassignOpts{UserID: u.ID, ProjectID: p.ID}).ExtractErr())
	err = roles.Unassign(l.ctx, c, r.ID, roles.UnassignOpts{UserID: u.ID, ProjectID: p.ID}).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, 404), err)

	reader := all(l, roles.List(c, roles.ListOpts{Name: "reader"}), roles.ExtractRoles)[0].ID
	rule, err := roles.CreateRoleInferenceRule(l.ctx, c, r.ID, reader).Extract()
	require.NoError(t, err)
	require.Equal(t, "reader", rule.RoleInference.ImpliedRole.Name)
	rule, err = roles.GetRoleInferenceRule(l.ctx, c, r.ID, reader).Extract()
	require.NoError(t, err)
	require.Equal(t, "s", rule.RoleInference.PriorRole.Name)
	rules, err := roles.ListRoleInferenceRules(l.ctx, c).Extract()
	require.NoError(t, err)
	require.Len(t, rules.RoleInferenceRuleList, 4)
	require.NoError(t, roles.DeleteRoleInferenceRule(l.ctx, c, r.ID, reader).ExtractErr())
	_, err = roles.GetRoleInferenceRule(l.ctx, c, r.ID, reader).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, 404), err)
	require.NoError(t, roles.Delete(l.ctx, c, r.ID).ExtractErr())
}

func TestGophercloudCatalog(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.client()
	reg, err := regions.Create(l.ctx, c, regions.CreateOpts{ID: "two", Description: "d", ParentRegionID: "RegionOne", Extra: map[string]any{"k": "v"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "v", reg.Extra["k"])
	reg, err = regions.Update(l.ctx, c, "two", regions.UpdateOpts{Description: ptr("e")}).Extract()
	require.NoError(t, err)
	got, err := regions.Get(l.ctx, c, "two").Extract()
	require.NoError(t, err)
	require.Equal(t, reg, got)
	require.Len(t, all(l, regions.List(c, regions.ListOpts{ParentRegionID: "RegionOne"}), regions.ExtractRegions), 1)

	s, err := services.Create(l.ctx, c, services.CreateOpts{Type: "object-store", Extra: map[string]any{"name": "swift", "email": "x"}}).Extract()
	require.NoError(t, err)
	s, err = services.Update(l.ctx, c, s.ID, services.UpdateOpts{Type: "store", Enabled: ptr(true)}).Extract()
	require.NoError(t, err)
	gotService, err := services.Get(l.ctx, c, s.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, s, gotService)
	require.Len(t, all(l, services.List(c, nil), services.ExtractServices), 4)
	compute := all(l, services.List(c, services.ListOpts{ServiceType: "compute"}), services.ExtractServices)
	require.Len(t, compute, 1)
	err = services.Delete(l.ctx, c, compute[0].ID).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, 403), err)

	e, err := endpoints.Create(l.ctx, c, endpoints.CreateOpts{Availability: gophercloud.AvailabilityPublic, Name: "n", Region: "three", URL: "http://s/%(project_id)s", ServiceID: s.ID}).Extract()
	require.NoError(t, err)
	require.Equal(t, "three", e.Region)
	e, err = endpoints.Update(l.ctx, c, e.ID, endpoints.UpdateOpts{Region: "two"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "two", e.Region)
	require.Len(t, all(l, endpoints.List(c, endpoints.ListOpts{ServiceID: s.ID}), endpoints.ExtractEndpoints), 1)
	require.Len(t, all(l, endpoints.List(c, endpoints.ListOpts{Availability: gophercloud.AvailabilityInternal}), endpoints.ExtractEndpoints), 3)
	require.Len(t, all(l, catalog.List(c), catalog.ExtractServiceCatalog), 4)
	err = regions.Delete(l.ctx, c, "two").ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, 403), err)
	require.NoError(t, endpoints.Delete(l.ctx, c, e.ID).ExtractErr())
	require.NoError(t, services.Delete(l.ctx, c, s.ID).ExtractErr())
	require.NoError(t, regions.Delete(l.ctx, c, "two").ExtractErr())

	require.Empty(t, all(l, limits.List(c, nil), limits.ExtractLimits))
	require.Empty(t, all(l, registeredlimits.List(c, nil), registeredlimits.ExtractRegisteredLimits))
	model, err := limits.GetEnforcementModel(l.ctx, c).Extract()
	require.NoError(t, err)
	require.Equal(t, "flat", model.Name)
}
