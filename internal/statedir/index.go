package statedir

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// An index says where the documents of a journal are, up to some byte of it; whoever opens the journal reads only what is behind that:
//
//	nubecula index 1 CHECKSUM OF THE LINES BEFORE THE EMPTY ONE
//	END LIVE CHECKSUM OF THE JOURNAL'S LAST BYTES BEFORE END
//	guests BYTES OF ITS LINES, THEIR CHECKSUM
//
//	6fd1… OFFSET LENGTH
//
// The lines of a table are read when somebody asks for one of its documents; those of small tables come first, and with the head.
//
// It is made when a Space is closed, of a journal that has grown by much, and after the journal has reached the disk: a power cut leaves no hole in
// what is not read again. It is a hint. One that is damaged, or is of another journal, is as good as none, and each document is looked
// at, when it is read, whether it is the one that the index says. Then all of the journal is read, as without an index.
const (
	indexName   = "documents.index"
	indexHeader = "nubecula index 1"
	// indexSlack is how much of a journal may be missing from its index. To read so much costs less than to write an index.
	indexSlack = 64 << 10
	// indexSample is how much of the journal shows that the index is its.
	indexSample = 1 << 10
	// indexHead is how much of an index is read at first.
	indexHead = 2 << 10
)

// places says where a table's documents are.
type places struct {
	at     map[string]*place // nil: in the index
	folded section
}

// section is where in an index the lines of a table are.
type section struct {
	off, n int64
	sum    string
	lines  []byte // nil: they were not read yet
}

// errIndex says that an index is not what it seemed to be.
var errIndex = errors.New("the index is damaged, or another")

// table returns where a table's documents are, by key.
func (j *journal) table(name string) (map[string]*place, error) {
	p := j.at[name]
	if p == nil {
		return nil, nil
	}
	if p.at == nil {
		if err := j.unfold(p); err != nil {
			return nil, err
		}
	}
	return p.at, nil
}

// docs is table for those who are not reading the journal: where the index is wrong, they do.
func (j *journal) docs(table string) (map[string]*place, error) {
	docs, err := j.table(table)
	if err != nil {
		if err = j.dropIndex(); err == nil {
			docs, err = j.table(table)
		}
	}
	return docs, err
}

// unfold takes in the lines of a table.
func (j *journal) unfold(p *places) error {
	lines := p.folded.lines
	if lines == nil {
		f, err := os.Open(filepath.Join(j.dir, indexName))
		if err != nil {
			return errIndex
		}
		defer f.Close()
		if info, err := f.Stat(); err != nil || p.folded.off+p.folded.n > info.Size() {
			return errIndex
		}
		lines = make([]byte, p.folded.n)
		if _, err := f.ReadAt(lines, p.folded.off); err != nil {
			return errIndex
		}
	}
	if checksum(lines) != p.folded.sum {
		return errIndex
	}
	room := make([]place, 0, bytes.Count(lines, []byte{'\n'}))
	at := make(map[string]*place, cap(room))
	if !eachPlace(lines, func(key []byte, p place) {
		room = append(room, p)
		at[string(key)] = &room[len(room)-1]
	}) {
		return errIndex
	}
	p.at, p.folded = at, section{}
	return nil
}

// eachPlace calls f for each line of a table, and reports whether they are such lines.
func eachPlace(lines []byte, f func(key []byte, at place)) bool {
	for len(lines) > 0 {
		line, rest, ok := bytes.Cut(lines, []byte{'\n'})
		key, numbers, ok2 := bytes.Cut(line, []byte{' '})
		offset, length, ok3 := bytes.Cut(numbers, []byte{' '})
		off, n := number(offset), number(length)
		if !ok || !ok2 || !ok3 || off < 1 || n < 1 || n > math.MaxInt32 {
			return false
		}
		f(key, place{off, int32(n)})
		lines = rest
	}
	return true
}

// number reads a number above 0; otherwise it returns 0.
func number(digits []byte) (n int64) {
	for _, d := range digits {
		if d < '0' || d > '9' || n > math.MaxInt64/100 {
			return 0
		}
		n = 10*n + int64(d-'0')
	}
	return n
}

func checksum(b []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))), 16)
}

// sample is the checksum of the last bytes of the journal before end, where a line ends.
func (j *journal) sample(end int64) (sum string, ok bool) {
	b := make([]byte, min(end, indexSample))
	_, err := j.file.ReadAt(b, end-int64(len(b)))
	return checksum(b), err == nil && bytes.HasSuffix(b, []byte{'\n'})
}

// loadIndex takes in what the index says of the journal, which was just opened and has a size. Without a right one it does nothing.
func (j *journal) loadIndex(size int64) {
	if size <= indexSlack {
		return
	}
	f, err := os.Open(filepath.Join(j.dir, indexName))
	if err != nil {
		return
	}
	defer f.Close()
	data := make([]byte, indexHead)
	n, _ := f.ReadAt(data, 0)
	head, sections, ok := bytes.Cut(data[:n], []byte("\n\n"))
	header, lines, _ := bytes.Cut(head, []byte{'\n'})
	if !ok || string(header) != indexHeader+" "+checksum(lines) {
		return
	}
	first, tables, _ := bytes.Cut(lines, []byte{'\n'})
	fields := bytes.Fields(first)
	if len(fields) != 3 || number(fields[0]) < 1 || number(fields[0]) > size {
		return
	}
	end := number(fields[0])
	if sum, ok := j.sample(end); !ok || sum != string(fields[2]) {
		return
	}
	at, off := map[string]*places{}, int64(n-len(sections))
	for line := range bytes.Lines(tables) {
		t := bytes.Fields(line)
		if len(t) != 3 || number(t[1]) < 1 || number(t[1]) > math.MaxInt32 {
			return
		}
		s := section{off: off, n: number(t[1]), sum: string(t[2])}
		if off += s.n; off <= int64(n) {
			s.lines = data[s.off:off]
		}
		at[string(t[0])] = &places{folded: s}
	}
	j.at, j.end, j.indexed, j.live = at, end, end, number(fields[1])
}

// dropIndex reads all of the journal in place of an index that is wrong.
func (j *journal) dropIndex() error {
	if err := removeIndex(j.dir); err != nil {
		return Explain(j.dir, err)
	}
	j.forget()
	if err := j.open(os.O_RDWR); err != nil {
		return err
	}
	return j.readOn(j.info.Size())
}

func removeIndex(dir string) error {
	err := os.Remove(filepath.Join(dir, indexName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// rest makes an index if much of the journal is in none. If that fails, the next to open the journal reads it.
func (j *journal) rest() {
	if j.end-j.indexed <= indexSlack || j.refresh() != nil || j.file == nil || j.end-j.indexed <= indexSlack {
		return
	}
	sum, ok := j.sample(j.end)
	if !ok || j.file.Sync() != nil {
		return
	}
	type table struct {
		name  string
		lines []byte
	}
	var all []table
	for name := range j.at {
		docs, err := j.table(name)
		if err != nil {
			return
		}
		t := table{name: name}
		for key, p := range docs {
			t.lines = fmt.Appendf(t.lines, "%s %d %d\n", key, p.off, p.n)
		}
		if len(docs) > 0 {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b table) int {
		return cmp.Or(cmp.Compare(len(a.lines), len(b.lines)), cmp.Compare(a.name, b.name))
	})
	head, body := fmt.Appendf(nil, "%d %d %s", j.end, j.live, sum), []byte("\n\n")
	for _, t := range all {
		head = fmt.Appendf(head, "\n%s %d %s", t.name, len(t.lines), checksum(t.lines))
		body = append(body, t.lines...)
	}
	name, next := filepath.Join(j.dir, indexName), filepath.Join(j.dir, ".new-"+indexName)
	err := os.WriteFile(next, fmt.Appendf(nil, "%s %s\n%s%s", indexHeader, checksum(head), head, body), 0o600)
	if err == nil {
		err = os.Rename(next, name)
	}
	if err != nil {
		_ = os.Remove(next)
	}
}
