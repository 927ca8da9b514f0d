package cloud

import (
	"log/slog"
	"time"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// Options compose a Cloud. Store, Network and Images are required; they and
// the hypervisors' drivers belong to the Cloud from New on, which closes them.
type Options struct {
	// Store holds all state.
	Store *store.Store
	// Hypervisors are the hosts that this process drives. None is allowed: servers then end in ERROR.
	Hypervisors []compute.Hypervisor
	// Network realises networks and ports.
	Network networkdriver.Provider
	// Images holds image data.
	Images imagedriver.Store

	// Scheduler places servers. nil means the default filters and weighers.
	Scheduler *scheduler.Scheduler
	// Policy decides who may do what. nil means identity.DefaultPolicy.
	Policy identity.Policy
	// Log receives what operators should know. nil discards it.
	Log *slog.Logger
	// Clock tells the time to everything but the store. nil means the machine's.
	Clock store.Clock

	// TokenLifetime is how long a token is good. 0 means 24 h.
	TokenLifetime time.Duration
	// PasswordCost is bcrypt's cost for new passwords. 0 means 10; tests use 4.
	PasswordCost int
	// Retention is how long ended operations, events and tombstones are kept. 0 means 7 days.
	Retention time.Duration
	// Workers is how many operations are at work at once. 0 means 64. Projects take turns, and one has at most seven
	// eighths of them, so that a flood of boots or a driver that hangs does not stop what other projects ask for.
	Workers int
	// Lease is how long a replica may be silent before others take over its operations. 0 means 15 s.
	Lease time.Duration
	// Heartbeat is how often each host is asked whether it is there. 0 means 10 s.
	Heartbeat time.Duration
	// DownAfter is how long a host may be silent before it counts as down. 0 means a minute.
	DownAfter time.Duration
	// Brake is how many guests of one host, networks, or pieces of image data the sweeper may remove in one pass: when there
	// are more it removes none and says so. 0 means 10.
	Brake int
	// NoConfigDrive makes config drives only for servers that ask for one.
	NoConfigDrive bool
	// Idle opens the Cloud for somebody who looks at it, as Check does: no operation is taken up, no host asked, nothing tidied. What is
	// asked of it in writing is not carried out before another run. The store is upgraded as always.
	Idle bool
	// Twice runs each effect of an operation and each undo twice. For tests of drivers and kinds.
	Twice bool
}
