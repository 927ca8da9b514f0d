//go:build linux

package libvirt

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
)

// base returns the path of the host's copy of an image, which it makes when there is none. Calls that
// need the same image at once share one copy.
func (s state) base(ctx context.Context, b *computedriver.Base) (string, error) {
	if b.ID == "" || len(b.ID) > 128 || strings.ContainsAny(b.ID, "/\x00") || strings.HasPrefix(b.ID, ".") {
		return "", fault.InvalidField("Base.ID", b.ID, "use a UUID")
	}
	path := s.path("base", b.ID)
	if have(path, b) {
		return path, nil
	}
	unlock, err := s.lock(ctx, "base-"+b.ID)
	if err != nil {
		return "", err
	}
	defer unlock()
	if have(path, b) {
		return path, nil
	}
	temp := s.path("base", "."+b.ID+".new") // one that a crash left is overwritten
	if err := copyBase(ctx, b, temp); err != nil {
		_ = os.Remove(temp)
		return "", aboutImage(err, b.ID)
	}
	return path, install(temp, path)
}

func have(path string, b *computedriver.Base) bool {
	i, err := os.Stat(path)
	return err == nil && (b.SizeBytes == 0 || i.Size() == b.SizeBytes)
}

func copyBase(ctx context.Context, b *computedriver.Base, to string) (err error) {
	from, err := openBase(ctx, b)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha512.New()
	n, err := io.Copy(io.MultiWriter(f, sum), until{ctx, from})
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case err != nil:
		return err
	case b.SizeBytes > 0 && n != b.SizeBytes:
		return fault.New(fault.Corrupt, "has %d bytes where there should be %d; upload it again", n, b.SizeBytes)
	case b.SHA512 != "" && !strings.EqualFold(got, b.SHA512):
		return fault.New(fault.Corrupt, "its sha512 is %s where it should be %s; upload it again", got, b.SHA512)
	}
	// QEMU opens it for reading, as a user of its own
	return errors.Join(f.Chmod(0o444), f.Sync())
}

func openBase(ctx context.Context, b *computedriver.Base) (io.ReadCloser, error) {
	if b.Path != "" {
		f, err := os.Open(b.Path)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return b.Open(ctx)
}

// until is a reader that ends with its context.
type until struct {
	ctx context.Context
	io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, ended(u.ctx)
	}
	return u.Reader.Read(p)
}

// aboutImage keeps an error's code and names the image.
func aboutImage(err error, id string) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		err = statedir.Explain(file.Path, err)
	}
	return fault.New(fault.CodeOf(err), "copy it to the host: %w", err).About("image", id)
}
