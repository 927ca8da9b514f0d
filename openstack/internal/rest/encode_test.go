package rest

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// plain is what encoding/json makes of a value without its escapes for HTML.
func plain(t *testing.T, v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	require.NoError(t, e.Encode(v))
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func TestEncodeAsEncodingJSON(t *testing.T) {
	t.Parallel()
	number := 1.5
	for _, v := range []any{
		nil, true, false, 0, -7, int64(1) << 60, 2.25, "", "plain", "a\"b\\c", "<&>", "\b\f\n\r\t\x00\x1f\x7f", "é\u2028\u2029\U0001F600", "bad \xff utf-8 \xc3",
		[]string(nil), []string{}, []string{"a", "b"}, map[string]string(nil), map[string]string{"z": "1", "a": "2", "": "3"},
		map[string]any{"b": []any{1, "x", nil}, "a": map[string]any{}}, []map[string]any{nil, {"k": &number}}, []any(nil),
		Link{Rel: "self", Href: "http://x/?a=1&b=2"}, []Link{{Rel: "next", Href: "/"}, {Rel: "alternate", Href: "h", Type: "text/html"}},
		json.RawMessage(`{"b": 1, "a":2}`), struct {
			A int `json:"a,omitempty"`
		}{}, &number, uint8(3),
	} {
		require.Equal(t, plain(t, v), string(Encode(v)))
	}
}

func TestDoc(t *testing.T) {
	t.Parallel()
	d := Doc{{"z", 1}, {"a", []Doc{{{"x", nil}}, {}}}}
	require.Equal(t, `{"z":1,"a":[{"x":null},{}]}`, string(Encode(d)))
	require.Equal(t, `{"d":{"z":1,"a":[{"x":null},{}]}}`, plain(t, map[string]any{"d": d}))
}

func FuzzEncodeString(f *testing.F) {
	f.Add("a\"\x00\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		require.Equal(t, plain(t, s), string(Encode(s)))
		require.Equal(t, plain(t, map[string]any{s: s}), string(Encode(map[string]any{s: s})))
	})
}
