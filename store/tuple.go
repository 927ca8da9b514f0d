package store

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Tuple is an index key: strings, ints, int64s, bools and times, ordered
// element by element. A tuple sorts before every longer tuple that starts with it.
type Tuple []any

const (
	tagEnd    = 0x00
	tagFalse  = 0x01
	tagTrue   = 0x02
	tagInt    = 0x03
	tagTime   = 0x04
	tagString = 0x05
	tagAfter  = 0x06 // behind every tag, and before what an escaped NUL goes on with
)

// Encode returns bytes that sort as the tuple does. It panics on a type that tuples do not have.
func (t Tuple) Encode() []byte { return t.append(make([]byte, 0, 48)) }

func (t Tuple) append(b []byte) []byte {
	for _, v := range t {
		switch v := v.(type) {
		case string:
			b = append(b, tagString)
			for i := range len(v) {
				if v[i] == 0 {
					b = append(b, 0, 0xff)
				} else {
					b = append(b, v[i])
				}
			}
			b = append(b, tagEnd)
		case int:
			b = appendInt(append(b, tagInt), int64(v))
		case int64:
			b = appendInt(append(b, tagInt), v)
		case time.Time:
			b = appendTime(append(b, tagTime), v)
		case bool:
			if v {
				b = append(b, tagTrue)
			} else {
				b = append(b, tagFalse)
			}
		default:
			panic(fmt.Sprintf("store: a tuple cannot hold a %T", v))
		}
	}
	return b
}

func appendInt(b []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(v)^1<<63)
}

// appendTime keeps seconds and nanoseconds, so that the zero time sorts first.
func appendTime(b []byte, t time.Time) []byte {
	b = appendInt(b, t.Unix())
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}
