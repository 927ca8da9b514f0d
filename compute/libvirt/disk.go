//go:build linux

package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/statedir"
)

const gib = 1 << 30

// makeRoot makes a guest's disk unless it is there: base is the path of its base, "" for a blank disk.
func (o Options) makeRoot(ctx context.Context, d computedriver.Disk, base, path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := removeTemps(path); err != nil {
		return statedir.Explain(path, err)
	}
	// Its own name each time: a process that was killed may have left a qemu-img behind, which locks the file it writes.
	temp := path + "." + id.Random() + tempSuffix
	args := []string{"create", "-q", "-f", "qcow2"}
	size := d.SizeGiB * gib
	if base != "" {
		format := d.Base.Format
		if format == "iso" {
			format = "raw"
		}
		virtual, err := o.inspect(ctx, d.Base, base, format)
		if err != nil {
			return err
		}
		if size == 0 {
			size = virtual
		}
		if size < virtual {
			return fault.InvalidField("Root.SizeGiB", d.SizeGiB,
				fmt.Sprintf("image %s is a disk of %d bytes; use %d or more", d.Base.ID, virtual, (virtual+gib-1)/gib))
		}
		args = append(args, "-b", base, "-F", format)
	}
	if _, err := o.qemuImg(ctx, append(args, temp, strconv.FormatInt(size, 10))...); err != nil {
		_ = os.Remove(temp)
		return err
	}
	if err := errors.Join(os.Chmod(temp, 0o600), syncPath(temp)); err != nil {
		return err
	}
	return install(temp, path)
}

const tempSuffix = ".new"

// removeTemps removes what calls of makeRoot left that were cut off. Whoever still writes to one of them writes to a file without a name.
func removeTemps(path string) error {
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name+".") && strings.HasSuffix(e.Name(), tempSuffix) {
			if gone := os.Remove(filepath.Join(dir, e.Name())); !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}
	return err
}

// inspect returns the size of the disk that an image holds. An image that refers to other files is
// refused: it could show the host's files to its guest.
func (o Options) inspect(ctx context.Context, b *computedriver.Base, path, format string) (int64, error) {
	if format != "raw" && format != "qcow2" {
		return 0, fault.New(fault.Unsupported, "its format is %q; the libvirt driver takes raw, qcow2 and iso", b.Format).About("image", b.ID)
	}
	out, err := o.qemuImg(ctx, "info", "--output=json", "-f", format, path)
	if err != nil {
		return 0, err
	}
	var info struct {
		VirtualSize int64  `json:"virtual-size"`
		Backing     string `json:"backing-filename"`
		Specific    struct {
			Data struct {
				DataFile string `json:"data-file"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return 0, fault.New(fault.Internal, "%s info: %w", o.QemuImg, err)
	}
	if info.Backing != "" || info.Specific.Data.DataFile != "" {
		return 0, fault.New(fault.Invalid, "it refers to another file (%q); upload one that stands alone",
			info.Backing+info.Specific.Data.DataFile).About("image", b.ID)
	}
	return info.VirtualSize, nil
}

func (o Options) qemuImg(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, o.QemuImg, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	text := strings.TrimSpace(stderr.String())
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, ended(ctx)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.Unsupported, "%s is not installed (Debian: qemu-utils): %w", o.QemuImg, err)
	case strings.Contains(text, "No space left on device"):
		return nil, fault.New(fault.Exhausted, "%s %s: %s", o.QemuImg, args[0], text)
	}
	return nil, fault.New(fault.Internal, "%s %s: %s: %w", o.QemuImg, args[0], text, err)
}
