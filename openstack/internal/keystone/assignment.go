package keystone

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// assignmentRoutes are the roles of each kind of actor on each kind of target, in the same pattern.
func (a *api) assignmentRoutes() []rest.Route {
	routes := []rest.Route{a.route("GET", "/role_assignments", listAssignments)}
	for _, actor := range []string{"users", "groups"} {
		for _, target := range []string{"projects", "domains"} {
			plain, inherited := assignmentIn(target, actor, false), assignmentIn(target, actor, true)
			base := "/" + target + "/{target}/" + actor + "/{actor}/roles"
			routes = append(routes, a.grantRoutes(base, base+"/{role}", plain)...)
			base = "/OS-INHERIT" + base
			routes = append(routes, a.grantRoutes(base+"/inherited_to_projects", base+"/{role}/inherited_to_projects", inherited)...)
		}
		base := "/system/" + actor + "/{actor}/roles"
		routes = append(routes, a.grantRoutes(base, base+"/{role}", assignmentIn("system", actor, false))...)
	}
	return routes
}

// assignmentIn returns how to read an assignment from a path.
func assignmentIn(target, actor string, inherited bool) func(*rest.Request) identity.Assignment {
	return func(r *rest.Request) identity.Assignment {
		out := identity.Assignment{RoleID: r.Value("role"), Inherited: inherited}
		switch actor {
		case "users":
			out.UserID = r.Value("actor")
		case "groups":
			out.GroupID = r.Value("actor")
		}
		switch target {
		case "projects":
			out.ProjectID = r.Value("target")
		case "domains":
			out.DomainID = r.Value("target")
		case "system":
			out.System = true
		}
		return out
	}
}

func (a *api) grantRoutes(listPath, path string, in func(*rest.Request) identity.Assignment) []rest.Route {
	return []rest.Route{
		a.route("GET", listPath, func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			of := in(r)
			found, err := s.ListAssignments(ctx, identity.ListAssignments{UserID: of.UserID, GroupID: of.GroupID,
				ProjectID: of.ProjectID, DomainID: of.DomainID, System: of.System, Inherited: &of.Inherited})
			if err != nil {
				return nil, err
			}
			var roles []*identity.Role
			for _, g := range found {
				roles = append(roles, g.Role)
			}
			return list(r, "roles", roles, identity.ListOptions{}, roleID, showRole)
		}),
		a.route("PUT", path, func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.Grant(ctx, in(r)))
		}),
		a.route("GET", path, func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.Granted(ctx, in(r)))
		}),
		a.route("DELETE", path, func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.Ungrant(ctx, in(r)))
		}),
	}
}

func listAssignments(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	q := r.Query
	o := identity.ListAssignments{RoleID: q.Get("role.id"), UserID: q.Get("user.id"), GroupID: q.Get("group.id"),
		ProjectID: q.Get("scope.project.id"), DomainID: q.Get("scope.domain.id"), System: q.Has("scope.system")}
	n := 0
	for _, given := range []bool{o.ProjectID != "", o.DomainID != "", o.System} {
		if given {
			n++
		}
	}
	if n > 1 {
		return nil, invalid("scope", "name only one of scope.project.id, scope.domain.id and scope.system")
	}
	if o.UserID != "" && o.GroupID != "" {
		return nil, invalid("group.id", "name only one of user.id and group.id")
	}
	if to := "scope.OS-INHERIT:inherited_to"; q.Has(to) {
		if q.Get(to) != "projects" {
			return nil, fault.InvalidField(to, q.Get(to), "it must be projects")
		}
		yes := true
		o.Inherited = &yes
	}
	var names bool
	var err error
	for name, flag := range map[string]*bool{"effective": &o.Effective, "include_names": &names, "include_subtree": &o.Subtree} {
		if *flag, err = r.Flag(name, false); err != nil {
			return nil, err
		}
	}
	if o.Subtree && o.ProjectID == "" {
		return nil, invalid("include_subtree", "needs scope.project.id")
	}
	found, err := s.ListAssignments(ctx, o)
	if err != nil {
		return nil, err
	}
	out := []object{}
	for _, g := range found {
		out = append(out, showAssignment(r, g, names))
	}
	return rest.OK(object{"role_assignments": out, "links": listLinks(r, "")}), nil
}

func showAssignment(r *rest.Request, g *identity.Given, names bool) object {
	part := func(id, name, domainID string) object {
		out := object{"id": id}
		if names {
			out["name"] = name
			if d := g.Domains[domainID]; d != nil {
				out["domain"] = ref(d.ID, d.Name)
			}
		}
		return out
	}
	out := object{"role": part(g.RoleID, g.Role.Name, g.Role.DomainID)}
	made := g.Assignment
	links := object{}
	if g.Origin != nil {
		made = *g.Origin
		if made.GroupID != "" {
			links["membership"] = r.URL("/groups/" + made.GroupID + "/users/" + g.UserID)
		}
	}
	links["assignment"] = r.URL(assignmentPath(made))
	out["links"] = links
	if g.User != nil {
		out["user"] = part(g.UserID, g.User.Name, g.User.DomainID)
	}
	if g.Group != nil {
		out["group"] = part(g.GroupID, g.Group.Name, g.Group.DomainID)
	}
	scope := object{}
	switch {
	case g.ProjectID != "":
		scope["project"] = part(g.ProjectID, g.Project.Name, g.Project.DomainID)
	case g.DomainID != "":
		scope["domain"] = part(g.DomainID, g.Project.Name, "")
	default:
		scope["system"] = object{"all": true}
	}
	if g.Inherited {
		scope["OS-INHERIT:inherited_to"] = "projects"
	}
	out["scope"] = scope
	return out
}

// assignmentPath is where an assignment can be taken back.
func assignmentPath(v identity.Assignment) string {
	actor := "/users/" + v.UserID
	if v.GroupID != "" {
		actor = "/groups/" + v.GroupID
	}
	target := "/system"
	if v.ProjectID != "" {
		target = "/projects/" + v.ProjectID
	}
	if v.DomainID != "" {
		target = "/domains/" + v.DomainID
	}
	if v.Inherited {
		return "/OS-INHERIT" + target + actor + "/roles/" + v.RoleID + "/inherited_to_projects"
	}
	return target + actor + "/roles/" + v.RoleID
}
