package compute

import (
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// operations are the handles of the kinds that this package registers.
type operations struct {
	create                          *engine.Handle[createState]
	delete                          *engine.Handle[deleteState]
	start, stop, reboot, rebootHard *engine.Handle[powerState]
}

// submitter is a kind whose state is a powerState.
type submitter = *engine.Handle[powerState]

// bootLimit bounds Define: it may have to fetch an image.
const bootLimit = 30 * time.Minute

func (c *core) register(e *engine.Engine) {
	c.ops.create = engine.Register(e, c.createKind())
	c.ops.delete = engine.Register(e, c.deleteKind())
	c.ops.start = engine.Register(e, c.startKind())
	c.ops.stop = engine.Register(e, c.stopKind())
	c.ops.reboot = engine.Register(e, c.rebootKind())
	c.ops.rebootHard = engine.Register(e, c.rebootHardKind())
}

// change changes a server in a transaction of an operation; one that is gone is left alone.
func change(tx *store.Tx, id string, f func(v *Server) error) error {
	v, err := servers.Get(tx, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f(v); err != nil {
		return err
	}
	return put(tx, v)
}

// move sets the task state, unless another operation has set its own in the meantime.
func (v *Server) move(to TaskState, mine ...TaskState) {
	for _, m := range mine {
		if v.TaskState == m {
			v.TaskState = to
			return
		}
	}
}

// overtaken reports whether another operation waits for this one to end: the task state is that one's then.
func overtaken(tx *store.Tx, id string) (bool, error) {
	_, err := operation.Collection.Find(tx, "pending", "server", id)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}
