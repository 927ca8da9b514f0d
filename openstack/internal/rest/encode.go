package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Doc is a JSON object whose fields are written in the order in which they were added. It costs a third of a
// map, which matters in long lists.
type Doc []Field

// Field is a field of a Doc. No two have one name.
type Field struct {
	Name  string
	Value any
}

// MarshalJSON implements json.Marshaler.
func (d Doc) MarshalJSON() ([]byte, error) { return d.Append(nil), nil }

// Append appends the Doc's JSON.
func (d Doc) Append(b []byte) []byte {
	b = append(b, '{')
	for i := range d {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, d[i].Name), ':')
		b = appendJSON(b, d[i].Value)
	}
	return append(b, '}')
}

// Encode returns v as JSON. What the views return can always be encoded; a defect is shown as such.
func Encode(v any) []byte { return appendJSON(nil, v) }

// appendJSON writes what views are made of without reflection, and leaves the rest to encoding/json.
// The bytes are those that encoding/json would write, without its escapes for HTML.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case Doc:
		return v.Append(b)
	case Parts:
		return v.append(b)
	case []Doc:
		return appendList(b, v, func(b []byte, d Doc) []byte { return d.Append(b) })
	case map[string]any:
		return appendMap(b, v, appendJSON)
	case []map[string]any:
		return appendList(b, v, func(b []byte, m map[string]any) []byte { return appendMap(b, m, appendJSON) })
	case map[string]string:
		return appendMap(b, v, appendString)
	case []string:
		return appendList(b, v, appendString)
	case []any:
		return appendList(b, v, appendJSON)
	case []Link:
		return appendList(b, v, appendLink)
	case Link:
		return appendLink(b, v)
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("rest: a reply cannot be encoded: %v", err))
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

func appendList[T any](b []byte, list []T, add func([]byte, T) []byte) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = add(b, v)
	}
	return append(b, ']')
}

func appendMap[T any](b []byte, m map[string]T, add func([]byte, T) []byte) []byte {
	if m == nil {
		return append(b, "null"...)
	}
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		b = add(b, m[name])
	}
	return append(b, '}')
}

func appendLink(b []byte, l Link) []byte {
	b = appendString(append(b, `{"rel":`...), l.Rel)
	b = appendString(append(b, `,"href":`...), l.Href)
	if l.Type != "" {
		b = appendString(append(b, `,"type":`...), l.Type)
	}
	return append(b, '}')
}

// appendString writes a text. Nearly all texts need no escape.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			if r, n = utf8.DecodeRuneInString(s[i:]); !(r == utf8.RuneError && n == 1) && r != '\u2028' && r != '\u2029' {
				i += n
				continue
			}
		}
		b = append(b, s[start:i]...)
		b = appendEscape(b, r)
		i += n
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(b, '\\', byte(r))
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
