package fakecompute

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
)

// hostDoc is the host's identity.
type hostDoc struct {
	ID string `json:"id"`
}

// guestDoc is what changes about a guest; it is small, because each start and stop writes it.
type guestDoc struct {
	Mark   computedriver.Mark  `json:"mark"`
	Epoch  int64               `json:"epoch,omitempty"`
	Name   string              `json:"name"`
	Power  computedriver.Power `json:"power"`
	Uses   Usage               `json:"uses"`
	Turn   int64               `json:"turn,omitempty"` // the greatest of Start, Stop and Reboot
	Events []event             `json:"events,omitempty"`
}

// event is something that the guest wrote about on its console.
type event struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

const (
	booted   = "boot"
	rebooted = "reboot"
	shutDown = "shutdown"
	crashed  = "crash"

	keptEvents = 32 // older ones leave the console log
)

// take gives a call its turn; moved says that it is a new one.
func (g *guestDoc) take(turn int64) (moved bool, err error) {
	if turn < g.Turn {
		return false, fault.New(fault.Stale, "turn %d was called, %d is older; stop", g.Turn, turn)
	}
	moved = turn > g.Turn
	g.Turn = turn
	return moved, nil
}

func (g *guestDoc) foreign() bool { return g.Mark == computedriver.Mark{} }

// log adds an event to a copy of the list: documents in memory are shared.
func (g *guestDoc) log(at time.Time, what string) {
	keep := g.Events[max(0, len(g.Events)-keptEvents+1):]
	g.Events = append(slices.Clip(keep), event{at, what})
}

// specDoc is a guest as it was defined, without the function that opens its image.
type specDoc struct {
	Mark        computedriver.Mark  `json:"mark"`
	Name        string              `json:"name"`
	Hostname    string              `json:"hostname"`
	VCPUs       int                 `json:"vcpus"`
	MemoryMiB   int64               `json:"memory_mib"`
	RootGiB     int64               `json:"root_gib"`
	Base        *baseRef            `json:"base,omitempty"`
	NICs        []computedriver.NIC `json:"nics,omitempty"`
	ConfigDrive files               `json:"config_drive"`
}

type baseRef struct {
	ID        string `json:"id"`
	Format    string `json:"format"`
	SizeBytes int64  `json:"size_bytes"`
	SHA512    string `json:"sha512,omitempty"`
	Path      string `json:"path,omitempty"`
}

// baseDoc remembers an image that was read and found right.
type baseDoc struct {
	SizeBytes int64  `json:"size_bytes"`
	SHA512    string `json:"sha512"`
}

func spec(g computedriver.Guest) specDoc {
	s := specDoc{
		Mark: g.Mark, Name: g.Name, Hostname: g.Hostname, VCPUs: g.VCPUs, MemoryMiB: g.MemoryMiB,
		RootGiB: g.Root.SizeGiB, NICs: slices.Clone(g.NICs), ConfigDrive: keepFiles(g.ConfigDrive),
	}
	if b := g.Root.Base; b != nil {
		s.Base = &baseRef{b.ID, b.Format, b.SizeBytes, b.SHA512, b.Path}
	}
	return s
}

// guest returns what was defined; Base.Open is nil.
func (s specDoc) guest() (computedriver.Guest, error) {
	drive, err := s.ConfigDrive.all()
	g := computedriver.Guest{
		Mark: s.Mark, Name: s.Name, Hostname: s.Hostname, VCPUs: s.VCPUs, MemoryMiB: s.MemoryMiB,
		Root: computedriver.Disk{SizeGiB: s.RootGiB}, NICs: slices.Clone(s.NICs), ConfigDrive: drive,
	}
	if b := s.Base; b != nil {
		g.Root.Base = &computedriver.Base{ID: b.ID, Format: b.Format, SizeBytes: b.SizeBytes, SHA512: b.SHA512, Path: b.Path}
	}
	return g, err
}

func validate(g computedriver.Guest) error {
	var errs []error
	bad := func(field string, value any, remedy string) {
		errs = append(errs, fault.InvalidField(field, value, remedy))
	}
	if err := statedir.Key(g.Mark.ID); err != nil {
		errs = append(errs, err)
	}
	if g.Mark.Cloud == "" {
		bad("Mark.Cloud", "", "name the cloud that owns the guest")
	}
	if g.Mark.Generation < 1 {
		bad("Mark.Generation", g.Mark.Generation, "generations count from 1")
	}
	if g.VCPUs < 1 {
		bad("VCPUs", g.VCPUs, "at least 1")
	}
	if g.MemoryMiB < 1 {
		bad("MemoryMiB", g.MemoryMiB, "at least 1")
	}
	if g.Root.SizeGiB < 0 || g.Root.SizeGiB == 0 && g.Root.Base == nil {
		bad("Root.SizeGiB", g.Root.SizeGiB, "a blank disk needs a size")
	}
	if b := g.Root.Base; b != nil {
		if err := statedir.Key(b.ID); err != nil {
			errs = append(errs, err)
		}
		if b.Open == nil {
			bad("Root.Base.Open", nil, "an image must be readable")
		}
	}
	for _, n := range g.NICs {
		if n.PortID == "" || n.MAC == "" || n.Binding.VIFType() == "unbound" {
			bad("NICs", n, "each needs a port, a MAC and a binding; bind the port first")
		}
	}
	if errs == nil {
		return nil
	}
	return &fault.Error{Code: fault.Invalid, Kind: "guest", ID: g.Mark.ID, Err: errors.Join(errs...)}
}

// fetch reads an image as a host does that copies it, and checks it.
func fetch(ctx context.Context, base *computedriver.Base) (baseDoc, error) {
	r, err := base.Open(ctx)
	if err != nil {
		return baseDoc{}, &fault.Error{Code: fault.CodeOf(err), Kind: "image", ID: base.ID, Err: err}
	}
	defer r.Close()
	sum := sha512.New()
	n, err := io.Copy(sum, contextReader{ctx, r})
	if err != nil {
		return baseDoc{}, &fault.Error{Code: fault.CodeOf(err), Kind: "image", ID: base.ID, Msg: "it broke off", Err: err}
	}
	got := hex.EncodeToString(sum.Sum(nil))
	if n != base.SizeBytes || base.SHA512 != "" && got != base.SHA512 {
		return baseDoc{}, fault.New(fault.Corrupt, "got %d bytes with sha512 %s, expected %d with %s; upload it again",
			n, got, base.SizeBytes, base.SHA512).About("image", base.ID)
	}
	return baseDoc{n, got}, nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
