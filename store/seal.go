package store

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
)

// KeySize is the length of the key that seals secrets, in bytes.
const KeySize = 32

const sealPrefix = "sealed:v1:"

// Seal encrypts a secret for a document with the Store's key (AES-256-GCM).
// The same Update run again gives the same text.
func (tx *Tx) Seal(secret []byte) string {
	nonce := tx.ids.source().Bytes(tx.s.aead.NonceSize())
	return sealPrefix + base64.RawStdEncoding.EncodeToString(tx.s.aead.Seal(nonce, nonce, secret, nil))
}

// Unseal decrypts what Seal made. Corrupt: it is damaged or sealed with another key.
func (tx *Tx) Unseal(text string) ([]byte, error) { return tx.s.Unseal(text) }

// Unseal decrypts what Tx.Seal made. Corrupt: it is damaged or sealed with another key.
func (s *Store) Unseal(text string) ([]byte, error) {
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(text, sealPrefix))
	n := s.aead.NonceSize()
	if err != nil || !strings.HasPrefix(text, sealPrefix) || len(raw) < n {
		return nil, fault.New(fault.Corrupt, "a sealed secret is damaged")
	}
	plain, err := s.aead.Open(nil, raw[:n], raw[n:], nil)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "a sealed secret does not open with this key: use the key that the store was made with")
	}
	return plain, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, fault.InvalidField("Key", len(key), "the sealing key must have 32 bytes; store.KeyFile keeps one in a file")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// NewKey returns a random sealing key.
func NewKey() []byte { s := id.Seed(); return s[:] }

// KeyFile returns the sealing key that a file holds, and makes the file (mode 0600) when there is none.
func KeyFile(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = writeKey(path, NewKey()); err == nil || errors.Is(err, fs.ErrExist) {
			key, err = os.ReadFile(path) // another process may have been first
		}
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "sealing key: %w", err)
	}
	if len(key) != KeySize {
		return nil, fault.New(fault.Corrupt, "sealing key %s has %d bytes, not 32: restore it from a backup; without it no secret in the store can be read", path, len(key))
	}
	return key, nil
}

// writeKey makes the file whole or not at all, never replaces one, and is durable: what is sealed with a lost key is lost.
func writeKey(path string, key []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
