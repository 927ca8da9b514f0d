// Package fileimage keeps image data as files of one directory.
//
//	ID.data           complete data
//	ID.RANDOM.part    a Put under way, which holds a lock on it; without a lock, what a killed one left
//	.epoch-CLOUD      the newest epoch of a Cloud's store that was seen here
//
// A Put writes its part, makes it durable and renames it: at every instant
// ID.data is whole or not there. Several processes may use one directory.
package fileimage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/filelock"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/statedir"
)

const (
	whole = ".data"
	part  = ".part"
)

// Store is an imagedriver.Store on a directory.
type Store struct {
	dir   string
	write func(f *os.File, p []byte) (int, error)
}

var (
	_ imagedriver.Store      = (*Store)(nil)
	_ imagedriver.Rememberer = (*Store)(nil)
)

// New returns the store in the directory, which it makes if need be, with mode 0755: hypervisors read
// the files. Unavailable when the directory cannot be written.
func New(dir string) (*Store, error) {
	if dir == "" {
		return nil, fault.InvalidField("dir", dir, "name a directory")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, statedir.Explain(dir, err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return nil, statedir.Explain(abs, err)
	}
	s := &Store{dir: abs, write: (*os.File).Write}
	probe, err := s.create(".probe") // no id begins with a dot
	if err == nil {
		discard(probe)
	} else if !fault.Is(err, fault.Exhausted) { // a full disk can still be read
		return nil, err
	}
	return s, nil
}

// Close does nothing: the directory is not held open.
func (s *Store) Close() error { return nil }

func (s *Store) path(id string) string { return filepath.Join(s.dir, id+whole) }

// exclusive locks the directory for a moment, so that nobody takes a part that is about to be locked for
// one that nobody writes.
func (s *Store) exclusive() (unlock func(), err error) {
	d, err := os.Open(s.dir)
	if err != nil {
		return nil, statedir.Explain(s.dir, err)
	}
	if err := filelock.Lock(d); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		_ = d.Close()
		return nil, statedir.Explain(s.dir, err)
	}
	return func() { _ = filelock.Close(d) }, nil
}

// create makes a part for the id and locks it.
func (s *Store) create(imageID string) (*os.File, error) {
	unlock, err := s.exclusive()
	if err != nil {
		return nil, err
	}
	defer unlock()
	name := filepath.Join(s.dir, imageID+"."+strings.ReplaceAll(id.Random(), "-", "")+part)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, statedir.Explain(name, err)
	}
	if _, err := filelock.TryLock(f); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		discard(f)
		return nil, statedir.Explain(name, err)
	}
	return f, nil
}

func discard(f *os.File) {
	_ = os.Remove(f.Name())
	_ = filelock.Close(f)
}

// begin returns ctx's error, or Invalid for an id that cannot be the name of a file.
func begin(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return statedir.Key(id)
}

// about names the image in an error and keeps its code.
func about(id, msg string, err error) error {
	return &fault.Error{Code: fault.CodeOf(err), Kind: "image", ID: id, Msg: msg, Err: err}
}

// Put writes r to a file. What was there before is removed first. Of several Puts of one id the last to end
// wins; one whose part was deleted meanwhile fails with Conflict.
func (s *Store) Put(ctx context.Context, id string, r io.Reader) (int64, error) {
	if err := begin(ctx, id); err != nil {
		return 0, err
	}
	f, err := s.create(id)
	if err != nil {
		return 0, about(id, "", err)
	}
	n, err := s.fill(ctx, id, f, r)
	if err != nil {
		discard(f)
		return 0, about(id, "nothing was kept", err)
	}
	return n, nil
}

func (s *Store) fill(ctx context.Context, id string, f *os.File, r io.Reader) (int64, error) {
	if err := s.clear(id, f.Name()); err != nil {
		return 0, err
	}
	n, err := s.copy(ctx, f, r)
	if err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, statedir.Explain(f.Name(), err)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err = os.Rename(f.Name(), s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fault.New(fault.Conflict, "it was deleted or put again meanwhile")
	}
	if err != nil {
		return 0, statedir.Explain(s.path(id), err)
	}
	if err := errors.Join(statedir.SyncDir(s.dir), filelock.Close(f)); err != nil {
		_ = os.Remove(s.path(id))
		return 0, statedir.Explain(s.dir, err)
	}
	return n, nil
}

func (s *Store) copy(ctx context.Context, f *os.File, r io.Reader) (total int64, err error) {
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, end := r.Read(buf)
		if _, err := s.write(f, buf[:n]); err != nil {
			return 0, statedir.Explain(f.Name(), err)
		}
		total += int64(n)
		if end == io.EOF {
			return total, nil
		}
		if end != nil {
			return 0, end
		}
	}
}

// clear removes the data of the id and the parts of it that no Put is writing.
func (s *Store) clear(id, except string) error {
	unlock, err := s.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	if err := remove(s.path(id)); err != nil {
		return err
	}
	parts, err := s.parts(id)
	for _, p := range parts {
		if p != except && !live(p) {
			err = errors.Join(err, remove(p))
		}
	}
	return err
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return statedir.Explain(path, err)
	}
	return nil
}

// live reports whether a Put is writing the part.
func live(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer filelock.Close(f)
	free, err := filelock.TryLock(f)
	return err == nil && !free
}

// parts returns the paths of the id's parts.
func (s *Store) parts(id string) (paths []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, statedir.Explain(s.dir, err)
	}
	for _, e := range entries {
		if of, ok := partOf(e.Name()); ok && of == id {
			paths = append(paths, filepath.Join(s.dir, e.Name()))
		}
	}
	return paths, nil
}

// partOf returns the id whose part has that name.
func partOf(name string) (id string, ok bool) {
	if name, ok = strings.CutSuffix(name, part); !ok {
		return "", false
	}
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || statedir.Key(name[:dot]) != nil {
		return "", false
	}
	return name[:dot], true
}

// Open opens the file. A reader that is open goes on when the data is deleted.
func (s *Store) Open(ctx context.Context, id string, offset int64) (io.ReadCloser, error) {
	if err := begin(ctx, id); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fault.InvalidField("offset", offset, "count from 0")
	}
	f, err := os.Open(s.path(id))
	if err != nil {
		return nil, about(id, "", s.missing(id, err))
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, about(id, "", statedir.Explain(s.path(id), err))
	}
	return f, nil
}

func (s *Store) missing(id string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "it has no data; upload it first")
	}
	return statedir.Explain(s.path(id), err)
}

// Delete removes the data and every part, also that of a Put under way, which then fails.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := begin(ctx, id); err != nil {
		return err
	}
	parts, err := s.parts(id)
	for _, p := range append(parts, s.path(id)) {
		err = errors.Join(err, remove(p))
	}
	if err == nil {
		err = statedir.Explain(s.dir, statedir.SyncDir(s.dir))
	}
	if err != nil {
		return about(id, "", err)
	}
	return nil
}

// Locate returns the file's path.
func (s *Store) Locate(ctx context.Context, id string) (imagedriver.Location, error) {
	if err := begin(ctx, id); err != nil {
		return imagedriver.Location{}, err
	}
	if _, err := os.Stat(s.path(id)); err != nil {
		return imagedriver.Location{}, about(id, "", s.missing(id, err))
	}
	return imagedriver.Location{Path: s.path(id)}, nil
}

// Images lists the directory in the order of the ids. A Put under way is not listed; other files are passed over.
func (s *Store) Images(ctx context.Context) ([]imagedriver.Data, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, statedir.Explain(s.dir, err)
	}
	found := map[string]imagedriver.Data{}
	for _, e := range entries {
		id, complete := strings.CutSuffix(e.Name(), whole)
		torn := false
		if !complete {
			id, torn = partOf(e.Name())
		}
		if !complete && !torn || statedir.Key(id) != nil || torn && live(filepath.Join(s.dir, e.Name())) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since the directory was read
		}
		if err != nil {
			return nil, statedir.Explain(filepath.Join(s.dir, e.Name()), err)
		}
		old, known := found[id]
		switch {
		case !known || old.Torn && complete:
			found[id] = imagedriver.Data{ID: id, SizeBytes: info.Size(), Torn: torn}
		case old.Torn && torn:
			old.SizeBytes += info.Size()
			found[id] = old
		}
	}
	all := make([]imagedriver.Data, 0, len(found))
	for _, d := range found {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b imagedriver.Data) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// Remember keeps how new a Cloud's store was.
func (s *Store) Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error) {
	if err := begin(ctx, cloud); err != nil {
		return 0, err
	}
	unlock, err := s.exclusive()
	if err != nil {
		return 0, err
	}
	defer unlock()
	path := filepath.Join(s.dir, ".epoch-"+cloud)
	text, err := os.ReadFile(path)
	if err == nil {
		newest, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || newest < 1 {
			return 0, fault.New(fault.Corrupt, "%s is not a number from 1: %q; write the greatest one into it that cloud %s can have had, or 1", path, text, cloud)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, statedir.Explain(path, err)
	}
	if epoch <= newest {
		return newest, nil
	}
	return epoch, statedir.Explain(path, statedir.Replace(path, []byte(strconv.FormatInt(epoch, 10)+"\n")))
}
