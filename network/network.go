// Package network keeps networks, subnets, ports and security groups, gives
// out addresses, and has a networkdriver.Provider make it so.
//
// What a user asks for is a document, written with its addresses, its quota
// and the operation that makes it real in one transaction. The provider is
// told the whole topology of a network each time (operation network.apply);
// while one such operation is under way, further changes only move the
// wanted revision, and it runs again until it has caught up. Nothing is ever
// refused because the provider is behind.
//
// A port gets onto a host through Plug and Unplug, which compute calls in the
// steps of its operations; Bound and Unbound record the result.
package network

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/internal/quota"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/internal/witness"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// Options configure a Service.
type Options struct {
	// Store holds the data. Required.
	Store *store.Store
	// Engine runs the operations. Required.
	Engine *engine.Engine
	// Provider realises networks. Required.
	Provider networkdriver.Provider
	// Identity, if set, is asked in place of Policy, so that a role that was just removed counts.
	Identity *identity.Service
	// Policy decides who may do what. nil means identity.DefaultPolicy.
	Policy identity.Policy
	// Clock limits driver calls. nil means the machine's.
	Clock clock.Clock
	// Log receives what goes wrong behind an answered call. nil means nowhere.
	Log *slog.Logger
	// Witness tells whether the store is the newest that the drivers have seen. nil takes it for that.
	Witness *witness.Witness
	// Brake is how many networks and bindings Reconcile may remove: when there are more, it removes none and says so. 0 means 10.
	Brake int
	// TenantType is the segment type of a network whose creator names none: "local", "vlan", "vxlan"
	// or "geneve". "" means "geneve".
	TenantType string
	// Physical names the physical networks that flat and VLAN networks may use; nil allows any name.
	// The first one carries VLANs of networks that name none.
	Physical []string
	// VLANFirst and VLANLast bound the VLAN ids that are given out on each physical network. 0 means 1 and 4094.
	VLANFirst, VLANLast int
	// VNIFirst and VNILast bound the ids of vxlan and geneve segments. 0 means 1 and 65535.
	VNIFirst, VNILast int
	// MTU of the underlay in bytes; tunnels subtract their headers. 0 means 1500.
	MTU int
	// MACPrefix begins the addresses that are given out: three bytes. "" means "fa:16:3e".
	MACPrefix string
	// AvailabilityZones that networks may name. nil means "nova".
	AvailabilityZones []string
	// DNSDomain ends the names of ports, with its dot. "" means "openstacklocal.".
	DNSDomain string
}

// Service is networking on behalf of one principal. It is safe for concurrent use.
//
// Methods are part of the transaction that their ctx carries, if it does (store.Tx.Context), except
// Plug and Unplug, which call the provider. Besides the codes they name they return NotFound for what
// the principal may not see, and Denied for what he sees but may not do.
type Service struct {
	*core
	who *identity.Principal
}

// core is what the Services of all principals share.
type core struct {
	opt      Options
	store    *store.Store
	provider networkdriver.Provider
	policy   identity.Policy
	log      *slog.Logger
	macs     [3]byte
	book     *quota.Book
	ops      operations
	told     finding.Told // alarms about what the provider has
}

// New returns a Service that acts for nobody; take one for somebody with As. It registers its
// operations with the engine, which must not have been started yet. Only this module has such an engine: a
// program gets the Service from cloud.New.
func New(opt Options) (*Service, error) {
	macs, err := opt.complete()
	if err != nil {
		return nil, err
	}
	c := &core{opt: opt, store: opt.Store, provider: opt.Provider, policy: opt.Policy, log: opt.Log, macs: macs, book: newBook()}
	if err := c.register(opt.Engine); err != nil {
		return nil, err
	}
	return &Service{core: c}, nil
}

// complete sets defaults and reports everything that is wrong at once.
func (o *Options) complete() (macs [3]byte, err error) {
	if o.Policy == nil {
		o.Policy = identity.DefaultPolicy()
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.Brake, 10)
	setDefault(&o.TenantType, "geneve")
	setDefault(&o.VLANFirst, 1)
	setDefault(&o.VLANLast, 4094)
	setDefault(&o.VNIFirst, 1)
	setDefault(&o.VNILast, 65535)
	setDefault(&o.MTU, 1500)
	setDefault(&o.MACPrefix, "fa:16:3e")
	setDefault(&o.DNSDomain, "openstacklocal.")
	if o.AvailabilityZones == nil {
		o.AvailabilityZones = []string{"nova"}
	}
	var errs []error
	need := func(ok bool, field string, value any, remedy string) {
		if !ok {
			errs = append(errs, fault.InvalidField(field, value, remedy))
		}
	}
	need(o.Store != nil, "Store", nil, "network needs a store")
	need(o.Engine != nil, "Engine", nil, "network needs an engine")
	need(o.Provider != nil, "Provider", nil, "network needs a provider")
	need(slices.Contains([]string{"local", "vlan", "vxlan", "geneve"}, o.TenantType), "TenantType", o.TenantType, "it must be local, vlan, vxlan or geneve")
	need(o.TenantType != "vlan" || len(o.Physical) > 0, "Physical", o.Physical, "TenantType vlan needs a physical network")
	need(1 <= o.VLANFirst && o.VLANFirst <= o.VLANLast && o.VLANLast <= 4094, "VLANFirst", o.VLANFirst, "VLAN ids go from 1 to 4094")
	need(1 <= o.VNIFirst && o.VNIFirst <= o.VNILast && o.VNILast < 1<<24, "VNIFirst", o.VNIFirst, "segment ids go from 1 to 16777215")
	need(o.MTU >= 576 && o.MTU <= 65535, "MTU", o.MTU, "it must be between 576 and 65535 bytes")
	macs, ok := parsePrefix(o.MACPrefix)
	need(ok, "MACPrefix", o.MACPrefix, "it must be three bytes of a unicast address, such as fa:16:3e")
	return macs, errors.Join(errs...)
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// As returns the Service on behalf of p; nil may do nothing.
func (s *Service) As(p *identity.Principal) *Service { return &Service{s.core, p} }

// Principal returns on whose behalf the Service acts; nil means nobody.
func (s *Service) Principal() *identity.Principal { return s.who }

// Together runs fn in one transaction: calls made with the context it is given are kept all or not at
// all. fn may run more than once and must depend on nothing but those calls.
func (s *Service) Together(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.store.Update(ctx, func(tx *store.Tx) error { return fn(tx.Context()) })
}

// AvailabilityZones lists the zones that networks may name.
func (s *Service) AvailabilityZones() []string { return slices.Clone(s.opt.AvailabilityZones) }

// DNSDomain ends the names of ports.
func (s *Service) DNSDomain() string { return s.opt.DNSDomain }

// May reports whether the principal may do an action to a thing of a project, such as
// "network:network:get_provider".
func (s *Service) May(action, projectID string) bool {
	return s.policy.Check(s.who, action, identity.Target{ProjectID: projectID}) == nil
}

func (s *Service) check(tx *store.Tx, action string, t identity.Target) error {
	if s.opt.Identity != nil {
		return s.opt.Identity.Authorize(tx, s.who, action, t)
	}
	return s.policy.Check(s.who, action, t)
}

// project is the one that the principal acts in; "" when there is none.
func (s *Service) project() string {
	if s.who == nil {
		return ""
	}
	return s.who.ProjectID
}

// owner decides to which project a new thing belongs: that of the principal, or the one asked for.
func (s *Service) owner(asked, kind string) (string, error) {
	if s.who == nil {
		return "", fault.New(fault.Unauthenticated, "%s.create needs an authenticated caller", kind)
	}
	if asked == "" {
		asked = s.who.ProjectID
	}
	if asked == "" {
		return "", fault.InvalidField("project_id", asked, "use a token for a project, or name the project that owns the "+kind)
	}
	return asked, nil
}

// emit tells of a change: "network.create.end".
func (s *Service) emit(tx *store.Tx, kind, verb, id, projectID string) {
	e := event.Event{Type: kind + "." + verb + ".end", Kind: kind, ID: id, ProjectID: projectID, RequestID: request.ID(tx.Context())}
	if s.who != nil {
		e.UserID = s.who.UserID
	}
	tx.Emit(e)
}
