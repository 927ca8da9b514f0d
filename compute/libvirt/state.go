//go:build linux

package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/statedir"
)

// state is the directory of Options.StateDir.
type state struct{ dir string }

// openState makes the directory's parts and removes what an earlier run left in the trash.
func openState(dir string) (state, error) {
	s := state{dir}
	broken := func(err error) (state, error) { return s, fault.New(fault.Invalid, "state directory: %w", err) }
	parts := []struct {
		path string
		mode fs.FileMode
	}{{"guests", 0o711}, {"base", 0o711}, {"tombstones", 0o700}, {"epochs", 0o700}, {"locks", 0o700}, {"trash", 0o700}}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) { // an existing one keeps its mode
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			return broken(err)
		}
	}
	for _, p := range parts {
		if err := errors.Join(os.MkdirAll(s.path(p.path), p.mode), os.Chmod(s.path(p.path), p.mode)); err != nil {
			return broken(err)
		}
	}
	left, err := os.ReadDir(s.path("trash"))
	if err != nil {
		return broken(err)
	}
	for _, e := range left {
		_ = os.RemoveAll(s.path("trash", e.Name()))
	}
	return s, nil
}

func (s state) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

func (s state) guest(id string) string { return s.path("guests", id) }

// record is mark.json.
type record struct {
	Cloud      string `json:"cloud"`
	ID         string `json:"id"`
	Generation int64  `json:"generation"`
	Epoch      int64  `json:"epoch,omitempty"`
	Name       string `json:"name"`
}

// mark reads a guest's mark; ok is false when the guest has no directory.
func (s state) mark(id string) (r record, ok bool, err error) {
	path := filepath.Join(s.guest(id), "mark.json")
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, false, nil
	case err != nil:
		return r, false, statedir.Explain(path, err)
	}
	if err := json.Unmarshal(b, &r); err != nil || r.ID != id || r.Cloud == "" || r.Generation <= 0 {
		return record{}, false, fault.New(fault.Corrupt, "%s is not a guest's mark; look at the directory and remove it by hand", path)
	}
	return r, true, nil
}

// marks lists the guests that have a directory; one whose mark cannot be read has an empty record.
func (s state) marks() (map[string]record, error) {
	entries, err := os.ReadDir(s.path("guests"))
	if err != nil {
		return nil, statedir.Explain(s.path("guests"), err)
	}
	all := map[string]record{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		switch r, ok, err := s.mark(e.Name()); {
		case ok, fault.Is(err, fault.Corrupt):
			all[e.Name()] = r
		case err != nil:
			return nil, err
		}
	}
	return all, nil
}

// young is where a guest's directory is until its mark is in it.
func (s state) young(id string) string { return s.path("guests", "."+id+".new") }

// make makes a guest's directory with its mark, both at once.
func (s state) make(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	young := s.young(r.ID)
	if err := errors.Join(os.RemoveAll(young), os.Mkdir(young, 0o711), os.Chmod(young, 0o711)); err != nil {
		return err
	}
	if err := statedir.Replace(filepath.Join(young, "mark.json"), append(b, '\n')); err != nil {
		return err
	}
	return install(young, s.guest(r.ID))
}

// remove removes a guest's directory, all at once for who looks at guests/.
func (s state) remove(guest string) error {
	if err := os.RemoveAll(s.young(guest)); err != nil {
		return err
	}
	temp := s.path("trash", guest+"-"+id.Random())
	if err := os.Rename(s.guest(guest), temp); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := syncPath(s.path("guests")); err != nil {
		return err
	}
	return os.RemoveAll(temp)
}

// tombstone is the greatest generation undefined; 0 means none.
func (s state) tombstone(id string) (int64, error) { return number(s.path("tombstones", id)) }

// number reads a file that holds one; 0 means that there is no file.
func number(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, statedir.Explain(path, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n <= 0 {
		return 0, fault.New(fault.Corrupt, "%s does not hold a number from 1: %q; write one into it by hand", path, b)
	}
	return n, nil
}

// bury raises the tombstone to the generation. The caller holds the guest's lock.
func (s state) bury(id string, generation int64) error {
	_, err := atLeast(s.path("tombstones", id), generation)
	return err
}

// atLeast raises the number in a file, durably, and returns what it is then. The caller holds a lock.
func atLeast(path string, n int64) (int64, error) {
	old, err := number(path)
	if err != nil || old >= n {
		return old, err
	}
	return n, statedir.Explain(path, statedir.Replace(path, []byte(strconv.FormatInt(n, 10)+"\n")))
}

// remember keeps the greatest epoch of a cloud.
func (s state) remember(ctx context.Context, cloud string, epoch int64) (int64, error) {
	if err := statedir.Key(cloud); err != nil {
		return 0, err
	}
	if epoch == 0 {
		return number(s.path("epochs", cloud))
	}
	unlock, err := s.lock(ctx, "epoch-"+cloud)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return atLeast(s.path("epochs", cloud), epoch)
}

// take raises the guest's turn, and refuses one that is over. The caller holds the guest's lock.
func (s state) take(r computedriver.Ref) error {
	path := filepath.Join(s.guest(r.ID), "turn")
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return statedir.Explain(path, err)
	}
	last := int64(0)
	if err == nil {
		if last, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err != nil {
			return fault.New(fault.Corrupt, "%s is not a turn: %q; remove it", path, b)
		}
	}
	switch {
	case r.Turn < last:
		return fault.New(fault.Stale, "turn %d was called, %d is older", last, r.Turn)
	case r.Turn == last:
		return nil
	}
	return statedir.Replace(path, []byte(strconv.FormatInt(r.Turn, 10)+"\n"))
}

// install renames a finished file into place, for good.
func install(temp, path string) error {
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// syncPath brings a file or directory to disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// blocked names the first directory on the way to path that other users, such as QEMU's, cannot pass; "" means none.
func blocked(path string) string {
	found := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		if i, err := os.Stat(dir); err == nil && i.IsDir() && i.Mode()&0o001 == 0 {
			found = dir
		}
		if dir == filepath.Dir(dir) {
			return found
		}
	}
}
