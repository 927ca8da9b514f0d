package image

import (
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// UpdateRequest changes an image; nil fields stay as they are.
type UpdateRequest struct {
	Name            *string
	Owner           *string // needs an administrator
	Visibility      *Visibility
	Protected       *bool
	Hidden          *bool
	DiskFormat      *string // only while Queued
	ContainerFormat *string // only while Queued
	MinDiskGiB      *int64
	MinRAMMiB       *int64
	Tags            *[]string          // all of them
	Properties      map[string]*string // sets, and removes where nil
}

// Update changes an image. Invalid names the field; Denied: formats once there is data, reserved names.
func (s *Service) Update(ctx context.Context, id string, req UpdateRequest) (i *Image, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		var c caller
		if i, c, err = s.find(tx, id, "update"); err != nil {
			return err
		}
		if err := req.apply(i, c); err != nil {
			return err
		}
		if err := i.validate(); err != nil {
			return err
		}
		s.emit(tx, "update", i)
		return put(tx, i)
	})
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (r *UpdateRequest) apply(i *Image, c caller) error {
	refuse := func(field, msg string) error {
		return &fault.Error{Code: fault.Denied, Kind: "image", ID: i.ID, Field: field, Msg: msg}
	}
	if r.Visibility != nil && *r.Visibility != i.Visibility {
		if *r.Visibility == Public {
			if err := c.may("publicize", i, false); err != nil {
				return err
			}
		}
		i.Visibility = *r.Visibility
	}
	if r.Owner != nil && *r.Owner != i.Owner {
		if !c.IsAdmin() {
			return refuse("owner", "only an administrator can give an image to another project")
		}
		i.Owner = *r.Owner
	}
	for _, f := range []struct {
		name string
		to   *string
		at   *string
	}{{"disk_format", r.DiskFormat, &i.DiskFormat}, {"container_format", r.ContainerFormat, &i.ContainerFormat}} {
		if f.to == nil || *f.to == *f.at {
			continue
		}
		if i.Status != Queued {
			return refuse(f.name, "can be changed only before the upload; the image is "+string(i.Status))
		}
		*f.at = *f.to
	}
	set(&i.Name, r.Name)
	set(&i.Protected, r.Protected)
	set(&i.Hidden, r.Hidden)
	set(&i.MinDiskGiB, r.MinDiskGiB)
	set(&i.MinRAMMiB, r.MinRAMMiB)
	if r.Tags != nil {
		i.Tags = sorted(*r.Tags)
	}
	for name, value := range r.Properties {
		if value == nil {
			delete(i.Properties, name)
			continue
		}
		if err := i.setProperty(name, *value); err != nil {
			return err
		}
	}
	return nil
}

func set[T any](at *T, to *T) {
	if to != nil {
		*at = *to
	}
}

// AddTag tags an image; having the tag already is success.
func (s *Service) AddTag(ctx context.Context, id, tag string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		i, _, err := s.find(tx, id, "update")
		if err != nil {
			return err
		}
		i.Tags = sorted(append(i.Tags, tag))
		if err := i.validate(); err != nil {
			return err
		}
		s.emit(tx, "update", i)
		return put(tx, i)
	})
}

// RemoveTag takes a tag off an image. NotFound: it does not have it.
func (s *Service) RemoveTag(ctx context.Context, id, tag string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		i, _, err := s.find(tx, id, "update")
		if err != nil {
			return err
		}
		n := slices.Index(i.Tags, tag)
		if n < 0 {
			return fault.Missing("tag", clip(tag))
		}
		i.Tags = slices.Delete(i.Tags, n, n+1)
		s.emit(tx, "update", i)
		return put(tx, i)
	})
}

// Deactivate closes an image for downloads and boots by all but administrators. Denied: it has no data.
func (s *Service) Deactivate(ctx context.Context, id string) error {
	return s.switchTo(ctx, id, Deactivated)
}

// Reactivate opens it again.
func (s *Service) Reactivate(ctx context.Context, id string) error {
	return s.switchTo(ctx, id, Active)
}

func (s *Service) switchTo(ctx context.Context, id string, to Status) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		i, _, err := s.find(tx, id, "deactivate")
		if err != nil {
			return err
		}
		if !i.HasData() {
			return &fault.Error{Code: fault.Denied, Kind: "image", ID: i.ID, Msg: "is " + string(i.Status) + "; only an active or deactivated image can be switched"}
		}
		if i.Status == to {
			return nil
		}
		i.Status = to
		s.emit(tx, "update", i)
		return put(tx, i)
	})
}
