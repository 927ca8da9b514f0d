package image

import (
	"context"
	"errors"
	"log/slog"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/internal/witness"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Options configure a Service.
type Options struct {
	Store  *store.Store      // required
	Engine *engine.Engine    // required; not started yet
	Data   imagedriver.Store // keeps the data. Required
	// Identity confirms in each transaction that a caller's token still holds. nil takes principals as they are.
	Identity *identity.Service
	Policy   identity.Policy // nil means identity.DefaultPolicy
	Clock    clock.Clock     // nil means the machine's
	Log      *slog.Logger    // nil means nowhere
	// Witness tells whether the store is the newest that the drivers have seen. nil takes it for that.
	Witness *witness.Witness
	// Brake is how much data a Sweep may delete: when there is more, it deletes none and says so. 0 means 10.
	Brake int
	// MaxBytes is how large an image may be. 0 means 1 TiB.
	MaxBytes int64
	// MaxUploads is how many uploads are received at once; more wait. Each holds a worker of the engine
	// for as long as its client takes, so it must be well below engine.Options.Workers. 0 means 16.
	MaxUploads int
}

// Service is the images on behalf of one principal. It is safe for concurrent use.
//
// Methods are part of the transaction that their ctx carries, if it does (store.Tx.Context), but for
// Upload and Download. Besides the codes they name they return what the Policy does: NotFound for an image that
// the caller may not see, Denied for what he may not do with it.
type Service struct {
	*core
	who *identity.Principal
}

type core struct {
	opt    Options
	store  *store.Store
	data   imagedriver.Store
	upload *engine.Handle[upload]
	erase  *engine.Handle[erasure]
	slots  chan struct{} // of uploads
	told   finding.Told  // alarms about data that nobody knows
}

// New returns a Service that acts for nobody; take one for somebody with As. It registers its kinds of operations.
// It takes an engine that only this module has: a program gets the Service from cloud.New.
func New(opt Options) (*Service, error) {
	if opt.Policy == nil {
		opt.Policy = identity.DefaultPolicy()
	}
	if opt.Clock == nil {
		opt.Clock = clock.System()
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.MaxBytes == 0 {
		opt.MaxBytes = 1 << 40
	}
	if opt.Brake == 0 {
		opt.Brake = 10
	}
	if opt.MaxUploads == 0 {
		opt.MaxUploads = 16
	}
	var errs []error
	if opt.Store == nil || opt.Engine == nil || opt.Data == nil {
		errs = append(errs, fault.New(fault.Invalid, "image.Options needs Store, Engine and Data"))
	}
	if opt.MaxBytes < 0 || opt.MaxUploads < 0 {
		errs = append(errs, fault.New(fault.Invalid, "image.Options.MaxBytes and MaxUploads cannot be negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c := &core{opt: opt, store: opt.Store, data: opt.Data, slots: make(chan struct{}, opt.MaxUploads)}
	c.upload = engine.Register(opt.Engine, c.uploadKind())
	c.erase = engine.Register(opt.Engine, c.eraseKind())
	return &Service{core: c}, nil
}

// As returns the Service on behalf of p.
func (s *Service) As(p *identity.Principal) *Service { return &Service{s.core, p} }

// Data returns the driver, for the service that boots from images: Image.DataID names the data.
func (s *Service) Data() imagedriver.Store { return s.data }

// caller is a principal as the transaction at hand knows it.
type caller struct {
	*identity.Principal
	policy identity.Policy
}

func (s *Service) caller(tx *store.Tx) (caller, error) {
	p := s.who
	if s.opt.Identity != nil {
		var err error
		if p, err = s.opt.Identity.Confirm(tx, p); err != nil {
			return caller{}, err
		}
	}
	if p == nil {
		return caller{}, fault.New(fault.Unauthenticated, "images need an authenticated caller")
	}
	return caller{p, s.opt.Policy}, nil
}

// may asks the policy about an image; member tells whether it is shared with the caller's project.
func (c caller) may(action string, i *Image, member bool) error {
	return c.policy.Check(c.Principal, "image:image:"+action, identity.Target{Kind: "image", ID: i.ID, ProjectID: i.Owner,
		Shared: i.Visibility == Public || i.Visibility == Community || member})
}

// memberOf reports whether an image is shared with the caller's project, and how it took that.
func (c caller) memberOf(tx *store.Tx, i *Image) (MemberStatus, bool, error) {
	if i.Visibility != Shared || c.ProjectID == "" || c.ProjectID == i.Owner {
		return "", false, nil
	}
	m, err := members.Get(tx, memberID(i.ID, c.ProjectID))
	if fault.Is(err, fault.NotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return m.Status, true, nil
}

// find returns an image on which the caller may do something.
func (s *Service) find(tx *store.Tx, id, action string) (*Image, caller, error) {
	c, err := s.caller(tx)
	if err != nil {
		return nil, c, err
	}
	i, err := images.Get(tx, id)
	if err != nil {
		return nil, c, err
	}
	_, member, err := c.memberOf(tx, i)
	if err != nil {
		return nil, c, err
	}
	if err := c.may("get", i, member); err != nil {
		return nil, c, fault.Missing("image", id)
	}
	return i, c, c.may(action, i, member)
}

// put writes an image that has changed.
func put(tx *store.Tx, i *Image) error {
	i.UpdatedAt = tx.Now()
	return images.Put(tx, i)
}

func (s *Service) emit(tx *store.Tx, what string, i *Image) {
	e := event.Event{Type: "image." + what, Kind: "image", ID: i.ID, ProjectID: i.Owner, RequestID: request.ID(tx.Context())}
	if s.who != nil {
		e.UserID = s.who.UserID
	}
	tx.Emit(e)
}

// request names the caller and the image to the engine.
func (c caller) request(i *Image) engine.Request {
	return engine.Request{Resource: operation.Resource{Kind: "image", ID: i.ID}, ProjectID: i.Owner, UserID: c.UserID}
}

// Get returns an image.
func (s *Service) Get(ctx context.Context, id string) (i *Image, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		i, _, err = s.find(tx, id, "get")
		return err
	})
	return i, err
}
