package image

import (
	"context"
	"io"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// uploadLimit is how long an upload may take in all.
const uploadLimit = 24 * time.Hour

// UploadRequest is the data of an image.
type UploadRequest struct {
	// Body is read to its end, and not after Upload has returned.
	Body io.Reader
	// SizeBytes is how much Body should give; anything else breaks the upload. 0 means unknown.
	SizeBytes int64
	// Finish, if set, runs in the transaction that makes the image active; its error breaks the upload.
	// It runs in this process only.
	Finish func(tx *store.Tx, i *Image) error
}

// Upload stores an image's data, which makes it active, and returns once that is durable. Nothing of the data is kept in memory.
//
// Conflict: the image is not Queued - another upload was first. Invalid: its formats are not set, Body broke
// off, or the data is not what DiskFormat says or refers to other files. TooLarge: more than Options.MaxBytes.
// Gone: it was deleted meanwhile. Unavailable: the driver, or this process ended. After an error the image
// is Queued again as soon as the torn data is deleted.
func (s *Service) Upload(ctx context.Context, id string, req UploadRequest) (i *Image, err error) {
	if req.SizeBytes > s.opt.MaxBytes {
		return nil, s.tooLarge()
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	pr, pw := io.Pipe()
	in := &incoming{turn: make(chan struct{}, 1), r: pr, most: s.opt.MaxBytes, tooLarge: s.tooLarge, size: req.SizeBytes, finish: req.Finish}
	// Whatever happens, nobody is left waiting for data that does not come.
	defer pw.CloseWithError(fault.New(fault.Canceled, "the upload was given up"))
	var op *operation.Operation
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		var c caller
		if i, c, err = s.find(tx, id, "upload"); err != nil {
			return err
		}
		if i.Status != Queued {
			return &fault.Error{Code: fault.Conflict, Kind: "image", ID: id, Msg: "is " + string(i.Status) + "; data can be uploaded once, to a queued image: create another"}
		}
		if i.DiskFormat == "" || i.ContainerFormat == "" {
			return &fault.Error{Code: fault.Invalid, Kind: "image", ID: id, Msg: "disk_format and container_format must be set before data is uploaded: update the image first"}
		}
		i.Status, i.DataID = Saving, tx.NewID()
		in.disk, in.container = i.DiskFormat, i.ContainerFormat
		if op, err = s.upload.SubmitLocal(tx, c.request(i), upload{ImageID: id, DataID: i.DataID}, in); err != nil {
			return err
		}
		s.emit(tx, "upload.start", i)
		return put(tx, i)
	})
	if err != nil {
		return nil, err
	}
	pump(ctx, pw, req.Body)
	if op, err = s.wait(ctx, op.ID); err != nil {
		return nil, err
	}
	if op.State != operation.Done {
		return nil, s.uploadError(ctx, op)
	}
	i, err = s.Get(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil, errDeleted(id)
	}
	return i, err
}

// wait returns the operation once it has ended. Unavailable: this process stops working on operations before that.
func (s *core) wait(ctx context.Context, id string) (*operation.Operation, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.opt.Engine.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	op, err := operation.Wait(ctx, s.store, id)
	select {
	case <-s.opt.Engine.Done():
		if err != nil {
			err = fault.New(fault.Unavailable, "the service ended during the upload: look at the image, and upload again if it is queued")
		}
	default:
	}
	return op, err
}

// pump gives the body to the worker that stores it, until either ends.
func pump(ctx context.Context, pw *io.PipeWriter, body io.Reader) {
	stop := context.AfterFunc(ctx, func() { pw.CloseWithError(ctx.Err()) })
	defer stop()
	_, err := io.Copy(struct{ io.Writer }{pw}, struct{ io.Reader }{body})
	if err == nil {
		err = ctx.Err() // an end that comes after the caller has gone may be no end
	}
	if err != nil {
		pw.CloseWithError(fault.New(fault.Invalid, "the upload broke off: %w", err))
		return
	}
	pw.Close()
}

func (s *core) tooLarge() error {
	return &fault.Error{Code: fault.TooLarge, Field: "body", Msg: "the image has more than " + bytesText(s.opt.MaxBytes) + ", which is the most that is stored"}
}

func errDeleted(id string) error {
	return &fault.Error{Code: fault.Gone, Kind: "image", ID: id, Msg: "was deleted during the upload"}
}

// uploadError is why an upload did not succeed.
func (s *Service) uploadError(ctx context.Context, op *operation.Operation) error {
	gone := false
	err := s.store.View(ctx, func(tx *store.Tx) error {
		has, err := images.Has(tx, op.Resource.ID)
		gone = !has
		return err
	})
	if err == nil && gone {
		return errDeleted(op.Resource.ID)
	}
	return &fault.Error{Code: op.Failure.Code, Kind: "image", ID: op.Resource.ID, Msg: op.Failure.Message}
}

// upload is the state of an upload operation.
type upload struct {
	ImageID string   `json:"image_id"`
	DataID  string   `json:"data_id"`
	Result  *content `json:"result,omitempty"`
}

// content is what an upload found the data to be.
type content struct {
	SizeBytes    int64  `json:"size_bytes"`
	VirtualBytes int64  `json:"virtual_bytes"`
	MD5          string `json:"md5"`
	SHA512       string `json:"sha512"`
	Format       string `json:"format"`
}

// uploadKind stores the data that the submitting process holds. In any other process, and after a restart, the
// data is lost: Do fails, Undo deletes what is there, and the image is Queued again.
func (c *core) uploadKind() engine.Kind[upload] {
	return engine.Kind[upload]{
		Name: "image.upload", Version: 1,
		Steps: []engine.Step[upload]{{
			Name: "store", Limit: uploadLimit, Attempts: 1,
			Do: func(ctx context.Context, r *engine.Run[upload]) error {
				in, _ := r.Local.(*incoming)
				if in == nil {
					return fault.New(fault.Unavailable, "the process that received the upload has ended: upload again")
				}
				got, err := in.store(ctx, c.opt.Clock, c.data, r.State.DataID)
				r.State.Result = got
				return err
			},
			Commit: func(tx *store.Tx, r *engine.Run[upload]) error { return c.activate(tx, r) },
			Undo: func(ctx context.Context, r *engine.Run[upload]) error {
				return c.remove(ctx, r.State.DataID)
			},
		}},
		Abort: func(tx *store.Tx, r *engine.Run[upload], f *operation.Failure) error {
			if err := retire(tx, r.State.DataID); err != nil {
				return err
			}
			i, err := images.Get(tx, r.State.ImageID)
			if fault.Is(err, fault.NotFound) {
				return nil
			}
			if err != nil || i.Status != Saving || i.DataID != r.State.DataID {
				return err
			}
			i.Status, i.DataID = Queued, ""
			c.tell(tx, "upload.error", i, r.Op)
			return put(tx, i)
		},
	}
}

// activate makes the image complete.
func (c *core) activate(tx *store.Tx, r *engine.Run[upload]) error {
	i, err := images.Get(tx, r.State.ImageID)
	if err != nil {
		return err
	}
	if i.Status != Saving || i.DataID != r.State.DataID {
		return fault.New(fault.Stale, "image %s is %s and does not wait for this upload", i.ID, i.Status)
	}
	got := r.State.Result
	i.Status, i.SizeBytes, i.VirtualBytes, i.MD5, i.SHA512, i.Format = Active, got.SizeBytes, got.VirtualBytes, got.MD5, got.SHA512, got.Format
	if err := put(tx, i); err != nil {
		return err
	}
	if in, _ := r.Local.(*incoming); in != nil && in.finish != nil {
		if err := in.finish(tx, i); err != nil {
			return err
		}
	}
	c.tell(tx, "upload.end", i, r.Op)
	return nil
}
