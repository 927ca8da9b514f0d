package store_test

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

func open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.New(memory.New(nil), store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	key, err := store.KeyFile(path)
	require.NoError(t, err)
	require.Len(t, key, store.KeySize)
	again, err := store.KeyFile(path)
	require.NoError(t, err)
	require.Equal(t, key, again)
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, st.Mode().Perm())
	beside, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, beside, 1)

	require.NoError(t, os.WriteFile(path, key[:5], 0o600))
	_, err = store.KeyFile(path)
	require.True(t, fault.Is(err, fault.Corrupt), "%v", err)
	require.ErrorContains(t, err, path)
	_, err = store.KeyFile(filepath.Join(path, "below"))
	require.Error(t, err)
	_, err = store.New(memory.New(nil), store.Options{Key: []byte("short")})
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
}

// TestKeyFileIsMadeOnce: of many processes that start at once in a new directory, none replaces another's key.
func TestKeyFileIsMadeOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	keys := make([][]byte, 64)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() { keys[i], _ = store.KeyFile(path) })
	}
	wg.Wait()
	for _, key := range keys {
		require.Equal(t, keys[0], key)
	}
}

// FuzzUnseal: no text makes Unseal panic or succeed unless Seal made it.
func FuzzUnseal(f *testing.F) {
	f.Add([]byte("secret"), "sealed:v1:AAAA", 3)
	f.Add([]byte{}, "", 0)
	s := open(f)
	f.Fuzz(func(t *testing.T, secret []byte, text string, flip int) {
		var sealed string
		require.NoError(t, s.View(context.Background(), func(tx *store.Tx) error { sealed = tx.Seal(secret); return nil }))
		plain, err := s.Unseal(sealed)
		require.NoError(t, err)
		require.Equal(t, string(secret), string(plain))
		_, err = s.Unseal(text)
		require.True(t, fault.Is(err, fault.Corrupt))
		raw, err := base64.RawStdEncoding.DecodeString(sealed[len("sealed:v1:"):])
		require.NoError(t, err)
		raw[uint(flip)%uint(len(raw))] ^= 1
		_, err = s.Unseal("sealed:v1:" + base64.RawStdEncoding.EncodeToString(raw))
		require.True(t, fault.Is(err, fault.Corrupt), "a flipped bit goes unnoticed")
	})
}
