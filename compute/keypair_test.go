package compute_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
)

func TestKeypairs(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: -1})
	k, err := e.alice.CreateKeypair(e.ctx, compute.CreateKeypair{Name: "made here"})
	require.NoError(t, err)
	signer, err := ssh.ParsePrivateKey([]byte(k.PrivateKey))
	require.NoError(t, err)
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.PublicKey))
	require.NoError(t, err)
	require.Equal(t, public.Marshal(), signer.PublicKey().Marshal())
	require.Equal(t, ssh.FingerprintLegacyMD5(public), k.Fingerprint)

	got, err := e.alice.GetKeypair(e.ctx, "", "made here")
	require.NoError(t, err)
	require.Empty(t, got.PrivateKey, "said once, kept nowhere")
	body, err := json.Marshal(k)
	require.NoError(t, err)
	require.NotContains(t, string(body), "PRIVATE")

	imported, err := e.alice.CreateKeypair(e.ctx, compute.CreateKeypair{Name: "imported", PublicKey: k.PublicKey + "\n"})
	require.NoError(t, err)
	require.Equal(t, k.Fingerprint, imported.Fingerprint)
	require.Empty(t, imported.PrivateKey)
	_, err = e.alice.CreateKeypair(e.ctx, compute.CreateKeypair{Name: "imported", PublicKey: k.PublicKey})
	require.True(t, fault.Is(err, fault.Exists), err)
	for _, bad := range []compute.CreateKeypair{
		{Name: "", PublicKey: k.PublicKey}, {Name: "a/b", PublicKey: k.PublicKey}, {Name: "x", PublicKey: "ssh-rsa nonsense"},
		{Name: "x", Type: "pgp"}, {Name: "x", Type: compute.X509}, {Name: "x", Type: compute.X509, PublicKey: k.PublicKey},
	} {
		_, err := e.alice.CreateKeypair(e.ctx, bad)
		require.True(t, fault.Is(err, fault.Invalid), "%+v: %v", bad, err)
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, key.Public(), key)
	require.NoError(t, err)
	cert, err := e.alice.CreateKeypair(e.ctx, compute.CreateKeypair{Name: "cert", Type: compute.X509,
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))})
	require.NoError(t, err)
	require.Len(t, cert.Fingerprint, 59)

	_, err = e.bob.GetKeypair(e.ctx, "alice", "cert")
	require.True(t, fault.Is(err, fault.NotFound), err)
	_, err = e.admin.GetKeypair(e.ctx, "alice", "cert")
	require.NoError(t, err)
	page, more, err := e.alice.ListKeypairs(e.ctx, compute.KeypairQuery{Limit: 2})
	require.NoError(t, err)
	require.True(t, more)
	require.Equal(t, "cert", page[0].Name)
	page, more, err = e.alice.ListKeypairs(e.ctx, compute.KeypairQuery{Marker: page[1].Name})
	require.NoError(t, err)
	require.False(t, more)
	require.Equal(t, "made here", page[0].Name)

	_, err = e.admin.UpdateQuota(e.ctx, "a", map[string]int64{"key_pairs": 3}, false)
	require.NoError(t, err)
	_, err = e.alice.CreateKeypair(e.ctx, compute.CreateKeypair{Name: "fourth"})
	require.True(t, fault.Is(err, fault.Quota), err)
	require.NoError(t, e.alice.DeleteKeypair(e.ctx, "", "cert"))
	require.True(t, fault.Is(e.alice.DeleteKeypair(e.ctx, "", "cert"), fault.NotFound))
	_, err = e.alice.CreateKeypair(e.ctx, compute.CreateKeypair{Name: "fourth"})
	require.NoError(t, err)
}
