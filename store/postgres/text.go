package postgres

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// kindText is a kind or the name of an index as the tables hold it: itself, or \x and hexadecimal when it
// is no text for the database. Only equality matters for these.
func kindText(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) && !strings.HasPrefix(s, `\x`) {
		return s
	}
	return `\x` + hex.EncodeToString([]byte(s))
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
