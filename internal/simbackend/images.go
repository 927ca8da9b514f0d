package simbackend

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/statedir"
)

// Store is the image store of the simulated backend. It also is an imagedriver.Rememberer.
type Store struct {
	link *link
	end  closer
}

// NewStore connects to the Server that listens on a Unix socket; it need not be there yet.
func NewStore(address string) *Store { return &Store{link: connect(address)} }

func (s *Store) check(id string) error {
	if err := s.end.open(); err != nil {
		return err
	}
	return statedir.Key(id)
}

// Put sends what r gives.
func (s *Store) Put(ctx context.Context, id string, r io.Reader) (size int64, err error) {
	if err := s.check(id); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f, to, done := sending(ctx, r)
	defer done()
	err = s.link.stream(to, path("image", "Put", id), f, &size)
	switch {
	case f.failed() != nil:
		return 0, &fault.Error{Code: fault.CodeOf(f.failed()), Kind: "image", ID: id, Msg: "the upload broke off", Err: f.failed()}
	case err != nil && ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, err
	}
	return size, nil
}

// Open reads the data.
func (s *Store) Open(ctx context.Context, id string, offset int64) (io.ReadCloser, error) {
	if err := s.check(id); err != nil {
		return nil, err
	}
	res, err := s.link.post(ctx, path("image", "Open", id)+fmt.Sprintf("?offset=%d", offset), bytes.NewReader(nil))
	if err != nil {
		return nil, err
	}
	return opened{&unframed{r: res.Body}, res.Body}, nil
}

type opened struct {
	io.Reader
	io.Closer
}

// Delete removes the data.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := s.check(id); err != nil {
		return err
	}
	return s.link.call(ctx, path("image", "Delete", id), none{}, nil)
}

// Locate answers the zero Location.
func (s *Store) Locate(ctx context.Context, id string) (out imagedriver.Location, err error) {
	if err := s.check(id); err != nil {
		return out, err
	}
	err = s.link.call(ctx, path("image", "Locate", id), none{}, &out)
	return out, err
}

// Images lists all data in the order of the ids.
func (s *Store) Images(ctx context.Context) (out []imagedriver.Data, err error) {
	if err := s.end.open(); err != nil {
		return nil, err
	}
	err = s.link.call(ctx, "/image/Images", none{}, &out)
	return out, err
}

// Remember keeps the greatest epoch of a Cloud.
func (s *Store) Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error) {
	if err := s.end.open(); err != nil {
		return 0, err
	}
	err = s.link.call(ctx, "/image/Remember", remember{cloud, epoch}, &newest)
	return newest, err
}

// Close ends the connection; data stays.
func (s *Store) Close() error {
	s.end.closed.Store(true)
	s.link.close()
	return nil
}
