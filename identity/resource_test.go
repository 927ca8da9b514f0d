package identity_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

func TestProjectTree(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	top := must(e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "top", Tags: []string{"b", "a"}, Extra: identity.Extra{"cost": []byte(`{"center":7}`)}}))(t)
	require.Equal(t, "default", top.DomainID)
	require.Equal(t, "default", top.ParentID)
	require.Equal(t, []string{"a", "b"}, top.Tags)
	child := must(e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "child", ParentID: top.ID}))(t)
	require.Equal(t, "default", child.DomainID)
	_, err := e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "top"})
	code(t, fault.Exists, err)
	_, err = e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "x", ParentID: "nowhere"})
	code(t, fault.Invalid, err)
	_, err = e.sys.CreateProject(e.ctx, identity.CreateProject{Name: " "})
	code(t, fault.Invalid, err)
	_, err = e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "x", Tags: []string{"a,b"}})
	code(t, fault.Invalid, err)
	_, err = e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "x", Options: identity.Extra{"odd": []byte("1")}})
	code(t, fault.Invalid, err)

	code(t, fault.Denied, e.sys.DeleteProject(e.ctx, top.ID))
	_, err = e.sys.UpdateProject(e.ctx, top.ID, identity.UpdateProject{Enabled: ptr(false)})
	code(t, fault.Denied, err)
	_, err = e.sys.UpdateProject(e.ctx, child.ID, identity.UpdateProject{Enabled: ptr(false)})
	require.NoError(t, err)
	_, err = e.sys.UpdateProject(e.ctx, top.ID, identity.UpdateProject{Enabled: ptr(false), Extra: identity.Extra{"cost": []byte("null"), "n": []byte("1")}})
	require.NoError(t, err)
	_, err = e.sys.UpdateProject(e.ctx, child.ID, identity.UpdateProject{Enabled: ptr(true)})
	code(t, fault.Denied, err)
	got := must(e.sys.GetProject(e.ctx, top.ID))(t)
	require.Equal(t, identity.Extra{"n": []byte("1")}, got.Extra)
	require.NoError(t, e.sys.DeleteProject(e.ctx, child.ID))
	require.NoError(t, e.sys.DeleteProject(e.ctx, top.ID))
	_, err = e.sys.GetProject(e.ctx, top.ID)
	code(t, fault.NotFound, err)

	parent := ""
	for i, name := range []string{"1", "2", "3", "4", "5"} {
		v, err := e.sys.CreateProject(e.ctx, identity.CreateProject{Name: name, ParentID: parent})
		require.NoError(t, err, i)
		parent = v.ID
	}
	_, err = e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "6", ParentID: parent})
	code(t, fault.Denied, err)
}

// TestErrorsNameTheKind: a domain is kept as a project and a service as a catalog service, but nobody reads so.
func TestErrorsNameTheKind(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	d := must(e.sys.CreateDomain(e.ctx, identity.CreateDomain{Name: "d"}))(t)
	other := must(e.sys.CreateDomain(e.ctx, identity.CreateDomain{Name: "other"}))(t)
	e.project("p")
	said := func(want string, err error) {
		t.Helper()
		require.ErrorContains(t, err, want)
	}
	_, err := e.sys.CreateDomain(e.ctx, identity.CreateDomain{Name: "d"})
	said("domain "+d.ID+": name: has the same name already", err)
	_, err = e.sys.CreateDomain(e.ctx, identity.CreateDomain{ID: d.ID, Name: "x"})
	said("domain "+d.ID+": exists already", err)
	_, err = e.sys.UpdateDomain(e.ctx, other.ID, identity.UpdateProject{Name: ptr("d")})
	said("domain "+d.ID+": name: has the same name already", err)
	_, err = e.sys.UpdateProject(e.ctx, other.ID, identity.UpdateProject{Name: ptr("d")})
	said("domain "+d.ID+": name: has the same name already", err)
	_, err = e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "p"})
	said("project ", err)
	_, err = e.sys.ListDomains(e.ctx, identity.ListDomains{ListOptions: identity.ListOptions{Marker: "x"}})
	said("there is no domain with this id", err)

	_, err = e.sys.CreateEndpoint(e.ctx, identity.Endpoint{ServiceID: "x", Interface: "public", URL: "http://example.com"})
	said("there is no such service", err)
	_, err = e.sys.ListServices(e.ctx, identity.ListOptions{Marker: "x"}, "")
	said("there is no service with this id", err)
	_, err = e.sys.GetService(e.ctx, "x")
	require.EqualError(t, err, "service x: could not be found")
	require.EqualError(t, e.sys.DeleteService(e.ctx, "x"), "service x: could not be found")
}

func TestListsFilterAndPage(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	for _, name := range []string{"beta", "Alpha", "alpine", "gamma"} {
		e.project(name)
	}
	names := func(o identity.ListProjects) (out []string) {
		for _, p := range must(e.sys.ListProjects(e.ctx, o))(t) {
			out = append(out, p.Name)
		}
		return out
	}
	match := func(op, value string) identity.ListProjects {
		return identity.ListProjects{ListOptions: identity.ListOptions{Names: []identity.TextFilter{{Op: op, Value: value}}}}
	}
	require.Equal(t, []string{"Alpha", "admin", "alpine", "beta", "gamma"}, names(identity.ListProjects{}))
	require.Equal(t, []string{"alpine"}, names(match("contains", "pin")))
	require.Equal(t, []string{"Alpha", "alpine"}, names(match("istartswith", "AL")))
	require.Equal(t, []string{"Alpha", "beta", "gamma"}, names(match("endswith", "a")))
	var all []string
	o := identity.ListProjects{}
	o.Limit = 2
	for {
		page := must(e.sys.ListProjects(e.ctx, o))(t)
		if len(page) == 0 {
			break
		}
		for _, p := range page {
			all = append(all, p.Name)
			o.Marker = p.ID
		}
	}
	require.Equal(t, []string{"Alpha", "admin", "alpine", "beta", "gamma"}, all)
	o.Marker = "nobody"
	_, err := e.sys.ListProjects(e.ctx, o)
	code(t, fault.Invalid, err)

	beta := must(e.sys.ListProjects(e.ctx, identity.ListProjects{ListOptions: identity.ListOptions{Name: "beta"}}))(t)[0].ID
	must(e.sys.SetTags(e.ctx, beta, []string{"x", "y"}))(t)
	require.NoError(t, e.sys.AddTag(e.ctx, beta, "z"))
	require.NoError(t, e.sys.DeleteTag(e.ctx, beta, "y"))
	code(t, fault.NotFound, e.sys.DeleteTag(e.ctx, beta, "y"))
	require.Equal(t, []string{"beta"}, names(identity.ListProjects{Tags: []string{"x", "z"}}))
	require.Empty(t, names(identity.ListProjects{Tags: []string{"x", "y"}}))
	require.Equal(t, []string{"beta"}, names(identity.ListProjects{TagsAny: []string{"y", "x"}}))
	require.NotContains(t, names(identity.ListProjects{NotAny: []string{"x"}}), "beta")
	require.Contains(t, names(identity.ListProjects{NotTags: []string{"x", "y"}}), "beta")
}

func TestWhoMaySeeWhat(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	p, q := e.project("p"), e.project("q")
	alice, bob := e.user("alice"), e.user("bob")
	e.grant(identity.Assignment{RoleID: e.role("member"), UserID: alice, ProjectID: p})
	me := e.svc.As(e.valid(e.login(login(alice, "alice", inProject(p)))))

	must(me.GetProject(e.ctx, p))(t)
	must(me.GetUser(e.ctx, alice))(t)
	must(me.GetDomain(e.ctx, "default"))(t)
	for _, err := range []error{
		second(me.GetProject(e.ctx, q)), second(me.GetUser(e.ctx, bob)), second(me.ProjectsOf(e.ctx, bob)), second(me.GetProject(e.ctx, "none")),
	} {
		code(t, fault.NotFound, err)
	}
	for action, err := range map[string]error{
		"identity:project:update": second(me.UpdateProject(e.ctx, p, identity.UpdateProject{})),
		"identity:user:update":    second(me.UpdateUser(e.ctx, alice, identity.UpdateUser{Enabled: ptr(true)})),
		"identity:user:list":      second(me.ListUsers(e.ctx, identity.ListUsers{})),
		"identity:project:list":   second(me.ListProjects(e.ctx, identity.ListProjects{})),
		"identity:role_assignment:create": me.Grant(e.ctx,
			identity.Assignment{RoleID: e.role("admin"), UserID: alice, ProjectID: p}),
	} {
		code(t, fault.Denied, err)
		require.ErrorContains(t, err, action)
	}
	mine := must(me.Scopes(e.ctx))(t)
	require.Len(t, mine.Projects, 1)
	require.False(t, mine.System)
	code(t, fault.Unauthenticated, second(e.svc.GetProject(e.ctx, p)))
	code(t, fault.Unauthenticated, second(e.svc.Scopes(e.ctx)))
}

func second[T any](_ T, err error) error { return err }

func TestImmutable(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	id := e.role("reader")
	code(t, fault.Denied, e.sys.DeleteRole(e.ctx, id))
	code(t, fault.Denied, second(e.sys.UpdateRole(e.ctx, id, identity.UpdateRole{Name: ptr("x")})))
	code(t, fault.Denied, second(e.sys.UpdateRole(e.ctx, id, identity.UpdateRole{Name: ptr("x"), Options: identity.Extra{"immutable": []byte("false")}})))
	must(e.sys.UpdateRole(e.ctx, id, identity.UpdateRole{Options: identity.Extra{"immutable": []byte("false")}}))(t)
	require.NoError(t, e.sys.DeleteRole(e.ctx, id))
	require.Empty(t, must(e.sys.GetRole(e.ctx, e.role("member")))(t).Implies)
}

func TestImpliedRoles(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	a := must(e.sys.CreateRole(e.ctx, identity.CreateRole{Name: "a"}))(t).ID
	b := must(e.sys.CreateRole(e.ctx, identity.CreateRole{Name: "b"}))(t).ID
	require.NoError(t, e.sys.Imply(e.ctx, a, b))
	require.NoError(t, e.sys.Imply(e.ctx, a, b))
	code(t, fault.Invalid, e.sys.Imply(e.ctx, b, a))
	code(t, fault.Invalid, e.sys.Imply(e.ctx, a, a))
	code(t, fault.Denied, e.sys.Imply(e.ctx, a, e.role("admin")))
	p, u := e.project("p"), e.user("u")
	e.grant(identity.Assignment{RoleID: a, UserID: u, ProjectID: p})
	token := e.login(login(u, "u", inProject(p)))
	require.Equal(t, []string{"a", "b"}, e.valid(token).Roles)
	require.NoError(t, e.sys.Unimply(e.ctx, a, b))
	code(t, fault.NotFound, e.sys.Unimply(e.ctx, a, b))
	require.Equal(t, []string{"a"}, e.valid(token).Roles)
}

func TestAssignmentLists(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	top := e.project("top")
	sub := must(e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "sub", ParentID: top}))(t).ID
	u := e.user("u")
	g := must(e.sys.CreateGroup(e.ctx, identity.CreateGroup{Name: "g"}))(t).ID
	require.NoError(t, e.sys.AddToGroup(e.ctx, g, u))
	member := e.role("member")
	e.grant(identity.Assignment{RoleID: member, GroupID: g, ProjectID: top, Inherited: true})
	e.grant(identity.Assignment{RoleID: member, GroupID: g, ProjectID: top, Inherited: true})
	token := e.login(login(u, "u", inProject(sub)))
	require.Equal(t, []string{"member", "reader"}, e.valid(token).Roles)
	_, _, err := e.svc.Authenticate(e.ctx, login(u, "u", inProject(top)))
	code(t, fault.Unauthenticated, err)

	found := must(e.sys.ListAssignments(e.ctx, identity.ListAssignments{GroupID: g}))(t)
	require.Len(t, found, 1)
	require.Equal(t, "g", found[0].Group.Name)
	found = must(e.sys.ListAssignments(e.ctx, identity.ListAssignments{UserID: u}))(t)
	require.Empty(t, found)
	found = must(e.sys.ListAssignments(e.ctx, identity.ListAssignments{UserID: u, Effective: true}))(t)
	require.Len(t, found, 2, "member and reader on sub")
	require.Equal(t, sub, found[0].ProjectID)
	require.Equal(t, g, found[0].Origin.GroupID)
	found = must(e.sys.ListAssignments(e.ctx, identity.ListAssignments{ProjectID: sub, Effective: true, RoleID: member}))(t)
	require.Len(t, found, 1)
	found = must(e.sys.ListAssignments(e.ctx, identity.ListAssignments{System: true}))(t)
	require.Len(t, found, 1)
	require.Equal(t, "admin", found[0].User.Name)
	_, err = e.sys.ListAssignments(e.ctx, identity.ListAssignments{GroupID: g, Effective: true})
	code(t, fault.Invalid, err)

	for _, a := range []identity.Assignment{
		{RoleID: "none", UserID: u, ProjectID: top}, {RoleID: member, UserID: "none", ProjectID: top}, {RoleID: member, GroupID: "none", ProjectID: top},
		{RoleID: member, UserID: u, ProjectID: "none"}, {RoleID: member, UserID: u, ProjectID: "default"}, {RoleID: member, UserID: u, DomainID: top},
	} {
		code(t, fault.NotFound, e.sys.Grant(e.ctx, a))
	}
	code(t, fault.Invalid, e.sys.Grant(e.ctx, identity.Assignment{RoleID: member, UserID: u}))
	code(t, fault.NotFound, e.sys.Ungrant(e.ctx, identity.Assignment{RoleID: member, UserID: u, ProjectID: top}))
}

func TestDeletesLeaveNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil) // its cleanup checks for dangling references
	d := must(e.sys.CreateDomain(e.ctx, identity.CreateDomain{Name: "d"}))(t).ID
	top := must(e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "z", DomainID: d}))(t).ID
	sub := must(e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "a", ParentID: top}))(t).ID
	g := must(e.sys.CreateGroup(e.ctx, identity.CreateGroup{Name: "g", DomainID: d}))(t).ID
	u := must(e.sys.CreateUser(e.ctx, identity.CreateUser{Name: "u", DomainID: d, Password: "u", DefaultProjectID: sub}))(t).ID
	foreign := e.user("foreign")
	r := must(e.sys.CreateRole(e.ctx, identity.CreateRole{Name: "r", DomainID: d}))(t).ID
	require.NoError(t, e.sys.AddToGroup(e.ctx, g, u))
	require.NoError(t, e.sys.AddToGroup(e.ctx, g, foreign))
	for _, who := range []identity.Assignment{{UserID: u}, {GroupID: g}, {UserID: foreign}} {
		for _, on := range []identity.Assignment{{ProjectID: top}, {ProjectID: sub}, {DomainID: d}, {DomainID: d, Inherited: true}, {ProjectID: top, Inherited: true}} {
			on.UserID, on.GroupID = who.UserID, who.GroupID
			for _, on.RoleID = range []string{r, e.role("member")} {
				e.grant(on)
			}
		}
	}
	code(t, fault.Denied, e.sys.DeleteDomain(e.ctx, d))
	must(e.sys.UpdateDomain(e.ctx, d, identity.UpdateProject{Enabled: ptr(false)}))(t)
	require.NoError(t, e.sys.DeleteDomain(e.ctx, d))
	code(t, fault.NotFound, second(e.sys.GetDomain(e.ctx, d)))
	code(t, fault.NotFound, second(e.sys.GetUser(e.ctx, u)))
	require.Empty(t, must(e.sys.ListAssignments(e.ctx, identity.ListAssignments{UserID: foreign}))(t))
	must(e.sys.UpdateDomain(e.ctx, "default", identity.UpdateProject{Enabled: ptr(false)}))(t)
	code(t, fault.Denied, e.sys.DeleteDomain(e.ctx, "default"))
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	v := must(e.sys.CreateService(e.ctx, identity.CatalogService{Type: "object-store", Name: "swift", Enabled: true}))(t)
	r := must(e.sys.CreateRegion(e.ctx, identity.Region{ID: "two", ParentID: "RegionOne"}))(t)
	p := must(e.sys.CreateEndpoint(e.ctx, identity.Endpoint{ServiceID: v.ID, RegionID: r.ID, Interface: "public", URL: "http://s/v1/AUTH_%(project_id)s", Enabled: true}))(t)
	code(t, fault.Invalid, second(e.sys.CreateEndpoint(e.ctx, identity.Endpoint{ServiceID: "none", Interface: "public", URL: "http://s/"})))
	code(t, fault.Invalid, second(e.sys.CreateEndpoint(e.ctx, identity.Endpoint{ServiceID: v.ID, Interface: "odd", URL: "http://s/"})))
	code(t, fault.Invalid, second(e.sys.CreateEndpoint(e.ctx, identity.Endpoint{ServiceID: v.ID, Interface: "public", URL: "s"})))
	code(t, fault.Denied, e.sys.DeleteRegion(e.ctx, "two"))
	code(t, fault.Denied, e.sys.DeleteRegion(e.ctx, "RegionOne"))
	code(t, fault.Invalid, second(e.sys.UpdateRegion(e.ctx, "RegionOne", identity.UpdateRegion{ParentID: ptr("two")})))

	who := e.valid(e.login(adminLogin()))
	got := must(e.svc.As(who).Catalog(e.ctx, []identity.CatalogEntry{{CatalogService: identity.CatalogService{Type: "compute"}, Endpoints: []identity.Endpoint{{URL: "http://h/"}}}}))(t)
	require.Len(t, got, 2)
	require.Equal(t, "http://s/v1/AUTH_"+who.ProjectID, got[1].Endpoints[0].URL)
	require.Len(t, must(e.sys.Catalog(e.ctx, nil))(t), 0, "no project, no URL")
	must(e.sys.UpdateEndpoint(e.ctx, p.ID, identity.UpdateEndpoint{Enabled: ptr(false)}))(t)
	require.Empty(t, must(e.svc.As(who).Catalog(e.ctx, nil))(t))
	require.NoError(t, e.sys.DeleteService(e.ctx, v.ID))
	code(t, fault.NotFound, second(e.sys.GetEndpoint(e.ctx, p.ID)))
	require.NoError(t, e.sys.DeleteRegion(e.ctx, "two"))
}

func TestEventsAndHashedPasswordsInATransaction(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	hashed := must(e.svc.Hash(e.ctx, "top secret"))(t)
	var id string
	require.NoError(t, e.store.Update(e.ctx, func(tx *store.Tx) error {
		u, err := e.sys.CreateUser(tx.Context(), identity.CreateUser{Name: "u", Hashed: hashed})
		if err == nil {
			id = u.ID
		}
		return err
	}))
	e.login(login(id, "top secret", nil))
	v := must(e.sys.CreateService(e.ctx, identity.CatalogService{Type: "x"}))(t)
	must(e.sys.UpdateService(e.ctx, v.ID, identity.UpdateService{Name: ptr("n")}))(t)
	must(e.sys.UpdateProject(e.ctx, "default", identity.UpdateProject{Description: ptr("d")}))(t)
	var types []string
	for _, ev := range must(e.store.Events(e.ctx, 0, 1000))(t) {
		types = append(types, ev.Type)
		require.NotContains(t, string(ev.Data), "secret")
	}
	require.Contains(t, types, "identity.user.created")
	require.Contains(t, types, "identity.role_assignment.created")
	require.Contains(t, types, "identity.service.updated")
	require.Contains(t, types, "identity.domain.updated")
}

func TestLockedPassword(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	u := e.user("u")
	must(e.sys.UpdateUser(e.ctx, u, identity.UpdateUser{Options: identity.Extra{"lock_password": []byte("true")}}))(t)
	code(t, fault.Denied, e.svc.ChangePassword(e.ctx, u, "u", "new"))
	must(e.sys.UpdateUser(e.ctx, u, identity.UpdateUser{Options: identity.Extra{"lock_password": []byte("null")}}))(t)
	code(t, fault.Unauthenticated, e.svc.ChangePassword(e.ctx, u, "wrong", "new"))
	require.NoError(t, e.svc.ChangePassword(e.ctx, u, "u", "new"))
	e.login(login(u, "new", nil))
	code(t, fault.Invalid, second(e.sys.UpdateUser(e.ctx, u, identity.UpdateUser{Options: identity.Extra{"lock_password": []byte(`"yes"`)}})))
}
