package compute

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// ListActions returns what was done to a server, newest first, also to one that is no more; as far back
// as operations are kept.
func (s *Service) ListActions(ctx context.Context, serverID string) (out []*Action, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		out, err = s.actions(tx, "compute:server_action:list", serverID)
		return err
	})
	return out, err
}

// GetAction returns one action by the id of the request that asked for it.
func (s *Service) GetAction(ctx context.Context, serverID, requestID string) (a *Action, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		all, err := s.actions(tx, "compute:server_action:get", serverID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(a *Action) bool { return a.RequestID == requestID })
		if i < 0 {
			return fault.New(fault.NotFound, "action %s could not be found", requestID).About("server", serverID)
		}
		a = all[i]
		return nil
	})
	return a, err
}

func (s *Service) actions(tx *store.Tx, action, serverID string) ([]*Action, error) {
	v, err := servers.Get(tx, serverID)
	if fault.Is(err, fault.NotFound) {
		d, err := servers.GetDeleted(tx, serverID)
		if fault.Is(err, fault.NotFound) {
			return nil, fault.Missing("server", serverID)
		}
		if err != nil {
			return nil, err
		}
		v = d.Doc
	} else if err != nil {
		return nil, err
	}
	if err := s.check(tx, action, v.target()); err != nil {
		return nil, err
	}
	ops, err := operation.Of(tx, resource(serverID))
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	out := make([]*Action, 0, len(ops))
	for _, op := range ops {
		a := actionOf(op)
		host, err := hostOf(tx, op, names)
		if err != nil {
			return nil, err
		}
		for i := range a.Events {
			a.Events[i].HostID, a.Events[i].Host = host, names[host]
		}
		out = append(out, a)
	}
	return out, nil
}

// hostOf is where an operation worked last, as its state says.
func hostOf(tx *store.Tx, op *operation.Operation, names map[string]string) (string, error) {
	var at struct {
		HostID string `json:"host_id"`
	}
	if err := json.Unmarshal(op.Data, &at); err != nil || at.HostID == "" {
		return "", nil
	}
	if _, known := names[at.HostID]; !known {
		h, err := hosts.Get(tx, at.HostID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return "", err
		}
		if err == nil {
			names[at.HostID] = h.Name
		}
	}
	return at.HostID, nil
}

// actionOf is an operation as Nova shows it: each step that was tried is an event.
func actionOf(op *operation.Operation) *Action {
	name := strings.TrimPrefix(op.Kind, "server.")
	if name == "reboot-hard" {
		name = "reboot"
	}
	a := &Action{Name: name, ServerID: op.Resource.ID, ProjectID: op.ProjectID, UserID: op.UserID, RequestID: op.RequestID,
		StartedAt: op.CreatedAt, UpdatedAt: op.UpdatedAt}
	if op.State == operation.Failed || op.State == operation.Undoing {
		a.Message = "Error"
	}
	began := op.CreatedAt
	at := map[string]int{}
	for _, l := range op.Log {
		if l.Step == "" {
			continue
		}
		i, known := at[l.Step]
		if !known {
			i = len(a.Events)
			at[l.Step] = i
			a.Events = append(a.Events, ActionEvent{Name: "compute_" + strings.ReplaceAll(name, "-", "_") + "_" + l.Step, StartedAt: began})
		}
		e := &a.Events[i]
		switch {
		case l.What == "done":
			e.Result, e.FinishedAt, e.Details = "Success", l.At, ""
		case strings.HasPrefix(l.What, "failed: "), strings.HasPrefix(l.What, "retry: "):
			e.Result, e.FinishedAt = "Error", l.At
			_, e.Details, _ = strings.Cut(l.What, ": ")
		}
		began = l.At
	}
	if step := op.Step(); !op.State.Ended() && step != "" {
		if _, known := at[step]; !known {
			a.Events = append(a.Events, ActionEvent{Name: "compute_" + strings.ReplaceAll(name, "-", "_") + "_" + step, StartedAt: began})
		}
	}
	slices.Reverse(a.Events)
	return a
}
