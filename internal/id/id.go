// Package id makes the identifiers of this module: random UUIDs, drawn from
// a Source so that a rerun of the same work draws the same ones.
package id

import (
	crand "crypto/rand"
	"math/rand/v2"

	"github.com/google/uuid"
)

// Source draws ids. It is not safe for concurrent use.
type Source struct{ r *rand.ChaCha8 }

// NewSource returns the Source of a seed.
func NewSource(seed [32]byte) *Source { return &Source{rand.NewChaCha8(seed)} }

// Seed returns 32 unpredictable bytes.
func Seed() [32]byte {
	var s [32]byte
	crand.Read(s[:]) // never fails: documented by crypto/rand
	return s
}

// New returns a version 4 UUID in the usual 36 characters.
func (s *Source) New() string {
	var b [16]byte
	s.r.Read(b[:])
	return format(b)
}

// Bytes fills n bytes.
func (s *Source) Bytes(n int) []byte {
	b := make([]byte, n)
	s.r.Read(b)
	return b
}

// Random returns a version 4 UUID that no rerun repeats.
func Random() string { return uuid.NewString() }

// IsUUID reports whether text is a UUID in one of the usual forms.
func IsUUID(text string) bool { return uuid.Validate(text) == nil }

func format(b [16]byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return uuid.UUID(b).String()
}
