package compute

import (
	"bytes"
	"context"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// StartServer powers a stopped server on. Conflict: its state forbids it, another operation is at
// work on it, or its host does not answer.
func (s *Service) StartServer(ctx context.Context, id string) error {
	return s.power(ctx, "compute:server:start", id, doStart, PoweringOn, s.ops.start)
}

// StopServer shuts a server down, and cuts its power when it does not obey. Codes as StartServer.
func (s *Service) StopServer(ctx context.Context, id string) error {
	return s.power(ctx, "compute:server:stop", id, doStop, PoweringOff, s.ops.stop)
}

// RebootServer restarts a server: Soft asks its system, Hard cuts the power, and may overtake a soft
// one under way. Codes as StartServer.
func (s *Service) RebootServer(ctx context.Context, id string, how Reboot) error {
	switch how {
	case Soft:
		return s.power(ctx, "compute:server:reboot", id, doReboot, Rebooting, s.ops.reboot)
	case Hard:
		return s.power(ctx, "compute:server:reboot", id, doHardReboot, RebootingHard, s.ops.rebootHard)
	}
	return fault.InvalidField("type", how, "use SOFT or HARD")
}

// power submits one of the operations on a server that has a host.
func (s *Service) power(ctx context.Context, action, id string, v verb, task TaskState, kind submitter) error {
	return s.update(ctx, func(tx *store.Tx) error {
		srv, err := s.open(tx, action, id)
		if err != nil {
			return err
		}
		if err := srv.allow(v); err != nil {
			return err
		}
		if err := s.reachable(tx, srv); err != nil {
			return err
		}
		srv.Turn += turns
		if _, err := kind.Submit(tx, s.request(srv), powerState{ServerID: id, HostID: srv.HostID, Generation: srv.Generation, Turn: srv.Turn, Task: task}); err != nil {
			return err
		}
		srv.TaskState = task
		s.emitServer(tx, srv, string(task)+".start")
		return put(tx, srv)
	})
}

// open reads a server for an action that a lock forbids.
func (s *Service) open(tx *store.Tx, action, id string) (*Server, error) {
	v, err := s.server(tx, action, id)
	if err == nil && v.Locked && !s.admin() {
		err = v.conflict("instance %s is locked; unlock it first", id)
	}
	return v, err
}

// reachable is refused while the server has no host or that host does not answer.
func (s *Service) reachable(tx *store.Tx, v *Server) error {
	if v.HostID == "" {
		return v.conflict("instance %s has no host; delete it", v.ID)
	}
	h, err := hosts.Get(tx, v.HostID)
	if err != nil {
		return err
	}
	if !s.up(h, tx.LeaseNow()) {
		return v.conflict("its host %s does not answer since %s; try again once it does", h.Name, h.SeenAt.Format("2006-01-02T15:04:05Z"))
	}
	return nil
}

// put writes a server that has changed.
func put(tx *store.Tx, v *Server) error {
	v.UpdatedAt = tx.Now()
	return servers.Put(tx, v)
}

// LockServer keeps everybody but administrators from changing a server. reason may be empty.
func (s *Service) LockServer(ctx context.Context, id, reason string) error {
	var v check
	if v.text("locked_reason", reason, 0, 255); v.err() != nil {
		return v.err()
	}
	return s.update(ctx, func(tx *store.Tx) error {
		srv, err := s.server(tx, "compute:server:lock", id)
		if err != nil {
			return err
		}
		srv.Locked, srv.LockedReason, srv.LockedBy = true, reason, "admin"
		if s.project() == srv.ProjectID {
			srv.LockedBy = "owner"
		}
		return put(tx, srv)
	})
}

// UnlockServer ends a lock. Conflict: an administrator has set it, and the caller is none.
func (s *Service) UnlockServer(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *store.Tx) error {
		srv, err := s.server(tx, "compute:server:unlock", id)
		if err != nil {
			return err
		}
		if srv.Locked && srv.LockedBy == "admin" && !s.admin() {
			return &fault.Error{Code: fault.Denied, Op: "compute:server:unlock", Kind: "server", ID: id, Msg: "an administrator has locked it"}
		}
		srv.Locked, srv.LockedReason, srv.LockedBy = false, "", ""
		return put(tx, srv)
	})
}

// ResetState says that a server is Active or Error, whatever it is. Nothing is ever stuck here, so it
// is for clients that expect it. Conflict: an operation is at work on the server, or it has no host to be active on.
func (s *Service) ResetState(ctx context.Context, id string, to VMState) error {
	if to != Active && to != Error {
		return fault.InvalidField("state", to, "use active or error")
	}
	return s.update(ctx, func(tx *store.Tx) error {
		srv, err := s.server(tx, "compute:server:reset_state", id)
		if err != nil {
			return err
		}
		if err := idle(tx, id); err != nil {
			return err
		}
		if to == Active && srv.HostID == "" {
			return srv.conflict("instance %s has no host to be active on; delete it", id)
		}
		srv.VMState, srv.TaskState, srv.Lost = to, NoTask, false
		if to == Active {
			srv.Fault = nil
		}
		return put(tx, srv)
	})
}

// consoleMax is how much of a console log is read: enough for what anybody scrolls through.
const consoleMax = 256 << 10

// ConsoleOutput returns the last lines of the serial console; lines below 0 means all that is kept.
// Conflict: the server has no host yet. Unsupported: the hypervisor keeps no log. It calls the driver,
// so it must not be used in a transaction.
func (s *Service) ConsoleOutput(ctx context.Context, id string, lines int) ([]byte, error) {
	var srv *Server
	if err := s.view(ctx, func(tx *store.Tx) (err error) {
		srv, err = s.server(tx, "compute:server:console_output", id)
		return err
	}); err != nil {
		return nil, err
	}
	if srv.HostID == "" {
		return nil, srv.conflict("instance %s is not ready: it has no host yet", id)
	}
	driver, err := s.driver(srv.HostID)
	if err != nil {
		return nil, err
	}
	c, ok := computedriver.As[computedriver.Consoler](driver)
	if !ok {
		return nil, fault.New(fault.Unsupported, "its hypervisor keeps no console log").About("server", id)
	}
	out, err := c.ConsoleOutput(ctx, computedriver.Ref{ID: id, Generation: srv.Generation}, consoleMax)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Stale) {
		return nil, srv.conflict("instance %s is not ready: its guest is not defined", id)
	}
	if err != nil || lines < 0 {
		return out, err
	}
	return tail(out, lines), nil
}

// tail returns the last n lines.
func tail(b []byte, n int) []byte {
	if n == 0 {
		return nil
	}
	at := len(b)
	if at > 0 && b[at-1] == '\n' {
		at--
	}
	for ; n > 0 && at >= 0; n-- {
		at = bytes.LastIndexByte(b[:at], '\n')
	}
	return b[at+1:]
}
