package statedir

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nubecula/cloud/fault"
)

// A journal keeps all documents of a directory in one file, to which each change appends a line:
//
//	nubecula documents 2
//	guests 6fd1… {"mark":…}
//	guests 6fd1…
//
// The last line about a document counts; one without a document removes it. Making or replacing a file for each document costs a
// file system, above all ext4, many times as much. When more than half of the file does not count any more it is written anew, in
// place of the old one. Whoever has the Space's lock reads first what others have appended. An index beside it spares who opens it most of
// the reading.
type journal struct {
	dir     string
	file    *os.File // nil: not open, or not there
	info    os.FileInfo
	at      map[string]*places // by table
	end     int64              // of what was read and written
	indexed int64              // of what the index lists; 0: there is none, or a wrong one
	live    int64              // bytes of lines that count
	limit   int64              // the length at which it is written anew
	line    []byte             // room for one
}

// place is where a document is.
type place struct {
	off int64
	n   int32
}

const (
	journalName   = "documents.log"
	journalHeader = "nubecula documents 2\n"
	// journalSlack is how much may be in vain at least before a journal is written anew.
	journalSlack = 256 << 10
)

func (j *journal) path() string { return filepath.Join(j.dir, journalName) }

// refresh reads what others have done since the last time.
func (j *journal) refresh() error {
	info, err := os.Stat(j.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		first := j.at == nil
		j.forget()
		if first {
			return j.adopt()
		}
		return nil
	case err != nil:
		return Explain(j.path(), err)
	}
	if j.file != nil && (!os.SameFile(info, j.info) || info.Size() < j.end) {
		j.forget()
	}
	if j.file == nil {
		j.forget()
		if err := j.open(os.O_RDWR); err != nil {
			return err
		}
		j.loadIndex(info.Size())
	}
	if info.Size() == j.end {
		return nil
	}
	return j.readOn(info.Size())
}

// readOn reads to the end of the file, which has a size.
func (j *journal) readOn(size int64) error {
	err := j.read(int(min(size-j.end+1, 64<<10)))
	if errors.Is(err, errIndex) {
		return j.dropIndex()
	}
	if err != nil {
		j.forget() // so that the next one reads all of it and says the same
	}
	return Explain(j.path(), err)
}

func (j *journal) open(flags int) error {
	f, err := os.OpenFile(j.path(), flags, 0o600)
	if err != nil {
		return Explain(j.path(), err)
	}
	if j.info, err = f.Stat(); err != nil {
		return Explain(j.path(), errors.Join(err, f.Close()))
	}
	j.file = f
	return nil
}

// forget makes the journal as if it were not there.
func (j *journal) forget() {
	j.close()
	j.at, j.end, j.indexed, j.live, j.limit = map[string]*places{}, 0, 0, 0, 0
}

func (j *journal) close() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}

// read takes in the lines behind the end. An unfinished one, or one with zeros, is what a kill or a power cut has left: the journal ends there.
func (j *journal) read(buffer int) error {
	r := bufio.NewReaderSize(io.NewSectionReader(j.file, j.end, 1<<62), buffer)
	var long []byte
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			continue
		}
		if len(long) > 0 {
			line, long = append(long, line...), long[:0]
		}
		switch {
		case err == io.EOF && len(line) == 0:
			return nil
		case err == io.EOF || err == nil && bytes.IndexByte(line, 0) >= 0:
			return j.file.Truncate(j.end)
		case err != nil:
			return err
		}
		if err := j.take(line); err != nil {
			return err
		}
	}
}

// take counts a line.
func (j *journal) take(line []byte) error {
	at := j.end
	if at == 0 {
		if string(line) != journalHeader {
			return fault.New(fault.Corrupt, "file %s begins with %.40q, this program knows %q: use the program that wrote it, or move it away to give up what it describes", j.path(), line, journalHeader)
		}
		j.end = int64(len(line))
		return nil
	}
	table, rest, ok := bytes.Cut(line[:len(line)-1], []byte{' '})
	key, doc, also := bytes.Cut(rest, []byte{' '})
	if !ok || !also || !isKey(table) || !isKey(key) {
		return fault.New(fault.Corrupt, "file %s is damaged at byte %d: %.60q is no line of it; restore it, or take that line out to give up what it describes", j.path(), at, line)
	}
	docs, err := j.table(string(table))
	if err != nil {
		return err
	}
	p := place{at + int64(len(line)-len(doc)-1), int32(len(doc))}
	if old := docs[string(key)]; old != nil && p.n > 0 { // as set, but the key needs no memory of its own
		j.live += int64(p.n - old.n)
		*old = p
	} else {
		j.set(string(table), string(key), p)
	}
	j.end = at + int64(len(line))
	return nil
}

// set counts a document; one of no length does not exist. Its table was asked for before, so it is not in the index any more.
func (j *journal) set(table, key string, p place) {
	if j.at[table] == nil {
		j.at[table] = &places{at: map[string]*place{}}
	}
	docs := j.at[table].at
	around := int64(len(table) + len(key) + 3)
	if old := docs[key]; old != nil {
		j.live -= around + int64(old.n)
	}
	if p.n == 0 {
		delete(docs, key)
		return
	}
	docs[key] = &p
	j.live += around + int64(p.n)
}

func (j *journal) get(table, key string) ([]byte, error) {
	doc, err := j.tryGet(table, key)
	if errors.Is(err, errIndex) {
		if err = j.dropIndex(); err == nil { // what it says of others is not believed either
			doc, err = j.tryGet(table, key)
		}
	}
	return doc, Explain(j.path(), err)
}

func (j *journal) tryGet(table, key string) ([]byte, error) {
	docs, err := j.table(table)
	if p := docs[key]; p != nil {
		return j.readLine(table, key, *p)
	}
	return nil, err
}

// readLine returns the document of a line.
func (j *journal) readLine(table, key string, p place) ([]byte, error) {
	n := len(table) + len(key) + 2
	line := make([]byte, n+int(p.n)+1)
	if _, err := j.file.ReadAt(line, p.off-int64(n)); err != nil && err != io.EOF { // a line that is cut off is another
		return nil, err
	}
	if rest, ok := bytes.CutPrefix(line, []byte(table+" "+key+" ")); !ok || rest[p.n] != '\n' {
		return nil, errIndex
	}
	return line[n : n+int(p.n)], nil
}

func (j *journal) where(table, key string) string {
	return "document " + table + " " + key + " in " + j.path()
}

// put appends a line; without a document it removes one.
func (j *journal) put(table, key string, doc []byte) error {
	if j.file == nil {
		if err := j.open(os.O_RDWR | os.O_CREATE); err != nil {
			return err
		}
	}
	if _, err := j.docs(table); err != nil {
		return err
	}
	begins := j.end
	j.line = j.line[:0]
	if begins == 0 {
		j.line = append(j.line, journalHeader...)
		begins = int64(len(journalHeader))
	}
	j.line = appendLine(j.line, table, key, doc)
	if _, err := j.file.WriteAt(j.line, j.end); err != nil {
		_ = j.file.Truncate(j.end) // if this fails too, the next to read sees an unfinished line and cuts it off
		return Explain(j.path(), err)
	}
	j.end += int64(len(j.line))
	j.set(table, key, place{j.end - int64(len(doc)) - 1, int32(len(doc))})
	if j.end > max(j.limit, 2*j.live+journalSlack) {
		j.shrink()
	}
	return nil
}

func appendLine(to []byte, table, key string, doc []byte) []byte {
	to = append(append(to, table...), ' ')
	to = append(append(to, key...), ' ')
	return append(append(to, doc...), '\n')
}

func (j *journal) remove(table, key string) error {
	if docs, err := j.docs(table); err != nil || docs[key] == nil {
		return err
	}
	return j.put(table, key, nil)
}

func (j *journal) keys(table string) ([]string, error) {
	docs, err := j.docs(table)
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(docs))
	for k := range docs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys, nil
}

// shrink writes a journal of what counts and puts it in the place of this one. If that fails, as on a full disk, this one stays and grows.
func (j *journal) shrink() {
	type doc struct {
		table, key string
		place
	}
	var docs []doc
	for table := range j.at {
		all, err := j.table(table)
		if err != nil {
			j.limit = j.end + journalSlack
			return
		}
		for key, p := range all {
			docs = append(docs, doc{table, key, *p})
		}
	}
	slices.SortFunc(docs, func(a, b doc) int { return cmp.Compare(a.off, b.off) })
	next := &journal{dir: j.dir}
	next.forget()
	err := next.write(func(add func(table, key string, doc []byte) error) error {
		for _, d := range docs {
			body, err := j.readLine(d.table, d.key, d.place)
			if err == nil {
				err = add(d.table, d.key, body)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		next.close()
		j.limit = j.end + journalSlack
		return
	}
	j.close()
	*j = *next
}

// write makes a journal of what fill adds, under another name until it is complete.
func (j *journal) write(fill func(add func(table, key string, doc []byte) error) error) error {
	name := filepath.Join(j.dir, ".new-"+journalName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return Explain(name, err)
	}
	w := bufio.NewWriterSize(f, 64<<10)
	_, err = w.WriteString(journalHeader)
	j.file, j.end = f, int64(len(journalHeader))
	if err == nil {
		err = fill(func(table, key string, doc []byte) error {
			j.line = appendLine(j.line[:0], table, key, doc)
			j.end += int64(len(j.line))
			j.set(table, key, place{j.end - int64(len(doc)) - 1, int32(len(doc))})
			_, err := w.Write(j.line)
			return err
		})
	}
	err = errors.Join(err, w.Flush())
	if err == nil {
		j.info, err = f.Stat()
	}
	if err == nil {
		err = removeIndex(j.dir) // first, so that it is never beside another journal
	}
	if err == nil {
		err = os.Rename(name, j.path())
	}
	if err != nil {
		_ = os.Remove(name)
	}
	return Explain(name, err)
}
