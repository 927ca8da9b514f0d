package identity

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/nubecula/cloud/fault"
)

// Scope names what a token is for: at most one field is set, none means an unscoped token.
type Scope struct {
	ProjectID string
	DomainID  string
	System    bool
}

// Claims is what a token says: who, in which scope, until when. It has no roles: those are looked up.
type Claims struct {
	KeyNumber     int64 // of the key that signed it
	UserID        string
	Scope         Scope
	Methods       []string // "password", "token"
	AuditID       string   // of this token
	ParentAuditID string   // of the first token of its chain; "" when it is the first
	IssuedAt      time.Time
	ExpiresAt     time.Time
	Epoch         int64 // revocations there had been when it was issued
}

// PublicKey checks the signatures of tokens.
type PublicKey struct {
	Number    int64
	Key       ed25519.PublicKey
	CreatedAt time.Time
}

// The token's bytes: version, key number, methods, scope, ids, times, epoch, then the signature of
// all that with tokenContext before it. Text is written in unpadded base64url.
const (
	tokenVersion = 1
	tokenContext = "nubecula token 1\x00"
	// maxToken is the longest token in characters that is looked at.
	maxToken    = 1024
	auditBytes  = 16
	scopeNone   = 0
	scopeProj   = 1
	scopeDomain = 2
	scopeSystem = 3
	idHex       = 0xff // in place of a length: 16 bytes that are written as 32 hexadecimal digits
	maxIDBytes  = 64
)

// methodBits gives every method its bit; never renumbered.
var methodBits = []string{"password", "token"}

func signToken(c *Claims, key ed25519.PrivateKey) string {
	b := []byte{tokenVersion}
	b = binary.AppendUvarint(b, uint64(c.KeyNumber))
	var methods byte
	for i, name := range methodBits {
		for _, m := range c.Methods {
			if m == name {
				methods |= 1 << i
			}
		}
	}
	b = append(b, methods)
	b = appendID(b, c.UserID)
	switch {
	case c.Scope.ProjectID != "":
		b = appendID(append(b, scopeProj), c.Scope.ProjectID)
	case c.Scope.DomainID != "":
		b = appendID(append(b, scopeDomain), c.Scope.DomainID)
	case c.Scope.System:
		b = append(b, scopeSystem)
	default:
		b = append(b, scopeNone)
	}
	b = appendID(b, c.AuditID)
	b = appendID(b, c.ParentAuditID)
	b = binary.AppendUvarint(b, uint64(c.IssuedAt.UnixMicro()))
	b = binary.AppendUvarint(b, uint64(c.ExpiresAt.UnixMicro()))
	b = binary.AppendUvarint(b, uint64(c.Epoch))
	b = append(b, ed25519.Sign(key, append([]byte(tokenContext), b...))...)
	return base64.RawURLEncoding.EncodeToString(b)
}

func appendID(b []byte, id string) []byte {
	if raw, err := hex.DecodeString(id); err == nil && len(raw) == 16 && strings.ToLower(id) == id {
		return append(append(b, idHex), raw...)
	}
	return append(append(b, byte(len(id))), id...)
}

// ParseToken checks a token's form and signature, and that it has not expired at the given time. It
// cannot know whether the token was revoked. Unauthenticated: it is not valid.
func ParseToken(token string, keys []PublicKey, now time.Time) (*Claims, error) {
	c, err := parseToken(token, func(number int64) ed25519.PublicKey {
		for _, k := range keys {
			if k.Number == number {
				return k.Key
			}
		}
		return nil
	})
	if err == nil && !now.Before(c.ExpiresAt) {
		return nil, errToken("it expired at " + c.ExpiresAt.Format(time.RFC3339))
	}
	return c, err
}

func errToken(why string) error {
	return fault.New(fault.Unauthenticated, "the token is not valid: %s; authenticate again", why)
}

func parseToken(token string, key func(number int64) ed25519.PublicKey) (*Claims, error) {
	if len(token) > maxToken {
		return nil, errToken("it is too long")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < ed25519.SignatureSize+2 {
		return nil, errToken("it is not one of ours")
	}
	body, signature := b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	c, ok := decodeClaims(body)
	if !ok {
		return nil, errToken("it is not one of ours")
	}
	public := key(c.KeyNumber)
	if public == nil {
		return nil, errToken("its key is not known, or no longer")
	}
	if !ed25519.Verify(public, append([]byte(tokenContext), body...), signature) {
		return nil, errToken("its signature is wrong")
	}
	return c, nil
}

// decoder reads the parts of a token; after an error every read returns zero.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.rest) {
		d.bad = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint() int64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 || v > 1<<62 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return int64(v)
}

func (d *decoder) id() string {
	n := d.byte()
	if n == idHex {
		return hex.EncodeToString(d.take(16))
	}
	if n > maxIDBytes {
		d.bad = true
	}
	return string(d.take(int(n)))
}

func decodeClaims(b []byte) (*Claims, bool) {
	d := &decoder{rest: b}
	if d.byte() != tokenVersion {
		return nil, false
	}
	c := &Claims{KeyNumber: d.uint()}
	methods := d.byte()
	for i, name := range methodBits {
		if methods&(1<<i) != 0 {
			c.Methods = append(c.Methods, name)
		}
	}
	c.UserID = d.id()
	switch d.byte() {
	case scopeNone:
	case scopeProj:
		c.Scope.ProjectID = d.id()
	case scopeDomain:
		c.Scope.DomainID = d.id()
	case scopeSystem:
		c.Scope.System = true
	default:
		return nil, false
	}
	c.AuditID, c.ParentAuditID = d.id(), d.id()
	c.IssuedAt, c.ExpiresAt = time.UnixMicro(d.uint()).UTC(), time.UnixMicro(d.uint()).UTC()
	c.Epoch = d.uint()
	return c, !d.bad && len(d.rest) == 0 && methods>>len(methodBits) == 0 && c.UserID != "" && c.AuditID != ""
}
