// Package privacy decides what of video metadata may be kept, for how long and in which form. It
// sits between decoding and the log: nothing that a camera's purpose does not allow gets past it.
package privacy

import (
	"encoding/json"
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

// Shipped are the policies of purposes that cities have, in order of id. Others, and other policies of
// these, come through the API.
func Shipped() []Policy {
	hours := func(n time.Duration) devices.Duration { return devices.Duration(n * time.Hour) }
	crowd := Policy{
		ID: "crowd_safety", Title: map[string]string{"it": "Sicurezza della folla", "en": "Crowd safety"},
		Detections: hours(24), Tracks: hours(24), Plates: PlatesNone, K: 10,
	}
	plates := Policy{
		ID: "plate_recognition", Title: map[string]string{"it": "Riconoscimento targhe", "en": "Plate recognition"},
		Detections: hours(72), Tracks: hours(72), Plates: PlatesSealed, PlateRetention: hours(72),
		Attributes: []string{"vehicle_type", "color", "make", "model", "region"}, K: DefaultK,
	}
	// The hash lives as long as a journey can be measured by it.
	traffic := Policy{
		ID: "traffic", Title: map[string]string{"it": "Traffico e mobilità", "en": "Traffic and mobility"},
		Detections: hours(72), Tracks: hours(72), Plates: PlatesHash, PlateRetention: hours(24),
		Attributes: []string{"vehicle_type"}, K: DefaultK,
	}
	urban := Policy{
		ID: "urban_security", Title: map[string]string{"it": "Sicurezza urbana", "en": "Urban security"},
		Detections: devices.Duration(MaxDetections), Tracks: devices.Duration(MaxDetections), Plates: PlatesHash,
		PlateRetention: devices.Duration(MaxDetections), K: DefaultK,
	}
	return []Policy{crowd, plates, traffic, urban}
}

// Bounds of a policy beside MaxDetections.
const (
	minRetention  = time.Minute
	maxK          = 1000
	maxAttributes = 64
	maxClasses    = 32
	maxTitles     = 8
	maxTitle      = 200 // bytes
)

// Check reports what of p is not acceptable, as a *devices.FormatError that says where.
func (p *Policy) Check() error {
	if err := devices.CheckID(p.ID); err != nil {
		return fault("id", "%w", err)
	}
	if len(p.Title) > maxTitles {
		return fault("title", "%d languages, want at most %d", len(p.Title), maxTitles)
	}
	for lang, title := range p.Title {
		if len(lang) > 16 || len(title) > maxTitle {
			return fault("title", "%d bytes in one language, want at most %d", len(title), maxTitle)
		}
	}
	if err := within("detections", p.Detections, devices.Duration(MaxDetections)); err != nil {
		return err
	}
	if len(p.Classes) > maxClasses {
		return fault("classes", "%d, want at most %d", len(p.Classes), maxClasses)
	}
	for class, d := range p.Classes {
		if err := within(fmt.Sprintf("classes.%.40s", class), d, p.Detections); err != nil {
			return err
		}
	}
	if err := within("tracks", p.Tracks, devices.Duration(MaxDetections)); err != nil {
		return err
	}
	switch p.Plates {
	case PlatesNone:
	case PlatesHash, PlatesSealed:
		// A plate lies in a row of detections and goes with it.
		if err := within("plate_retention", p.PlateRetention, p.Detections); err != nil {
			return err
		}
	default:
		return fault("plates", "%.40q, want %s, %s or %s", p.Plates, PlatesNone, PlatesHash, PlatesSealed)
	}
	if err := checkAttributes(p.Attributes); err != nil {
		return err
	}
	if p.K < 1 || p.K > maxK {
		return fault("k", "%d objects, want 1 to %d", p.K, maxK)
	}
	return nil
}

// String is the policy as JSON, for the audit log.
func (p Policy) String() string {
	b, err := json.Marshal(p)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func within(where string, d, most devices.Duration) error {
	if d < devices.Duration(minRetention) || d > most {
		return fault(where, "%v, want %v to %v", time.Duration(d), minRetention, time.Duration(most))
	}
	return nil
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
