package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

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

// A Guard admits cameras. It is safe for concurrent use.
type Guard struct {
	keys   Keys
	policy func(purpose string) (Policy, bool)
}

// New makes a guard. policy finds that of a purpose; without one it is DefaultPolicy.
func New(keys Keys, policy func(purpose string) (Policy, bool)) *Guard {
	return &Guard{keys: keys, policy: policy}
}

// Admit returns what may be kept of a camera's metadata, or a *Refusal.
func (g *Guard) Admit(c *devices.Camera) (*Grant, error) {
	if err := lawful(c); err != nil {
		return nil, err
	}
	p, ok := g.policy(c.Purpose)
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
func (g *Grant) Allows(attribute string) bool { return slices.Contains(g.policy.Attributes, attribute) }

// Expires is when a detection of an object of class at a time must be gone, both Unix ms.
func (g *Grant) Expires(at int64, class string) int64 {
	keep := g.policy.Detections
	if d, ok := g.policy.Classes[class]; ok && d < keep {
		keep = d
	}
	return at + time.Duration(keep).Milliseconds()
}

// Plate returns the forms in which a plate read at a time (Unix ms) may be kept, each empty where
// the purpose does not allow it.
func (g *Grant) Plate(at int64, plate string) (hash, sealed string, err error) {
	if g.policy.Plates == PlatesNone || plate == "" {
		return "", "", nil
	}
	day := time.UnixMilli(at).UTC()
	key, err := g.keys.Plate(g.policy.ID, day)
	if err != nil {
		return "", "", fmt.Errorf("key of plates: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(plate))
	hash = hex.EncodeToString(mac.Sum(nil))
	if g.policy.Plates == PlatesSealed {
		b, err := g.keys.Seal(g.policy.ID, day, plate)
		if err != nil {
			return "", "", fmt.Errorf("seal a plate: %w", err)
		}
		sealed = string(b)
	}
	return hash, sealed, nil
}
