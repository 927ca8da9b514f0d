// Package fakeimage is an image store in memory: it keeps the same promises
// as a real one (it passes imagetest) and fails as told by a plan of faults.
// What it holds lives in a Backend, apart from the Store that is the connection to it.
//
// Unlike a careful real store it leaves torn data behind whenever a Put
// fails, so that whoever uses it is seen to clean up.
package fakeimage

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/statedir"
)

// Options describe a fake store. The zero value is an empty one without limit that never fails.
type Options struct {
	Name     string       // the plan's name of this driver; "" means "image"
	MaxBytes int64        // Put fails with Exhausted beyond this total; 0 means no limit
	Backend  *Backend     // shared with other Stores; nil means a new one
	Faults   *inject.Plan // nil means none
}

// Backend holds the data. Safe for concurrent use.
type Backend struct {
	mu    sync.Mutex
	why   error // not nil: the back end is down
	data  map[string]blob
	total int64
	puts  map[string]int
	epoch map[string]int64 // by cloud
}

// blob is the data of one id; its bytes are never changed.
type blob struct {
	bytes []byte
	torn  bool
}

// NewBackend returns an empty back end.
func NewBackend() *Backend {
	return &Backend{data: map[string]blob{}, puts: map[string]int{}, epoch: map[string]int64{}}
}

// SetDown makes every call of every Store on this Backend fail with why; nil brings it back.
func (b *Backend) SetDown(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.why = why
}

// Tear makes the data under id torn, as a Put leaves it that was cut off by a crash; there need not be any.
func (b *Backend) Tear(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(id, blob{b.data[id].bytes, true})
}

// Puts returns how many Puts of the id completed.
func (b *Backend) Puts(id string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.puts[id]
}

// Plant puts data under an id that no Cloud asked for.
func (b *Backend) Plant(id string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(id, blob{bytes: bytes.Clone(data)})
}

// Lose takes data away behind the back of the cloud that has it.
func (b *Backend) Lose(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(id)
}

// Images lists what Store.Images does, also when the back end is down.
func (b *Backend) Images() []imagedriver.Data {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]imagedriver.Data, 0, len(b.data))
	for id, d := range b.data {
		all = append(all, imagedriver.Data{ID: id, SizeBytes: int64(len(d.bytes)), Torn: d.torn})
	}
	slices.SortFunc(all, func(x, y imagedriver.Data) int { return cmp.Compare(x.ID, y.ID) })
	return all
}

// set replaces what is under id; the caller holds the lock.
func (b *Backend) set(id string, d blob) {
	b.total += int64(len(d.bytes)) - int64(len(b.data[id].bytes))
	b.data[id] = d
}

func (b *Backend) drop(id string) {
	b.total -= int64(len(b.data[id].bytes))
	delete(b.data, id)
}

// Store is a connection to a Backend.
type Store struct {
	name   string
	limit  int64
	b      *Backend
	faults *inject.Plan
	closed atomic.Bool
}

var (
	_ imagedriver.Store      = (*Store)(nil)
	_ imagedriver.Rememberer = (*Store)(nil)
)

// New connects to a fake back end.
func New(o Options) (*Store, error) {
	if o.MaxBytes < 0 {
		return nil, fault.InvalidField("MaxBytes", o.MaxBytes, "0 means no limit")
	}
	s := &Store{name: cmp.Or(o.Name, "image"), limit: o.MaxBytes, b: o.Backend, faults: o.Faults}
	if s.b == nil {
		s.b = NewBackend()
	}
	return s, nil
}

// Backend returns what holds the data, for a test to look at.
func (s *Store) Backend() *Backend { return s.b }

// Close ends the connection; data stays.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

func (s *Store) call(ctx context.Context, method, id string, effect func() error) error {
	if s.closed.Load() {
		return fault.New(fault.Unavailable, "the connection to image store %s is closed", s.name)
	}
	return s.faults.Run(ctx, s.name, method, id, func() error {
		s.b.mu.Lock()
		why := s.b.why
		s.b.mu.Unlock()
		if why != nil {
			return why
		}
		return effect()
	})
}

// Put keeps what r gives.
func (s *Store) Put(ctx context.Context, id string, r io.Reader) (size int64, err error) {
	err = s.call(ctx, "Put", id, func() error {
		if err := statedir.Key(id); err != nil {
			return err
		}
		s.b.mu.Lock()
		s.b.drop(id)
		s.b.mu.Unlock()
		var got bytes.Buffer
		err := s.read(ctx, id, r, &got)
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		if err != nil {
			s.b.set(id, blob{got.Bytes(), true})
			return &fault.Error{Code: fault.CodeOf(err), Kind: "image", ID: id, Msg: "the upload broke off", Err: err}
		}
		s.b.set(id, blob{bytes: got.Bytes()})
		s.b.puts[id]++
		size = int64(got.Len())
		return nil
	})
	if err != nil {
		return 0, err
	}
	return size, nil
}

func (s *Store) read(ctx context.Context, id string, r io.Reader, got *bytes.Buffer) error {
	buf := make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if s.limit > 0 && s.others(id)+int64(got.Len()) > s.limit {
			return fault.New(fault.Exhausted, "the store holds at most %d bytes; delete an image", s.limit)
		}
		if err == io.EOF {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// others returns the bytes kept under other ids.
func (s *Store) others(id string) int64 {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.b.total - int64(len(s.b.data[id].bytes))
}

// find returns the whole data under id.
func (s *Store) find(id string) ([]byte, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	d, found := s.b.data[id]
	if !found || d.torn {
		return nil, fault.New(fault.NotFound, "it has no data; upload it first").About("image", id)
	}
	return d.bytes, nil
}

// Open reads the data; a reader that is open goes on when the data is deleted.
func (s *Store) Open(ctx context.Context, id string, offset int64) (r io.ReadCloser, err error) {
	err = s.call(ctx, "Open", id, func() error {
		data, err := s.find(id)
		if err != nil {
			return err
		}
		if offset < 0 {
			return fault.InvalidField("offset", offset, "count from 0")
		}
		r = io.NopCloser(bytes.NewReader(data[min(offset, int64(len(data))):]))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Delete removes the data.
func (s *Store) Delete(ctx context.Context, id string) error {
	return s.call(ctx, "Delete", id, func() error {
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		s.b.drop(id)
		return nil
	})
}

// Locate answers the zero Location: memory has no path.
func (s *Store) Locate(ctx context.Context, id string) (imagedriver.Location, error) {
	return imagedriver.Location{}, s.call(ctx, "Locate", id, func() error {
		_, err := s.find(id)
		return err
	})
}

// Images lists all data in the order of the ids.
func (s *Store) Images(ctx context.Context) (all []imagedriver.Data, err error) {
	err = s.call(ctx, "Images", "", func() error {
		all = s.b.Images()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Remember keeps how new a Cloud's store was.
func (s *Store) Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error) {
	err = s.call(ctx, "Remember", cloud, func() error {
		if err := statedir.Key(cloud); err != nil {
			return err
		}
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		newest = max(s.b.epoch[cloud], epoch)
		if newest > 0 {
			s.b.epoch[cloud] = newest
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return newest, nil
}
