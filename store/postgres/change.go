package postgres

import (
	"encoding/binary"
	"errors"

	"github.com/nubecula/cloud/store"
)

// change is one thing that a commit has written: a document (index "", key its id) or an index entry.
type change struct {
	space
	key    string
	id     string     // of the entry's document
	delete bool       // it is gone
	doc    *store.Doc // the document, when it travels with the change
}

// space is one index of a kind; index "" stands for the documents themselves.
type space struct{ kind, index string }

// carryBytes is the longest body that travels with the change, so that other replicas need not read it again.
const carryBytes = 16 << 10

// changesOf lists what a transaction writes.
func changesOf(docs []store.DocWrite, index []store.IndexWrite) []change {
	out := make([]change, 0, len(docs)+len(index))
	for i := range docs {
		w := &docs[i]
		c := change{space: space{kind: w.Kind}, key: w.ID, id: w.ID, delete: w.Delete}
		if !w.Delete {
			c.doc = &w.Doc
		}
		out = append(out, c)
	}
	for i := range index {
		w := &index[i]
		out = append(out, change{space: space{w.Kind, w.Index}, key: string(w.Key), id: w.ID, delete: w.Delete})
	}
	return out
}

const (
	isDelete = 1 << iota
	hasDoc
)

// encodeChanges is the form in which changes lie in table change.
func encodeChanges(changes []change) []byte {
	size := 0
	for i := range changes {
		size += 40 + len(changes[i].key) + len(changes[i].id)
		if d := changes[i].doc; d != nil && len(d.Body) <= carryBytes {
			size += len(d.Body)
		}
	}
	b := make([]byte, 0, size)
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for i := range changes {
		c := &changes[i]
		carried := c.doc != nil && len(c.doc.Body) <= carryBytes
		var flags byte
		if c.delete {
			flags |= isDelete
		}
		if carried {
			flags |= hasDoc
		}
		b = append(b, flags)
		text(c.kind)
		text(c.index)
		text(c.key)
		if c.index != "" {
			text(c.id)
		}
		if carried {
			b = binary.AppendVarint(b, int64(c.doc.Version))
			b = binary.AppendVarint(b, c.doc.Rev)
			text(string(c.doc.Body))
		}
	}
	return b
}

var errChanges = errors.New("postgres: a row of table change is damaged")

// decodeChanges reads what encodeChanges wrote.
func decodeChanges(b []byte) (out []change, err error) {
	bad := false
	number := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[n:]
		return v
	}
	text := func() string {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			bad, b = true, nil
			return ""
		}
		s := string(b[n : n+int(size)])
		b = b[n+int(size):]
		return s
	}
	for len(b) > 0 && !bad {
		flags := b[0]
		b = b[1:]
		c := change{delete: flags&isDelete != 0}
		c.kind, c.index, c.key = text(), text(), text()
		c.id = c.key
		if c.index != "" {
			c.id = text()
		}
		if flags&hasDoc != 0 {
			c.doc = &store.Doc{Kind: c.kind, ID: c.id, Version: int(number()), Rev: number(), Memo: new(store.Memo)}
			c.doc.Body = []byte(text())
		}
		out = append(out, c)
	}
	if bad {
		return nil, errChanges
	}
	return out, nil
}
