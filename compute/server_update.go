package compute

import (
	"context"
	"maps"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/quota"
	"github.com/nubecula/cloud/store"
)

// UpdateServer changes name, description or host name; the guest learns a new host name when it is
// defined anew.
func (s *Service) UpdateServer(ctx context.Context, id string, req UpdateServer) (*Server, error) {
	var c check
	if req.Name != nil {
		c.text("name", *req.Name, 1, 255)
	}
	if req.Description != nil {
		c.text("description", *req.Description, 0, 255)
	}
	if req.Hostname != nil && !validHostname(*req.Hostname) {
		c.bad("hostname", *req.Hostname, "use 1 to 63 letters, digits and inner '-', for each label between dots")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	v, err := s.changeServer(ctx, "compute:server:update", id, func(tx *store.Tx, v *Server) error {
		if req.Name != nil {
			v.Name = *req.Name
		}
		if req.Description != nil {
			v.Description = *req.Description
		}
		if req.Hostname != nil {
			v.Hostname = *req.Hostname
		}
		if req.DiskConfig != nil {
			v.DiskConfig = *req.DiskConfig
		}
		if req.AccessIPv4 != nil {
			v.AccessIPv4 = *req.AccessIPv4
		}
		if req.AccessIPv6 != nil {
			v.AccessIPv6 = *req.AccessIPv6
		}
		s.emitServer(tx, v, "update")
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.GetServer(ctx, v.ID)
}

// changeServer is the common part of every change to a server's record alone.
func (s *Service) changeServer(ctx context.Context, action, id string, f func(tx *store.Tx, v *Server) error) (v *Server, err error) {
	err = s.update(ctx, func(tx *store.Tx) error {
		if v, err = s.open(tx, action, id); err != nil {
			return err
		}
		if err := f(tx, v); err != nil {
			return err
		}
		return put(tx, v)
	})
	return v, err
}

// GetMetadata returns all items.
func (s *Service) GetMetadata(ctx context.Context, serverID string) (items map[string]string, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		v, err := s.server(tx, "compute:server_metadata:list", serverID)
		if err == nil {
			items = maps.Clone(v.Metadata)
		}
		return err
	})
	if items == nil && err == nil {
		items = map[string]string{}
	}
	return items, err
}

// UpdateMetadata adds and changes items and returns all of them. Quota: there would be too many.
func (s *Service) UpdateMetadata(ctx context.Context, serverID string, items map[string]string) (map[string]string, error) {
	return s.setMetadata(ctx, serverID, items, func(v *Server) map[string]string {
		all := maps.Clone(v.Metadata)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, items)
		return all
	})
}

// ReplaceMetadata sets all items. Quota: they are too many.
func (s *Service) ReplaceMetadata(ctx context.Context, serverID string, items map[string]string) (map[string]string, error) {
	return s.setMetadata(ctx, serverID, items, func(*Server) map[string]string {
		all := map[string]string{}
		maps.Copy(all, items)
		return all
	})
}

func (s *Service) setMetadata(ctx context.Context, serverID string, items map[string]string, make func(v *Server) map[string]string) (map[string]string, error) {
	var c check
	if c.metadata(items); c.err() != nil {
		return nil, c.err()
	}
	v, err := s.changeServer(ctx, "compute:server_metadata:update", serverID, func(tx *store.Tx, v *Server) error {
		v.Metadata = make(v)
		limit, err := s.book.Limit(tx, v.ProjectID, "metadata_items")
		if err == nil && limit != quota.Unlimited && int64(len(v.Metadata)) > limit {
			err = fault.New(fault.Quota, "server %s would have %d metadata items, project %s may have %d on each; delete some or ask for a higher quota",
				v.ID, len(v.Metadata), v.ProjectID, limit)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return v.Metadata, nil
}

// DeleteMetadata removes one item; NotFound when there is none of that key.
func (s *Service) DeleteMetadata(ctx context.Context, serverID, key string) error {
	_, err := s.changeServer(ctx, "compute:server_metadata:delete", serverID, func(_ *store.Tx, v *Server) error {
		if _, ok := v.Metadata[key]; !ok {
			return fault.Missing("metadata item", key)
		}
		delete(v.Metadata, key)
		return nil
	})
	return err
}

// ReplaceTags sets all tags and returns them sorted.
func (s *Service) ReplaceTags(ctx context.Context, serverID string, tags []string) ([]string, error) {
	var c check
	tags = c.tags(tags)
	if err := c.err(); err != nil {
		return nil, err
	}
	_, err := s.changeServer(ctx, "compute:server_tag:update", serverID, func(_ *store.Tx, v *Server) error {
		v.Tags = tags
		return nil
	})
	return tags, err
}

// AddTag adds a tag and reports whether it is new.
func (s *Service) AddTag(ctx context.Context, serverID, tag string) (added bool, err error) {
	_, err = s.changeServer(ctx, "compute:server_tag:update", serverID, func(_ *store.Tx, v *Server) error {
		added = !slices.Contains(v.Tags, tag)
		var c check
		v.Tags = c.tags(append(slices.Clone(v.Tags), tag))
		return c.err()
	})
	return added, err
}

// DeleteTag removes a tag; NotFound when the server does not have it.
func (s *Service) DeleteTag(ctx context.Context, serverID, tag string) error {
	_, err := s.changeServer(ctx, "compute:server_tag:delete", serverID, func(_ *store.Tx, v *Server) error {
		i := slices.Index(v.Tags, tag)
		if i < 0 {
			return fault.Missing("tag", tag)
		}
		v.Tags = slices.Delete(v.Tags, i, i+1)
		return nil
	})
	return err
}

// DeleteTags removes all tags.
func (s *Service) DeleteTags(ctx context.Context, serverID string) error {
	_, err := s.changeServer(ctx, "compute:server_tag:delete", serverID, func(_ *store.Tx, v *Server) error {
		v.Tags = nil
		return nil
	})
	return err
}

// UserData returns what the guest was given, plain; nil for none.
func (s *Service) UserData(ctx context.Context, id string) (data []byte, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		if _, err := s.server(tx, "compute:server:get_host", id); err != nil {
			return err
		}
		seed, err := seeds.Get(tx, id)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err == nil {
			data, err = unseal(tx, seed.UserData)
		}
		return err
	})
	return data, err
}
