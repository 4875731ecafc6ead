// Package privacytest has a guard with fixed keys and a lawful camera, for tests.
package privacytest

import (
	"time"

	"panormus/devices"
	"panormus/stream/privacy"
)

// Keys are the same every day; what they seal is the plate behind a mark.
type Keys struct{}

// Plate implements privacy.Keys.
func (Keys) Plate(purpose string, _ time.Time) ([]byte, error) {
	return []byte("key of " + purpose), nil
}

// Seal implements privacy.Keys.
func (Keys) Seal(purpose string, _ time.Time, plate string) ([]byte, error) {
	out := []byte("sealed:")
	for i := range len(plate) {
		out = append(out, plate[i]^0x5a)
	}
	return out, nil
}

// Policies never change.
type Policies []privacy.Policy

// Policy implements privacy.Policies.
func (ps Policies) Policy(purpose string) (privacy.Policy, bool) {
	for _, p := range ps {
		if p.ID == purpose {
			return p, true
		}
	}
	return privacy.Policy{}, false
}

// Version implements privacy.Policies.
func (Policies) Version() uint64 { return 0 }

// Guard has the policies given.
func Guard(policies ...privacy.Policy) *privacy.Guard { return privacy.New(Keys{}, Policies(policies)) }

// Camera has a lawful ground under the purpose.
func Camera(purpose string) *devices.Camera {
	return &devices.Camera{Purpose: purpose, LegalBasis: "D.L. 14/2017 art. 5", Controller: "Comune di Palermo", DPIARef: "DPIA-2026-04"}
}
