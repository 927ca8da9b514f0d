package image

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/store"
)

// CreateRequest describes a new image. The zero value is fine.
type CreateRequest struct {
	ID              string // a UUID; "" makes one
	Name            string
	Owner           string     // a project; "" is the caller's. Another needs an administrator
	Visibility      Visibility // "" is Shared
	Protected       bool
	Hidden          bool
	DiskFormat      string // one of DiskFormats; needed before an upload
	ContainerFormat string // one of ContainerFormats; needed before an upload
	MinDiskGiB      int64
	MinRAMMiB       int64
	Tags            []string
	Properties      map[string]string
}

// Create makes an image without data. Invalid names the field; Exists: the id is taken; Denied: also for a
// reserved name among the properties.
func (s *Service) Create(ctx context.Context, req CreateRequest) (i *Image, err error) {
	if req.ID != "" && (!id.IsUUID(req.ID) || len(req.ID) != 36) {
		return nil, fault.InvalidField("id", req.ID, "it must be a UUID; leave it out to have one made")
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		c, err := s.caller(tx)
		if err != nil {
			return err
		}
		i = &Image{
			ID: req.ID, Name: req.Name, Owner: req.Owner, Status: Queued, Visibility: req.Visibility, Protected: req.Protected, Hidden: req.Hidden,
			DiskFormat: req.DiskFormat, ContainerFormat: req.ContainerFormat, MinDiskGiB: req.MinDiskGiB, MinRAMMiB: req.MinRAMMiB,
			Tags: sorted(req.Tags), CreatedAt: tx.Now(), UpdatedAt: tx.Now(),
		}
		if i.ID == "" {
			i.ID = tx.NewID()
		}
		if i.Owner == "" {
			i.Owner = c.ProjectID
		}
		if i.Visibility == "" {
			i.Visibility = Shared
		}
		target := identity.Target{Kind: "image", ProjectID: i.Owner}
		if err := c.policy.Check(c.Principal, "image:image:create", target); err != nil {
			return err
		}
		for name, value := range req.Properties {
			if err := i.setProperty(name, value); err != nil {
				return err
			}
		}
		if i.Visibility == Public {
			if err := c.policy.Check(c.Principal, "image:image:publicize", target); err != nil {
				return err
			}
		}
		if err := i.validate(); err != nil {
			return err
		}
		if err := images.Insert(tx, i); err != nil {
			return err
		}
		s.emit(tx, "create", i)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return i, nil
}
