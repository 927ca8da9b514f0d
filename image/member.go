package image

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

// findMember returns an image that the caller may see, for an action on its members.
func (s *Service) findMember(tx *store.Tx, imageID, action string) (*Image, caller, error) {
	i, c, err := s.find(tx, imageID, "get")
	if err != nil {
		return nil, c, err
	}
	t := identity.Target{Kind: "image", ID: i.ID, ProjectID: i.Owner, Shared: true}
	if err := c.policy.Check(c.Principal, "image:member:"+action, t); err != nil {
		return nil, c, err
	}
	if i.Visibility != Shared {
		return nil, c, &fault.Error{Code: fault.Denied, Kind: "image", ID: imageID, Msg: "is " + string(i.Visibility) + "; only shared images have members"}
	}
	return i, c, nil
}

// AddMember shares an image with a project. Exists: it is shared with it already.
func (s *Service) AddMember(ctx context.Context, imageID, projectID string) (m *Member, err error) {
	if err := text("member", projectID, 1, maxName); err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		i, _, err := s.findMember(tx, imageID, "create")
		if err != nil {
			return err
		}
		list, err := members.List(tx, store.Query[Member]{Index: "image", Prefix: store.Tuple{imageID}})
		if err != nil {
			return err
		}
		if len(list) >= maxMembers {
			return &fault.Error{Code: fault.TooLarge, Kind: "image", ID: imageID, Field: "member", Msg: "an image has at most 128 members"}
		}
		m = &Member{ImageID: imageID, ProjectID: projectID, Status: Pending, CreatedAt: tx.Now(), UpdatedAt: tx.Now()}
		s.emit(tx, "member.create", i)
		return members.Insert(tx, m)
	})
	return m, err
}

// member returns one member that the caller may see: its own project, or any if the image is his.
func (s *Service) member(tx *store.Tx, c caller, i *Image, projectID string) (*Member, error) {
	if !c.IsAdmin() && c.ProjectID != i.Owner && c.ProjectID != projectID {
		return nil, fault.Missing("member", projectID)
	}
	m, err := members.Get(tx, memberID(i.ID, projectID))
	if fault.Is(err, fault.NotFound) {
		return nil, fault.Missing("member", projectID)
	}
	return m, err
}

// GetMember returns a member of an image.
func (s *Service) GetMember(ctx context.Context, imageID, projectID string) (m *Member, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		i, c, err := s.findMember(tx, imageID, "get")
		if err != nil {
			return err
		}
		m, err = s.member(tx, c, i, projectID)
		return err
	})
	return m, err
}

// ListMembers returns the members of an image, oldest first; to a member, only itself.
func (s *Service) ListMembers(ctx context.Context, imageID string) (list []*Member, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		i, c, err := s.findMember(tx, imageID, "list")
		if err != nil {
			return err
		}
		list, err = members.List(tx, store.Query[Member]{Index: "image", Prefix: store.Tuple{imageID}, Filter: func(m *Member) bool {
			return c.IsAdmin() || c.ProjectID == i.Owner || c.ProjectID == m.ProjectID
		}})
		return err
	})
	return list, err
}

// SetMemberStatus is how a member accepts or rejects an image. Denied: to others than that project.
func (s *Service) SetMemberStatus(ctx context.Context, imageID, projectID string, status MemberStatus) (m *Member, err error) {
	if status != Pending && status != Accepted && status != Rejected {
		return nil, fault.InvalidField("status", string(status), "it must be accepted, rejected or pending")
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		i, c, err := s.findMember(tx, imageID, "get")
		if err != nil {
			return err
		}
		if m, err = s.member(tx, c, i, projectID); err != nil {
			return err
		}
		t := identity.Target{Kind: "member", ID: projectID, ProjectID: projectID, Shared: true}
		if err := c.policy.Check(c.Principal, "image:member:update", t); err != nil {
			return err
		}
		m.Status, m.UpdatedAt = status, tx.Now()
		s.emit(tx, "member.update", i)
		return members.Put(tx, m)
	})
	return m, err
}

// RemoveMember ends the sharing of an image with a project.
func (s *Service) RemoveMember(ctx context.Context, imageID, projectID string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		i, c, err := s.findMember(tx, imageID, "delete")
		if err != nil {
			return err
		}
		if _, err := s.member(tx, c, i, projectID); err != nil {
			return err
		}
		s.emit(tx, "member.delete", i)
		return members.Delete(tx, memberID(imageID, projectID))
	})
}
