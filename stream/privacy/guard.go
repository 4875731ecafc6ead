package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"

	"panormus/devices"
)

// Keys are where the keys of hashes come from.
type Keys interface {
	// Plate returns the key of a purpose on the day of at (UTC), or an error where it was destroyed or
	// cannot be had.
	Plate(purpose string, at time.Time) ([]byte, error)
	// Seal encrypts a plate that is to be opened until expires at the latest.
	Seal(purpose string, at time.Time, plate string) ([]byte, error)
}

// Policies are what purposes allow; *Purposes is one.
type Policies interface {
	// Policy returns that of a purpose, and false where it has none.
	Policy(purpose string) (Policy, bool)
	// Version changes with every change of a policy.
	Version() uint64
}

// A Guard admits cameras. It is safe for concurrent use.
type Guard struct {
	keys     Keys
	policies Policies
}

// New makes a guard. The policy of a purpose that policies do not have is DefaultPolicy.
func New(keys Keys, policies Policies) *Guard { return &Guard{keys: keys, policies: policies} }

// Version changes when a grant may no longer be what Admit would give: whoever keeps one asks again
// then. It costs an atomic load.
func (g *Guard) Version() uint64 { return g.policies.Version() }

// Admit returns what may be kept of a camera's metadata, or a *Refusal.
func (g *Guard) Admit(c *devices.Camera) (*Grant, error) {
	if err := lawful(c); err != nil {
		return nil, err
	}
	p, ok := g.policies.Policy(c.Purpose)
	if !ok {
		p = DefaultPolicy(c.Purpose)
	}
	return &Grant{policy: p, keys: g.keys}, nil
}

// A Grant is what may be kept of one camera's metadata. It is safe for concurrent use.
type Grant struct {
	policy Policy
	keys   Keys
}

// Purpose under which rows are kept.
func (g *Grant) Purpose() string { return g.policy.ID }

// Allows reports whether an attribute of objects may be kept.
func (g *Grant) Allows(attribute string) bool {
	for _, a := range g.policy.Attributes {
		if a == attribute || canonical(a) == canonical(attribute) {
			return true
		}
	}
	return false
}

// Expires is when a detection of an object of class at a time must be gone, both Unix ms: with the hash
// of a plate when that can be compared no longer.
func (g *Grant) Expires(at int64, class string, plate bool) int64 {
	keep := g.policy.Detections
	if d, ok := g.policy.Classes[class]; ok && d < keep {
		keep = d
	}
	if plate {
		keep = min(keep, g.policy.PlateRetention)
	}
	return at + time.Duration(keep).Milliseconds()
}

// Tracks is how long a track of an object of class is kept: no longer than the detections of a class
// that has a time of its own, and with the hash of a plate no longer than hashes can be compared.
func (g *Grant) Tracks(class string, plate bool) time.Duration {
	keep := g.policy.Tracks
	if d, ok := g.policy.Classes[class]; ok {
		keep = min(keep, d)
	}
	if plate {
		keep = min(keep, g.policy.PlateRetention)
	}
	return time.Duration(keep)
}

// Plate returns the forms in which a plate read at a time (Unix ms) may be kept, each empty where
// the purpose does not allow it or it holds no letter and no digit.
func (g *Grant) Plate(at int64, plate string) (hash, sealed string, err error) {
	if g.policy.Plates == PlatesNone {
		return "", "", nil
	}
	if plate = Normal(plate); plate == "" {
		return "", "", nil
	}
	day := time.UnixMilli(at).UTC()
	key, err := g.keys.Plate(g.policy.ID, day)
	if err != nil {
		return "", "", fmt.Errorf("key of plates: %w", err)
	}
	hash = Hash(key, plate)
	if g.policy.Plates == PlatesSealed {
		b, err := g.keys.Seal(g.policy.ID, day, plate)
		if err != nil {
			return "", "", fmt.Errorf("seal a plate: %w", err)
		}
		sealed = string(b)
	}
	return hash, sealed, nil
}

// Hash is the form of a normal plate under the key of its day.
func Hash(key []byte, plate string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(plate))
	var sum [sha256.Size]byte
	return hex.EncodeToString(mac.Sum(sum[:0]))
}

// Normal is a plate as it is compared: its letters and digits, in upper case. Cameras put spaces,
// hyphens and dots where they like.
func Normal(plate string) string {
	normal := true
	for i := range len(plate) {
		if c := plate[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			normal = false
			break
		}
	}
	if normal {
		return plate
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToUpper(r)
		}
		return -1
	}, plate)
}
