// Package imagedriver is what a place for image data must do for Nubecula:
// one file to read, one suite (imagetest) to pass.
//
// The store holds bytes under ids that the caller chose. Data is complete or
// absent: a Put that broke off is never visible to Open, Locate or Images as complete.
package imagedriver

import (
	"context"
	"io"
)

// Store keeps image data. It is safe for concurrent use, also from other processes. Errors carry a
// fault.Code; Unavailable and Timeout are worth another try, Exhausted means that it is full. An id that
// is empty, longer than a file name may be, or could be taken for a path is Invalid; so is a negative offset.
// A context that has ended is an error of every method.
type Store interface {
	// Put reads r to its end and keeps it under id. It replaces what an earlier Put of this id left,
	// whole or torn. If r or the store fails, or ctx ends, nothing is kept under id that Open would
	// return; an error of r is returned wrapped.
	Put(ctx context.Context, id string, r io.Reader) (sizeBytes int64, err error)
	// Open reads the data from offset bytes on, nothing when that is past the end; the caller closes it. NotFound
	// when there is none.
	Open(ctx context.Context, id string, offset int64) (io.ReadCloser, error)
	// Delete removes the data, torn or whole; absent is success.
	Delete(ctx context.Context, id string) error
	// Locate says where the data can be read without us; the zero Location where it cannot.
	// NotFound when there is none.
	Locate(ctx context.Context, id string) (Location, error)
	// Images lists the ids of all data, with those of torn Puts; an error means that the list is not complete.
	Images(ctx context.Context) ([]Data, error)
	// Close releases connections.
	Close() error
}

// Rememberer is the optional memory of how new a Cloud's store was. Without it a store that was restored from an older
// backup is recognised only by what it does not know of.
type Rememberer interface {
	// Remember keeps the greatest epoch that it was ever given for a Cloud, durably and wherever the driver keeps the data,
	// and returns it. Epoch 0 only asks; 0 as the answer means that it knows nothing of that Cloud.
	Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error)
}

// Location is a place of data outside this interface.
type Location struct {
	Path string // a file on this machine; "" means none
}

// Data is one line of Images.
type Data struct {
	ID        string
	SizeBytes int64 // of what is there
	Torn      bool  // left by a Put that broke off
}
