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
}

// Bootstrapped names what Bootstrap made or found.
type Bootstrapped struct {
	DomainID, ProjectID, UserID string
	RoleIDs                     map[string]string // by name
	Created                     bool              // the user admin was made by this call
}

// Bootstrap sees to it that there are the domain Default, the project and user admin, the roles admin,
// manager, member, reader and service, and a region; admin has its role on the project and the system.
// It can be called at every start: what exists stays as it is. It needs no principal.
func (s *Service) Bootstrap(ctx context.Context, o BootstrapOptions) (*Bootstrapped, error) {
	if o.Region == "" {
		o.Region = "RegionOne"
	}
	hash, err := s.hashPassword(ctx, o.AdminPassword)
	if err != nil {
		return nil, err
	}
	s = s.As(System())
	var out *Bootstrapped
	err = s.update(ctx, func(tx *store.Tx) error {
		out = &Bootstrapped{DomainID: DefaultDomainID, RoleIDs: map[string]string{}}
		if there, err := projects.Has(tx, DefaultDomainID); err != nil {
			return err
		} else if !there {
			s.emit(tx, "domain", "created", DefaultDomainID)
			if err := projects.Insert(tx, &Project{ID: DefaultDomainID, IsDomain: true, Name: "Default", Description: "The default domain", Enabled: true}); err != nil {
				return err
			}
		}
		if err := s.bootRoles(tx, out); err != nil {
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
		return s.bootAdmin(tx, out, hash)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) bootRoles(tx *store.Tx, out *Bootstrapped) error {
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
		out.RoleIDs[name] = r.ID
		if name != RoleService {
			implied = []string{r.ID}
		}
	}
	return nil
}

func (s *Service) bootAdmin(tx *store.Tx, out *Bootstrapped, hash string) error {
	p, err := projects.Find(tx, "name", false, DefaultDomainID, "admin")
	if fault.Is(err, fault.NotFound) {
		p = &Project{ID: dashless(tx.NewID()), DomainID: DefaultDomainID, ParentID: DefaultDomainID, Name: "admin", Description: "Project of the cloud's administrators", Enabled: true}
		s.emit(tx, "project", "created", p.ID)
		err = projects.Insert(tx, p)
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
		out.Created = true
		if err := s.setPassword(tx, u.ID, hash); err != nil {
			return err
		}
		err = users.Insert(tx, u)
	}
	if err != nil {
		return err
	}
	out.ProjectID, out.UserID = p.ID, u.ID
	for _, a := range []Assignment{
		{RoleID: out.RoleIDs[RoleAdmin], UserID: u.ID, ProjectID: p.ID},
		{RoleID: out.RoleIDs[RoleAdmin], UserID: u.ID, System: true},
	} {
		if err := s.Assign(tx.Context(), a); err != nil {
			return err
		}
	}
	return nil
}
