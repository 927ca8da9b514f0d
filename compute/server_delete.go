package compute

import (
	"context"

	"github.com/nubecula/cloud/store"
)

// DeleteServer accepts the deletion of a server in any state; an operation under way on it is
// cancelled first. Its quota is free at once, its addresses and its share of the host once nothing is
// left of it there. A server that is being deleted already is a success.
func (s *Service) DeleteServer(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *store.Tx) error {
		v, err := s.open(tx, "compute:server:delete", id)
		if err != nil {
			return err
		}
		if v.TaskState == Deleting {
			return nil
		}
		if _, err := s.ops.delete.Submit(tx, s.request(v), deleteState{ServerID: id}); err != nil {
			return err
		}
		if err := s.uncount(tx, v); err != nil {
			return err
		}
		v.TaskState = Deleting
		s.emitServer(tx, v, "delete.start")
		return put(tx, v)
	})
}

// uncount takes a server off its project's quota.
func (c *core) uncount(tx *store.Tx, v *Server) error {
	if !v.Counted {
		return nil
	}
	v.Counted = false
	return c.book.Release(tx, v.ProjectID, v.Flavor.counts(1))
}

// counts is what n servers of the flavor take of a quota.
func (f *Flavor) counts(n int) map[string]int64 {
	k := int64(n)
	return map[string]int64{"instances": k, "cores": k * int64(f.VCPUs), "ram": k * f.MemoryMiB}
}
