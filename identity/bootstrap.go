package identity

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// BootstrapOptions say what a new cloud begins with.
type BootstrapOptions struct {
	// AdminPassword of the user admin; needed while there is none. Later it changes nothing: a
	// password that was changed since stays changed.
	AdminPassword string
	// Region of the cloud. "" means RegionOne.
	Region string
	// Reset is the way back in for who has locked himself out: admin gets AdminPassword, which is needed then, whatever he has, and
	// loses all his tokens and what his options ask for besides a password; user, project and domain are enabled.
	Reset bool
}

// Bootstrap sees to it that there are the domain Default, the project and user admin, the roles admin,
// manager, member, reader and service, and a region; admin has its role on the project and the system.
// It can be called at every start: what exists stays as it is. It needs no principal.
func (s *Service) Bootstrap(ctx context.Context, o BootstrapOptions) error {
	if o.Region == "" {
		o.Region = "RegionOne"
	}
	if o.Reset && o.AdminPassword == "" {
		return fault.InvalidField("AdminPassword", "", "give the password that admin gets")
	}
	hash, err := s.hashPassword(ctx, o.AdminPassword)
	if err != nil {
		return err
	}
	s = s.As(System())
	return s.update(ctx, func(tx *store.Tx) error {
		roleIDs := map[string]string{}
		d, err := projects.Get(tx, DefaultDomainID)
		if fault.Is(err, fault.NotFound) {
			s.emit(tx, "domain", "created", DefaultDomainID)
			d = &Project{ID: DefaultDomainID, IsDomain: true, Name: "Default", Description: "The default domain", Enabled: true}
			err = projects.Insert(tx, d)
		}
		if err == nil && o.Reset {
			err = s.enable(tx, "domain", d)
		}
		if err != nil {
			return err
		}
		if err := s.bootRoles(tx, roleIDs); err != nil {
			return err
		}
		if there, err := regions.Has(tx, o.Region); err != nil {
			return err
		} else if !there {
			s.emit(tx, "region", "created", o.Region)
			if err := regions.Insert(tx, &Region{ID: o.Region}); err != nil {
				return err
			}
		}
		return s.bootAdmin(tx, roleIDs, hash, o.Reset)
	})
}

// enable enables a project or domain, immutable or not.
func (s *Service) enable(tx *store.Tx, kind string, v *Project) error {
	if v.Enabled {
		return nil
	}
	v.Enabled = true
	s.emit(tx, kind, "updated", v.ID)
	return projects.Put(tx, v)
}

// resetAdmin lets a user in with a password, and nobody with what he had before.
func (s *Service) resetAdmin(tx *store.Tx, u *User, hash string) (err error) {
	if err := s.setPassword(tx, u.ID, hash); err != nil {
		return err
	}
	u.Enabled = true
	u.Options = u.Options.merge(Extra{"lock_password": []byte("null"), "multi_factor_auth_enabled": []byte("null")})
	if u.Epoch, err = s.nextEpoch(tx); err != nil {
		return err
	}
	s.emit(tx, "user", "updated", u.ID)
	return users.Put(tx, u)
}

func (s *Service) bootRoles(tx *store.Tx, roleIDs map[string]string) error {
	var implied []string
	for _, name := range []string{RoleService, RoleReader, RoleMember, RoleManager, RoleAdmin} {
		r, err := roles.Find(tx, "name", "", name)
		if fault.Is(err, fault.NotFound) {
			r = &Role{ID: dashless(tx.NewID()), Name: name, Options: Extra{"immutable": []byte("true")}, Implies: implied}
			s.emit(tx, "role", "created", r.ID)
			err = roles.Insert(tx, r)
		}
		if err != nil {
			return err
		}
		roleIDs[name] = r.ID
		if name != RoleService {
			implied = []string{r.ID}
		}
	}
	return nil
}

func (s *Service) bootAdmin(tx *store.Tx, roleIDs map[string]string, hash string, reset bool) error {
	p, err := projects.Find(tx, "name", false, DefaultDomainID, "admin")
	if fault.Is(err, fault.NotFound) {
		p = &Project{ID: dashless(tx.NewID()), DomainID: DefaultDomainID, ParentID: DefaultDomainID, Name: "admin", Description: "Project of the cloud's administrators", Enabled: true}
		s.emit(tx, "project", "created", p.ID)
		err = projects.Insert(tx, p)
	}
	if err == nil && reset {
		err = s.enable(tx, "project", p)
	}
	if err != nil {
		return err
	}
	u, err := users.Find(tx, "name", DefaultDomainID, "admin")
	if fault.Is(err, fault.NotFound) {
		if hash == "" {
			return fault.InvalidField("AdminPassword", "", "there is no user admin yet; give the password to make it with")
		}
		u = &User{ID: dashless(tx.NewID()), DomainID: DefaultDomainID, Name: "admin", Enabled: true, CreatedAt: tx.Now()}
		s.emit(tx, "user", "created", u.ID)
		if err := s.setPassword(tx, u.ID, hash); err != nil {
			return err
		}
		err = users.Insert(tx, u)
	} else if err == nil && reset {
		err = s.resetAdmin(tx, u, hash)
	}
	if err != nil {
		return err
	}
	for _, a := range []Assignment{
		{RoleID: roleIDs[RoleAdmin], UserID: u.ID, ProjectID: p.ID},
		{RoleID: roleIDs[RoleAdmin], UserID: u.ID, System: true},
	} {
		if err := s.Grant(tx.Context(), a); err != nil {
			return err
		}
	}
	return nil
}
