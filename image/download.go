package image

import (
	"context"
	"io"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// Download opens an image's data from offset bytes on; the caller closes it. Conflict: the image has no data
// yet. Denied: it is deactivated and the caller no administrator. Invalid: offset is beyond the end.
func (s *Service) Download(ctx context.Context, id string, offset int64) (i *Image, data io.ReadCloser, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		var c caller
		if i, c, err = s.find(tx, id, "download"); err != nil {
			return err
		}
		switch {
		case !i.HasData():
			return &fault.Error{Code: fault.Conflict, Kind: "image", ID: id, Msg: "is " + string(i.Status) + " and has no data; upload it first"}
		case i.Status == Deactivated && !c.IsAdmin():
			return &fault.Error{Code: fault.Denied, Kind: "image", ID: id, Msg: "is deactivated; reactivate it first"}
		case offset < 0 || offset > i.SizeBytes:
			return fault.InvalidField("offset", offset, "it must be between 0 and the size of the image")
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	data, err = s.data.Open(ctx, i.DataID, offset)
	if fault.Is(err, fault.NotFound) { // deleted in this very moment, or damaged
		return nil, nil, &fault.Error{Code: fault.Unavailable, Kind: "image", ID: id, Msg: "its data is not there", Err: err}
	}
	return i, data, err
}
