package compute

import (
	"context"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/pattern"
	"github.com/nubecula/cloud/store"
)

var keypairName = pattern.New(`^[a-zA-Z0-9 _@.-]{1,255}$`)

// CreateKeypair imports a public key, or makes a pair and returns the private key, which is kept
// nowhere. Exists: the user has one of that name. Quota: he has as many as he may.
func (s *Service) CreateKeypair(ctx context.Context, req CreateKeypair) (*Keypair, error) {
	k, err := s.newKeypair(req)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:keypair:create", identity.Target{Kind: "keypair", UserID: k.UserID}); err != nil {
			return err
		}
		limit, err := s.book.Limit(tx, s.project(), "key_pairs")
		if err != nil {
			return err
		}
		if limit >= 0 {
			have, err := keypairs.List(tx, store.Query[Keypair]{Index: "user", Prefix: store.Tuple{k.UserID}, Limit: int(limit)})
			if err != nil {
				return err
			}
			if int64(len(have)) >= limit {
				return fault.New(fault.Quota, "user %s has %d key pairs, as many as the quota of project %s allows; delete some or ask for a higher quota",
					k.UserID, len(have), s.project())
			}
		}
		k.CreatedAt = tx.Now()
		err = keypairs.Insert(tx, k)
		if fault.Is(err, fault.Exists) {
			return &fault.Error{Code: fault.Exists, Kind: "keypair", ID: k.Name, Msg: "exists already"}
		}
		s.emit(tx, "compute.keypair.create.end", "keypair", k.Name, s.project(), nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

// newKeypair validates a request and makes what it asks for, outside of any transaction.
func (s *Service) newKeypair(req CreateKeypair) (*Keypair, error) {
	if s.who == nil {
		return nil, fault.New(fault.Unauthenticated, "keypair.create needs an authenticated caller")
	}
	k := &Keypair{UserID: req.UserID, Name: req.Name, Type: req.Type, PublicKey: strings.TrimSpace(req.PublicKey)}
	if k.UserID == "" {
		k.UserID = s.who.UserID
	}
	if k.Type == "" {
		k.Type = SSH
	}
	var v check
	if !keypairName.MatchString(k.Name) || strings.TrimSpace(k.Name) != k.Name {
		v.bad("name", k.Name, "use 1 to 255 letters, digits, spaces inside, '_', '@', '.' and '-'")
	}
	if k.Type != SSH && k.Type != X509 {
		v.bad("type", k.Type, "use ssh or x509")
	}
	if len(k.PublicKey) > 65535 {
		v.bad("public_key", "...", "it is longer than 65535 bytes")
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	switch {
	case k.Type == X509 && k.PublicKey == "":
		return nil, fault.InvalidField("type", k.Type, "a certificate is not generated here; give its public_key in PEM")
	case k.PublicKey == "":
		return k, k.generate()
	}
	return k, k.fingerprint()
}

// GenerateKey makes a pair for CreateKeypair, which takes the public key. It is for callers that are in a
// transaction, where nothing may be left to chance.
func GenerateKey(name string) (publicKey, privateKey string, err error) {
	k := &Keypair{Name: name, Type: SSH}
	err = k.generate()
	return k.PublicKey, k.PrivateKey, err
}

// generate makes an ed25519 pair, the private key in OpenSSH's form.
func (k *Keypair) generate() error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fault.New(fault.Internal, "a key could not be made: %w", err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return fault.New(fault.Internal, "a key could not be made: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, k.Name)
	if err != nil {
		return fault.New(fault.Internal, "a key could not be made: %w", err)
	}
	k.PublicKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " " + k.Name
	k.PrivateKey = string(pem.EncodeToMemory(block))
	return k.fingerprint()
}

// fingerprint checks the public key and sets its fingerprint.
func (k *Keypair) fingerprint() error {
	if k.Type == X509 {
		block, _ := pem.Decode([]byte(k.PublicKey))
		if block == nil || block.Type != "CERTIFICATE" {
			return fault.InvalidField("public_key", short(k.PublicKey), "it must be a certificate in PEM")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fault.InvalidField("public_key", short(k.PublicKey), "the certificate cannot be read: "+err.Error())
		}
		sum := sha1.Sum(cert.Raw)
		k.Fingerprint = colons(sum[:])
		return nil
	}
	key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(k.PublicKey))
	if err != nil || len(strings.TrimSpace(string(rest))) > 0 {
		return fault.InvalidField("public_key", short(k.PublicKey), "it must be one line as in an authorized_keys file")
	}
	sum := md5.Sum(key.Marshal())
	k.Fingerprint = colons(sum[:])
	return nil
}

func short(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}

func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(parts, ":")
}

// GetKeypair returns a key pair of a user; "" means the caller.
func (s *Service) GetKeypair(ctx context.Context, userID, name string) (k *Keypair, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		k, err = s.keypair(tx, "compute:keypair:get", userID, name)
		return err
	})
	return k, err
}

func (s *Service) keypair(tx *store.Tx, action, userID, name string) (*Keypair, error) {
	if userID == "" && s.who != nil {
		userID = s.who.UserID
	}
	if err := s.check(tx, action, identity.Target{Kind: "keypair", ID: name, UserID: userID}); err != nil {
		return nil, err
	}
	k, err := keypairs.Get(tx, userID+"/"+name)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.Missing("keypair", name)
	}
	return k, err
}

// ListKeypairs returns a page of a user's key pairs by name, and whether there are more.
func (s *Service) ListKeypairs(ctx context.Context, q KeypairQuery) (page []*Keypair, more bool, err error) {
	if q.UserID == "" && s.who != nil {
		q.UserID = s.who.UserID
	}
	var all []*Keypair
	err = s.view(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:keypair:list", identity.Target{Kind: "keypair", UserID: q.UserID}); err != nil {
			return err
		}
		all, err = keypairs.List(tx, store.Query[Keypair]{Index: "user", Prefix: store.Tuple{q.UserID}})
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return paged(all, q.Marker, q.Limit, func(k *Keypair) string { return k.Name })
}

// DeleteKeypair removes a key pair; servers keep the public key that they were made with.
func (s *Service) DeleteKeypair(ctx context.Context, userID, name string) error {
	return s.update(ctx, func(tx *store.Tx) error {
		k, err := s.keypair(tx, "compute:keypair:delete", userID, name)
		if err != nil {
			return err
		}
		s.emit(tx, "compute.keypair.delete.end", "keypair", name, s.project(), nil)
		return keypairs.Delete(tx, k.UserID+"/"+k.Name)
	})
}
