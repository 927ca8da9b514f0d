package compute

import (
	"time"

	"github.com/nubecula/cloud/store"
)

// KeyType is the kind of a key pair: SSH or X509.
type KeyType string

const (
	SSH  KeyType = "ssh"
	X509 KeyType = "x509"
)

// Keypair is a public key that guests are given. It belongs to a user.
type Keypair struct {
	UserID      string    `json:"user_id"`
	Name        string    `json:"name"` // unique per user
	Type        KeyType   `json:"type"`
	PublicKey   string    `json:"public_key"`
	Fingerprint string    `json:"fingerprint"` // MD5, as "aa:bb:.."; of X509 SHA-1
	CreatedAt   time.Time `json:"created_at"`

	// PrivateKey is set once, in the answer that made it; it is never stored.
	PrivateKey string `json:"-"`
}

// CreateKeypair is a request for a key pair.
type CreateKeypair struct {
	Name      string
	Type      KeyType // "" means SSH
	PublicKey string  // "" means: make a pair and return the private key
	UserID    string  // "" means the caller; others are for administrators
}

// KeypairQuery selects key pairs.
type KeypairQuery struct {
	UserID string // "" means the caller; others are for administrators
	Marker string // name of the last one seen
	Limit  int    // 0 means 1000
}

var keypairs = store.Define(store.Spec[Keypair]{
	Kind: "keypair", Version: 1,
	ID: func(k *Keypair) string { return k.UserID + "/" + k.Name },
	Indexes: []store.Index[Keypair]{
		{Name: "user", Keys: func(k *Keypair) []store.Tuple { return []store.Tuple{{k.UserID, k.Name}} }},
	},
})
