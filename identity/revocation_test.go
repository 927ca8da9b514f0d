package identity_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

// scene is a user with a role in a project, in the ways that tokens can come to life.
type scene struct {
	*env
	user, project, group, domain string
	token                        string
}

func newScene(t *testing.T) *scene {
	s := &scene{env: newEnv(t, nil)}
	s.domain = must(s.sys.CreateDomain(s.ctx, identity.CreateDomain{Name: "acme"}))(t).ID
	s.project = must(s.sys.CreateProject(s.ctx, identity.CreateProject{Name: "p", DomainID: s.domain}))(t).ID
	s.user = must(s.sys.CreateUser(s.ctx, identity.CreateUser{Name: "u", Password: "u", DomainID: s.domain}))(t).ID
	s.group = must(s.sys.CreateGroup(s.ctx, identity.CreateGroup{Name: "g", DomainID: s.domain}))(t).ID
	return s
}

func (s *scene) member() identity.Assignment {
	return identity.Assignment{RoleID: s.role("member"), UserID: s.user, ProjectID: s.project}
}

// TestRevocation: each change ends the token at once, and undoing the change does not bring it back.
func TestRevocation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		prepare      func(s *scene) // gives the role; nil means directly
		change, undo func(s *scene) error
	}{
		{name: "token deleted",
			change: func(s *scene) error { return s.sys.Revoke(s.ctx, s.token) }},
		{name: "password set",
			change: func(s *scene) error {
				_, err := s.sys.UpdateUser(s.ctx, s.user, identity.UpdateUser{Password: ptr("new")})
				return err
			},
			undo: func(s *scene) error {
				_, err := s.sys.UpdateUser(s.ctx, s.user, identity.UpdateUser{Password: ptr("u")})
				return err
			}},
		{name: "password changed by the user",
			change: func(s *scene) error { return s.svc.ChangePassword(s.ctx, s.user, "u", "new") },
			undo:   func(s *scene) error { return s.svc.ChangePassword(s.ctx, s.user, "new", "u") }},
		{name: "user disabled",
			change: func(s *scene) error {
				_, err := s.sys.UpdateUser(s.ctx, s.user, identity.UpdateUser{Enabled: ptr(false)})
				return err
			},
			undo: func(s *scene) error {
				_, err := s.sys.UpdateUser(s.ctx, s.user, identity.UpdateUser{Enabled: ptr(true)})
				return err
			}},
		{name: "user deleted",
			change: func(s *scene) error { return s.sys.DeleteUser(s.ctx, s.user) }},
		{name: "project disabled",
			change: func(s *scene) error {
				_, err := s.sys.UpdateProject(s.ctx, s.project, identity.UpdateProject{Enabled: ptr(false)})
				return err
			},
			undo: func(s *scene) error {
				_, err := s.sys.UpdateProject(s.ctx, s.project, identity.UpdateProject{Enabled: ptr(true)})
				return err
			}},
		{name: "project deleted",
			change: func(s *scene) error { return s.sys.DeleteProject(s.ctx, s.project) }},
		{name: "domain disabled",
			change: func(s *scene) error {
				_, err := s.sys.UpdateDomain(s.ctx, s.domain, identity.UpdateProject{Enabled: ptr(false)})
				return err
			},
			undo: func(s *scene) error {
				_, err := s.sys.UpdateDomain(s.ctx, s.domain, identity.UpdateProject{Enabled: ptr(true)})
				return err
			}},
		{name: "domain deleted",
			change: func(s *scene) error {
				if _, err := s.sys.UpdateDomain(s.ctx, s.domain, identity.UpdateProject{Enabled: ptr(false)}); err != nil {
					return err
				}
				return s.sys.DeleteDomain(s.ctx, s.domain)
			}},
		{name: "role removed",
			change: func(s *scene) error { return s.sys.Ungrant(s.ctx, s.member()) },
			undo:   func(s *scene) error { return s.sys.Grant(s.ctx, s.member()) }},
		{name: "role deleted",
			prepare: func(s *scene) {
				r := must(s.sys.CreateRole(s.ctx, identity.CreateRole{Name: "painter"}))(s.t)
				s.grant(identity.Assignment{RoleID: r.ID, UserID: s.user, ProjectID: s.project})
			},
			change: func(s *scene) error { return s.sys.DeleteRole(s.ctx, s.role("painter")) },
			undo:   func(s *scene) error { return s.sys.Grant(s.ctx, s.member()) }},
		{name: "left the group",
			prepare: func(s *scene) {
				require.NoError(s.t, s.sys.AddToGroup(s.ctx, s.group, s.user))
				s.grant(identity.Assignment{RoleID: s.role("member"), GroupID: s.group, ProjectID: s.project})
			},
			change: func(s *scene) error { return s.sys.RemoveFromGroup(s.ctx, s.group, s.user) },
			undo:   func(s *scene) error { return s.sys.AddToGroup(s.ctx, s.group, s.user) }},
		{name: "group lost its role",
			prepare: func(s *scene) {
				require.NoError(s.t, s.sys.AddToGroup(s.ctx, s.group, s.user))
				s.grant(identity.Assignment{RoleID: s.role("member"), GroupID: s.group, ProjectID: s.project})
			},
			change: func(s *scene) error {
				return s.sys.Ungrant(s.ctx, identity.Assignment{RoleID: s.role("member"), GroupID: s.group, ProjectID: s.project})
			},
			undo: func(s *scene) error { return s.sys.Grant(s.ctx, s.member()) }},
		{name: "group deleted",
			prepare: func(s *scene) {
				require.NoError(s.t, s.sys.AddToGroup(s.ctx, s.group, s.user))
				s.grant(identity.Assignment{RoleID: s.role("member"), GroupID: s.group, ProjectID: s.project})
			},
			change: func(s *scene) error { return s.sys.DeleteGroup(s.ctx, s.group) },
			undo:   func(s *scene) error { return s.sys.Grant(s.ctx, s.member()) }},
		{name: "inherited role removed",
			prepare: func(s *scene) {
				s.grant(identity.Assignment{RoleID: s.role("member"), UserID: s.user, DomainID: s.domain, Inherited: true})
			},
			change: func(s *scene) error {
				return s.sys.Ungrant(s.ctx, identity.Assignment{RoleID: s.role("member"), UserID: s.user, DomainID: s.domain, Inherited: true})
			},
			undo: func(s *scene) error { return s.sys.Grant(s.ctx, s.member()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			if c.prepare == nil {
				s.grant(s.member())
			} else {
				c.prepare(s)
			}
			s.token = s.login(login(s.user, "u", inProject(s.project)))
			who := s.valid(s.token)
			require.NoError(t, c.change(s))
			s.invalid(s.token)
			require.NoError(t, s.store.View(s.ctx, func(tx *store.Tx) error {
				require.Error(t, s.svc.Authorize(tx, who, "identity:catalog:get", identity.Target{}), "a principal validated before must not pass")
				return nil
			}))
			_, _, err := s.svc.Authenticate(s.ctx, identity.AuthRequest{Token: s.token})
			require.Error(t, err)
			if c.undo == nil {
				return
			}
			require.NoError(t, c.undo(s))
			s.invalid(s.token)
			s.login(login(s.user, "u", inProject(s.project)))
		})
	}
}

func TestARoleLessIsSeenAtOnceAndTheTokenLives(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.grant(s.member())
	s.grant(identity.Assignment{RoleID: s.role("admin"), UserID: s.user, ProjectID: s.project})
	token := s.login(login(s.user, "u", inProject(s.project)))
	before := s.valid(token)
	require.True(t, before.IsAdmin())
	require.NoError(t, s.sys.Ungrant(s.ctx, identity.Assignment{RoleID: s.role("admin"), UserID: s.user, ProjectID: s.project}))
	require.Equal(t, []string{"member", "reader"}, s.valid(token).Roles)

	_, err := s.svc.As(before).ListUsers(s.ctx, identity.ListUsers{})
	require.ErrorContains(t, err, "identity:user:list", "the old principal must not act as admin")
	// In one transaction with the removal, too.
	s.grant(identity.Assignment{RoleID: s.role("admin"), UserID: s.user, ProjectID: s.project})
	before = s.valid(token)
	err = s.store.Update(s.ctx, func(tx *store.Tx) error {
		if err := s.sys.Ungrant(tx.Context(), identity.Assignment{RoleID: s.role("admin"), UserID: s.user, ProjectID: s.project}); err != nil {
			return err
		}
		_, err := s.svc.As(before).CreateProject(tx.Context(), identity.CreateProject{Name: "mine"})
		return err
	})
	require.ErrorContains(t, err, "identity:project:create")
	require.True(t, s.valid(token).IsAdmin(), "the transaction was rolled back, its removal with it")
}

func TestRevokeLeavesTheRestOfTheChain(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.grant(s.member())
	first := s.login(login(s.user, "u", nil))
	require.Empty(t, s.valid(first).ProjectID)
	second := s.login(identity.AuthRequest{Token: first, Scope: inProject(s.project)})
	third := s.login(identity.AuthRequest{Token: second})
	a, b, c := s.valid(first), s.valid(second), s.valid(third)
	require.Len(t, a.AuditIDs, 1)
	require.Equal(t, a.AuditIDs[0], b.AuditIDs[1])
	require.Equal(t, a.AuditIDs[0], c.AuditIDs[1])
	require.Equal(t, a.ExpiresAt, c.ExpiresAt)
	require.Equal(t, []string{"password", "token"}, c.Methods)
	require.NoError(t, s.svc.As(a).Revoke(s.ctx, first))
	s.invalid(first)
	s.valid(second)
	s.valid(third)
	code2 := s.svc.As(b).Revoke(s.ctx, first)
	require.Error(t, code2)
}

// TestRandomRevocations replays random changes against a model that knows only this: a token dies with
// the first change that touches it, and never comes back.
func TestRandomRevocations(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			randomRevocations(t, newEnv(t, nil), rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func randomRevocations(t *testing.T, e *env, r *rand.Rand) {
	type live struct {
		token         string
		user, project int
		dead          string
	}
	var users, projects []string
	for i := range 3 {
		users, projects = append(users, e.user(fmt.Sprint("u", i))), append(projects, e.project(fmt.Sprint("p", i)))
	}
	roles := []string{e.role("member"), e.role("reader")}
	given := map[[3]int]bool{}
	var tokens []*live
	kill := func(why string, hit func(*live) bool) {
		for _, l := range tokens {
			if l.dead == "" && hit(l) {
				l.dead = why
			}
		}
	}
	for step := range 120 {
		u, p, k := r.IntN(3), r.IntN(3), r.IntN(2)
		a := identity.Assignment{RoleID: roles[k], UserID: users[u], ProjectID: projects[p]}
		why := fmt.Sprintf("step %d", step)
		switch r.IntN(8) {
		case 0, 1:
			e.grant(a)
			given[[3]int{u, p, k}] = true
		case 2:
			if given[[3]int{u, p, k}] {
				require.NoError(t, e.sys.Ungrant(e.ctx, a))
				delete(given, [3]int{u, p, k})
				if !given[[3]int{u, p, 1 - k}] {
					kill(why+": last role", func(l *live) bool { return l.user == u && l.project == p })
				}
			}
		case 3:
			require.NoError(t, e.svc.ChangePassword(e.ctx, users[u], fmt.Sprint("u", u), fmt.Sprint("u", u)))
			kill(why+": password", func(l *live) bool { return l.user == u })
		case 4:
			for _, on := range []bool{false, true} {
				_, err := e.sys.UpdateProject(e.ctx, projects[p], identity.UpdateProject{Enabled: &on})
				require.NoError(t, err)
			}
			kill(why+": project", func(l *live) bool { return l.project == p })
		case 5:
			if len(tokens) > 0 {
				if l := tokens[r.IntN(len(tokens))]; l.dead == "" {
					require.NoError(t, e.sys.Revoke(e.ctx, l.token))
					l.dead = why + ": deleted"
				}
			}
		default:
			if given[[3]int{u, p, 0}] || given[[3]int{u, p, 1}] {
				tokens = append(tokens, &live{token: e.login(login(users[u], fmt.Sprint("u", u), inProject(projects[p]))), user: u, project: p})
			}
		}
		for _, l := range tokens {
			_, err := e.svc.Validate(e.ctx, l.token)
			require.Equal(t, l.dead == "", err == nil, "step %d, dead since %q: %v", step, l.dead, err)
		}
	}
	require.NotEmpty(t, tokens)
}
