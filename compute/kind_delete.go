package compute

import (
	"context"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/store"
)

// deleteState is the state of server.delete.
type deleteState struct {
	ServerID   string `json:"server_id"`
	HostID     string `json:"host_id,omitempty"` // "" when the server was nowhere
	Generation int64  `json:"generation,omitempty"`
	NICs       []NIC  `json:"nics,omitempty"`
	Owed       bool   `json:"owed,omitempty"` // the host is down: guest, ports and claim are a debt
}

// deleteKind removes a server. It cannot fail: what its host does not answer to becomes a debt.
func (c *core) deleteKind() engine.Kind[deleteState] {
	return engine.Kind[deleteState]{
		Name: "server.delete", Version: 1, Preempts: []string{"*"}, Forward: true,
		Steps: []engine.Step[deleteState]{
			{Name: "prepare", Commit: c.prepareDelete},
			{Name: "undefine", Instance: func(s *deleteState) string { return instance(s.HostID) },
				Do: c.undefineDeleted, Debt: c.oweServer},
			{Name: "unbind", Do: c.unplugDeleted, Commit: c.unbindDeleted},
		},
		Finish: c.deleted,
	}
}

// prepareDelete looks where the server is, now that nobody else works on it.
func (c *core) prepareDelete(tx *store.Tx, r *engine.Run[deleteState]) error {
	v, err := servers.Get(tx, r.State.ServerID)
	if err != nil {
		return err
	}
	r.State.HostID, r.State.Generation, r.State.NICs = v.HostID, v.Generation, v.NICs
	return nil
}

func (c *core) undefineDeleted(ctx context.Context, r *engine.Run[deleteState]) error {
	if r.State.HostID == "" {
		return nil
	}
	if err := c.opt.Witness.Allow(); err != nil {
		return err
	}
	driver, err := c.driver(r.State.HostID)
	if err != nil {
		return err
	}
	return driver.Undefine(ctx, computedriver.Ref{ID: r.State.ServerID, Generation: r.State.Generation})
}

func (c *core) oweServer(tx *store.Tx, r *engine.Run[deleteState]) error {
	free, err := c.free(tx, r.State.HostID)
	if err != nil {
		return err
	}
	if free {
		return owe(tx, &debt{ServerID: r.State.ServerID, Generation: r.State.Generation, HostID: r.State.HostID, ProjectID: r.Op.ProjectID, Orphan: true})
	}
	r.State.Owed = true
	return owe(tx, &debt{ServerID: r.State.ServerID, Generation: r.State.Generation, HostID: r.State.HostID,
		ProjectID: r.Op.ProjectID, NICs: r.State.NICs})
}

func (c *core) unplugDeleted(ctx context.Context, r *engine.Run[deleteState]) error {
	if r.State.HostID == "" || r.State.Owed {
		return nil
	}
	return c.unplugAll(ctx, r.State.NICs, r.State.HostID, r.State.Generation)
}

func (c *core) unbindDeleted(tx *store.Tx, r *engine.Run[deleteState]) error {
	if r.State.Owed {
		return nil
	}
	if err := c.dropPorts(tx, r.State.ServerID, r.State.NICs, r.State.Generation); err != nil {
		return err
	}
	return c.release(tx, r.State.ServerID, r.State.Generation)
}

// dropPorts records that a server's ports are unplugged, deletes those that were made for it and gives
// the others back to whoever brought them.
func (c *core) dropPorts(tx *store.Tx, serverID string, nics []NIC, generation int64) error {
	if err := c.unboundAll(tx, nics, generation); err != nil {
		return err
	}
	net := c.opt.Network.As(identity.System())
	for _, n := range nics {
		if !n.Ours {
			if err := net.UnclaimPort(tx.Context(), n.PortID, serverID); err != nil {
				return err
			}
			continue
		}
		if err := net.DeletePort(tx.Context(), n.PortID); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

// deleted removes the records; the server's last state stays as a tombstone.
func (c *core) deleted(tx *store.Tx, r *engine.Run[deleteState]) error {
	v, err := servers.Get(tx, r.State.ServerID)
	if err != nil {
		return err
	}
	if err := c.uncount(tx, v); err != nil {
		return err
	}
	v.VMState, v.TaskState, v.PowerState, v.TerminatedAt = Deleted, NoTask, PowerNone, tx.Now()
	if err := put(tx, v); err != nil {
		return err
	}
	if err := servers.Delete(tx, v.ID); err != nil {
		return err
	}
	if err := seeds.Delete(tx, v.ID); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	emitFor(tx, r.Op, v, "delete.end")
	return nil
}

// debt is a guest that its host must be rid of once it answers again; with it wait the ports of a
// deleted server, whose addresses nobody else may get before. The claim on the host is kept as long.
type debt struct {
	ServerID   string `json:"server_id"`
	Generation int64  `json:"generation"`
	HostID     string `json:"host_id"`
	ProjectID  string `json:"project_id"`
	NICs       []NIC  `json:"nics,omitempty"`
	Orphan     bool   `json:"orphan,omitempty"` // it has no claim: the sweeper found it, or its host was declared gone
}

var debts = store.Define(store.Spec[debt]{
	Kind: "guest-debt", Version: 1,
	ID: func(d *debt) string { return placementID(d.ServerID, d.Generation) },
	Indexes: []store.Index[debt]{
		{Name: "host", Keys: func(d *debt) []store.Tuple { return []store.Tuple{{d.HostID}} }},
	},
})

func owe(tx *store.Tx, d *debt) error { return debts.Put(tx, d) }

// payDebts removes what a host that answers again should be rid of; nothing while the store is held.
func (c *core) payDebts(ctx context.Context, hostID string) error {
	if c.opt.Witness.Held() != nil {
		return nil
	}
	driver, err := c.driver(hostID)
	if err != nil {
		return err
	}
	var due []*debt
	if err := c.store.View(ctx, func(tx *store.Tx) error {
		due, err = debts.List(tx, store.Query[debt]{Index: "host", Prefix: store.Tuple{hostID}})
		return err
	}); err != nil {
		return err
	}
	for _, d := range due {
		err := within(ctx, func() error {
			if err := driver.Undefine(ctx, computedriver.Ref{ID: d.ServerID, Generation: d.Generation}); err != nil {
				return err
			}
			return c.unplugAll(ctx, d.NICs, d.HostID, d.Generation)
		})
		if err != nil {
			return err
		}
		if err := c.store.Update(ctx, func(tx *store.Tx) error { return c.paid(tx, d) }); err != nil {
			return err
		}
		c.log.Info("a guest that was left on a host is removed", "server_id", d.ServerID, "host_id", hostID, "generation", d.Generation)
	}
	return nil
}

func (c *core) paid(tx *store.Tx, d *debt) error {
	has, err := debts.Has(tx, placementID(d.ServerID, d.Generation))
	if err != nil || !has {
		return err
	}
	if d.Orphan { // it may have the generation of a placement that is not over
		return debts.Delete(tx, placementID(d.ServerID, d.Generation))
	}
	if err := c.dropPorts(tx, d.ServerID, d.NICs, d.Generation); err != nil {
		return err
	}
	if err := c.release(tx, d.ServerID, d.Generation); err != nil {
		return err
	}
	return debts.Delete(tx, placementID(d.ServerID, d.Generation))
}
