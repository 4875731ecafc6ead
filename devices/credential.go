package devices

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A credential is what is kept of a device's secret: "sha256$salt$hash" of one that is too long to be
// guessed, "pbkdf2$iterations$salt$hash" of a shorter one; "" of none.
type credential string

const (
	// strongSecret is from how many bytes on a secret is taken for one that a machine made: 22 of
	// base64 are 128 bits. One round of SHA-256 is enough for it, so that ten thousand devices can come
	// back at once.
	strongSecret = 22
	// slowRounds are those of PBKDF2 with SHA-512 for secrets that people may have thought of: about 10 ms.
	slowRounds = 20_000
	maxSecret  = 512 // bytes
)

// NewSecret makes a secret of 192 random bits in 32 letters, digits, - and _.
func NewSecret() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func hashSecret(secret string) credential {
	var salt [16]byte
	_, _ = rand.Read(salt[:])
	text := base64.RawStdEncoding.EncodeToString
	if len(secret) >= strongSecret {
		sum := quick(salt[:], []byte(secret))
		return credential("sha256$" + text(salt[:]) + "$" + text(sum[:]))
	}
	sum, err := pbkdf2.Key(sha512.New, secret, salt[:], slowRounds, sha256.Size)
	if err != nil {
		panic("BUG: " + err.Error()) // only for keys too long
	}
	return credential(fmt.Sprintf("pbkdf2$%d$%s$%s", slowRounds, text(salt[:]), text(sum)))
}

func quick(salt, secret []byte) [sha256.Size]byte {
	return sha256.Sum256(append(salt[:len(salt):len(salt)], secret...))
}

// slow reports whether it takes long to compare with c.
func (c credential) slow() bool { return strings.HasPrefix(string(c), "pbkdf2$") }

// is reports whether secret is what c was made of, in a time that tells nothing of it.
func (c credential) is(secret []byte) bool {
	parts := strings.Split(string(c), "$")
	if len(secret) > maxSecret || len(parts) < 3 {
		return false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[len(parts)-2])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[len(parts)-1])
	if err1 != nil || err2 != nil || len(want) != sha256.Size {
		return false
	}
	if !c.slow() {
		got := quick(salt, secret)
		return subtle.ConstantTimeCompare(got[:], want) == 1
	}
	rounds, err := strconv.Atoi(parts[1])
	if err != nil || rounds < 1 || rounds > 1_000_000 {
		return false
	}
	got, err := pbkdf2.Key(sha512.New, string(secret), salt, rounds, len(want))
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1
}

// known is what an asset knows of its device's secret.
type known struct {
	credential credential
	// slowly lets one secret at a time be compared slowly: guessing must not take the machine.
	slowly *sync.Mutex
	// proven is a quick hash of the secret that was right before, under a salt of the asset's own: whoever
	// comes back costs no 10 ms each time.
	proven atomic.Pointer[proof]
}

type proof struct {
	salt [16]byte
	sum  [sha256.Size]byte
}

// Locked reports whether the device has a secret.
func (a *Asset) Locked() bool { return a.known.credential != "" }

// WeakSecret reports whether the device's secret is so short that somebody may guess it.
func (a *Asset) WeakSecret() bool { return a.known.credential.slow() }

// SameSecret reports whether the secrets of a and b are one, as far as the registry knows: it makes a new
// hash whenever a secret changes.
func (a *Asset) SameSecret(b *Asset) bool { return a.known.credential == b.known.credential }

// HasSecret reports whether given is the device's secret, in a time that tells nothing of it. A device
// without a secret has none, nor has one that is disabled. A wrong guess at a secret of less than 22 bytes
// takes some 10 ms, one at a time; all else is quick.
func (a *Asset) HasSecret(given []byte) bool {
	k := &a.known
	if k.credential == "" || a.Status == Disabled {
		return false
	}
	if !k.credential.slow() {
		return k.credential.is(given)
	}
	if p := k.proven.Load(); p != nil {
		if sum := quick(p.salt[:], given); subtle.ConstantTimeCompare(sum[:], p.sum[:]) == 1 {
			return true
		}
	}
	if k.slowly != nil {
		k.slowly.Lock()
		defer k.slowly.Unlock()
	}
	if !k.credential.is(given) {
		return false
	}
	var p proof
	_, _ = rand.Read(p.salt[:])
	p.sum = quick(p.salt[:], given)
	k.proven.Store(&p)
	return true
}

// Fingerprint is what the registry calls a certificate by: the SHA-256 of its DER form in hexadecimal.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// fingerprint reads one as people write it, with colons or capitals.
func fingerprint(s string) (string, error) {
	s = strings.ToLower(strings.ReplaceAll(s, ":", ""))
	if b, err := hex.DecodeString(s); err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("%.100q, want the SHA-256 of the certificate: 64 hexadecimal digits", s)
	}
	return s, nil
}

// LookupCertificate returns the asset that the certificate with this fingerprint was given to, or nil.
func (r *Registry) LookupCertificate(fingerprint string) *Asset {
	id, ok := r.certificates.Load(fingerprint)
	if !ok {
		return nil
	}
	// The index may be behind; the asset decides.
	if a := r.Lookup(id.(string)); a != nil && a.Certificate == fingerprint {
		return a
	}
	return nil
}

// held is a device as the store has it: with what its secret was hashed to. Entries of before there were
// hashes have the secret itself.
type held struct {
	Device
	Credential credential `json:"credential,omitempty"`
}
