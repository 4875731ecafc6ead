// Package privacy decides what of video metadata may be kept, for how long and in which form. It
// sits between decoding and the log: nothing that a camera's purpose does not allow gets past it.
package privacy

import (
	"fmt"
	"strings"
	"time"

	"panormus/devices"
)

// What a purpose allows of number plates.
const (
	PlatesNone   = "none"   // dropped
	PlatesHash   = "hash"   // a keyed hash, whose key lives as long as the plates may be compared
	PlatesSealed = "sealed" // the hash and, encrypted and in a table of its own, the plate itself
)

// A Policy is what a purpose allows. The JSON form is the one of the HTTP API.
type Policy struct {
	ID    string            `json:"id"`
	Title map[string]string `json:"title,omitempty"`
	// Detections is how long raw detections are kept; at most MaxDetections.
	Detections devices.Duration `json:"detections"`
	// Classes are shorter times for some classes of objects.
	Classes map[string]devices.Duration `json:"classes,omitempty"`
	// Tracks is how long tracks are kept.
	Tracks devices.Duration `json:"tracks"`
	// Plates is one of the Plates constants, PlateRetention how long hashes can be made and sealed
	// plates opened.
	Plates         string           `json:"plates"`
	PlateRetention devices.Duration `json:"plate_retention"`
	// Attributes are the names of those that may be kept; none by default.
	Attributes []string `json:"attributes,omitempty"`
	// K is the least number of objects that a cell of a statistic may tell of.
	K int `json:"k"`
}

// Bounds and defaults of policies (Garante, 8 April 2010: urban security at most 7 days).
const (
	DefaultDetections = 72 * time.Hour
	MaxDetections     = 7 * 24 * time.Hour
	DefaultK          = 5
)

// DefaultPolicy is that of a purpose that nobody has given another: the safe one.
func DefaultPolicy(id string) Policy {
	return Policy{
		ID: id, Detections: devices.Duration(DefaultDetections), Tracks: devices.Duration(DefaultDetections),
		Plates: PlatesHash, PlateRetention: devices.Duration(DefaultDetections), K: DefaultK,
	}
}

// A Refusal is why nothing of a camera may be kept.
type Refusal struct{ Missing []string }

func (r *Refusal) Error() string {
	return fmt.Sprintf("the registry has no %s for the camera, want purpose, legal_basis, controller and dpia_ref", strings.Join(r.Missing, ", "))
}

// lawful reports what c lacks of a lawful ground.
func lawful(c *devices.Camera) error {
	if c == nil {
		c = &devices.Camera{}
	}
	var missing []string
	for _, f := range []struct{ name, value string }{
		{"purpose", c.Purpose}, {"legal_basis", c.LegalBasis}, {"controller", c.Controller}, {"dpia_ref", c.DPIARef},
	} {
		if strings.TrimSpace(f.value) == "" {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		return &Refusal{Missing: missing}
	}
	return nil
}
