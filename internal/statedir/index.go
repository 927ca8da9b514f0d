package statedir

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// An index says where the documents of a journal are, up to some byte of it; whoever opens the journal reads only what is behind that:
//
//	nubecula index 1 CHECKSUM OF WHAT FOLLOWS
//	END LIVE CHECKSUM OF THE JOURNAL'S LAST BYTES BEFORE END
//	guests BYTES OF ITS LINES
//	6fd1… OFFSET LENGTH
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
	indexSample = 4 << 10
)

// places says where a table's documents are. A nil one has none.
type places struct {
	at     map[string]*place
	folded []byte // lines of an index, until somebody asks
}

// all returns the places by key.
func (p *places) all() map[string]*place {
	switch {
	case p == nil:
		return nil
	case p.at == nil:
		room := make([]place, 0, bytes.Count(p.folded, []byte{'\n'}))
		p.at = make(map[string]*place, cap(room))
		eachPlace(p.folded, func(key []byte, at place) {
			room = append(room, at)
			p.at[string(key)] = &room[len(room)-1]
		})
		p.folded = nil
	}
	return p.at
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
	data, err := os.ReadFile(filepath.Join(j.dir, indexName))
	if err != nil {
		return
	}
	head, body, _ := bytes.Cut(data, []byte{'\n'})
	if string(head) != indexHeader+" "+checksum(body) {
		return
	}
	first, lines, _ := bytes.Cut(body, []byte{'\n'})
	f := bytes.Fields(first)
	if len(f) != 3 || number(f[0]) < 1 || number(f[0]) > size {
		return
	}
	end := number(f[0])
	if sum, ok := j.sample(end); !ok || sum != string(f[2]) {
		return
	}
	at := map[string]*places{}
	for len(lines) > 0 {
		line, rest, _ := bytes.Cut(lines, []byte{'\n'})
		table, length, _ := bytes.Cut(line, []byte{' '})
		n := number(length)
		if n > int64(len(rest)) || !eachPlace(rest[:n], func([]byte, place) {}) {
			return
		}
		at[string(table)], lines = &places{folded: rest[:n]}, rest[n:]
	}
	j.at, j.end, j.indexed, j.live = at, end, end, number(f[1])
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
	var lines bytes.Buffer
	body := fmt.Appendf(nil, "%d %d %s\n", j.end, j.live, sum)
	for _, table := range slices.Sorted(maps.Keys(j.at)) {
		lines.Reset()
		lines.Write(j.at[table].folded)
		for key, p := range j.at[table].at {
			fmt.Fprintf(&lines, "%s %d %d\n", key, p.off, p.n)
		}
		body = append(fmt.Appendf(body, "%s %d\n", table, lines.Len()), lines.Bytes()...)
	}
	name, next := filepath.Join(j.dir, indexName), filepath.Join(j.dir, ".new-"+indexName)
	err := os.WriteFile(next, fmt.Appendf(nil, "%s %s\n%s", indexHeader, checksum(body), body), 0o600)
	if err == nil {
		err = os.Rename(next, name)
	}
	if err != nil {
		_ = os.Remove(next)
	}
}
