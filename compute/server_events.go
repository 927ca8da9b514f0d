package compute

import (
	"encoding/json"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// resource names a server to the engine.
func resource(id string) operation.Resource { return operation.Resource{Kind: "server", ID: id} }

func (s *Service) request(v *Server) engine.Request {
	r := engine.Request{Resource: resource(v.ID), ProjectID: v.ProjectID}
	if s.who != nil {
		r.UserID = s.who.UserID
	}
	return r
}

// notice is what events say of a server: never user data, passwords or keys.
type notice struct {
	Name      string    `json:"display_name"`
	FlavorID  string    `json:"flavor_id"`
	VCPUs     int       `json:"vcpus"`
	MemoryMiB int64     `json:"memory_mb"`
	DiskGiB   int64     `json:"disk_gb"`
	ImageID   string    `json:"image_id,omitempty"`
	State     VMState   `json:"state"`
	Task      TaskState `json:"task_state,omitempty"`
	Host      string    `json:"host,omitempty"`
	Fault     string    `json:"fault,omitempty"`
}

func (v *Server) event(what string) event.Event {
	n := notice{Name: v.Name, FlavorID: v.Flavor.ID, VCPUs: v.Flavor.VCPUs, MemoryMiB: v.Flavor.MemoryMiB, DiskGiB: v.Flavor.DiskGiB,
		ImageID: v.ImageID, State: v.VMState, Task: v.TaskState, Host: v.Host}
	if v.Fault != nil && v.VMState == Error {
		n.Fault = v.Fault.Message
	}
	body, _ := json.Marshal(n) // of strings and numbers: it cannot fail
	return event.Event{Type: "compute.instance." + what, Kind: "server", ID: v.ID, ProjectID: v.ProjectID, Data: body}
}

// emitServer tells of what a caller asked.
func (s *Service) emitServer(tx *store.Tx, v *Server, what string) {
	e := v.event(what)
	e.RequestID = request.ID(tx.Context())
	if s.who != nil {
		e.UserID = s.who.UserID
	}
	tx.Emit(e)
}

// emitFor tells of what an operation did.
func emitFor(tx *store.Tx, op *operation.Operation, v *Server, what string) {
	e := v.event(what)
	e.RequestID, e.UserID, e.OperationID = op.RequestID, op.UserID, op.ID
	tx.Emit(e)
}

// idle is a Conflict while an operation is at work on a server or waits to be.
func idle(tx *store.Tx, id string) error {
	op, err := operation.Active(tx, resource(id))
	if err != nil || op == nil {
		return err
	}
	return (&Server{ID: id}).conflict("operation %s %s is at work on instance %s; wait until it has ended", op.Kind, op.ID, id)
}
