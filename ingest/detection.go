package ingest

import (
	"encoding/json"
	"math"

	"panormus/devices"
	"panormus/stream/batch"
	"panormus/stream/privacy"
)

// A Detection is a row of video metadata as a decoder reads it, before it is known what of it may
// be kept. Its strings may lie in the payload or in memory of Decoded.Copy.
type Detection struct {
	batch.Detection
	// OwnTime says that the camera told the time; without it the receive time counts.
	OwnTime bool
	// Plate in clear. It leaves the process only as its purpose allows: hashed or sealed.
	Plate string
	// Extra is what else is told of the object: colour, make, clothing. What the purpose does not
	// allow is dropped.
	Extra []Attribute
}

// An Attribute is a word about an object.
type Attribute struct{ Name, Value string }

// Detect adds a row that tells nothing yet and returns it; it is good until the next call.
func (d *Decoded) Detect(what string) (*Detection, error) {
	if len(d.Detections) >= MaxDetections {
		return nil, Rejectf(ReasonTooMany, "more than %d rows of video metadata in a message", MaxDetections)
	}
	d.Detections = append(d.Detections, Detection{Detection: batch.Absent()})
	r := &d.Detections[len(d.Detections)-1]
	r.What = what
	return r, nil
}

// Copy returns b as a string that is good until the next Reset.
func (d *Decoded) Copy(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	from := len(d.arena)
	d.arena = append(d.arena, b...)
	return text(d.arena[from:])
}

// admit makes of d's detections what may be kept of them, or says why nothing may be.
func (s *Session) admit(t *Topic, d *Decoded, received int64, base devices.Quality) *Reject {
	// Asked before the grant: a change in between is seen at the next message.
	registry, policies := s.pump.cfg.Registry.Version(), s.pump.cfg.Privacy.Version()
	if t.grant == nil || t.grantVersion != registry || t.policyVersion != policies {
		t.grant = nil
		grant, err := s.pump.cfg.Privacy.Admit(t.asset.Camera)
		if err != nil {
			return Rejectf(ReasonNoPurpose, "%v", err)
		}
		t.grant, t.grantVersion, t.policyVersion = grant, registry, policies
	}
	for i := range d.Detections {
		r := &d.Detections[i]
		r.Received, r.Camera, r.Purpose, r.Quality = received, t.device, t.grant.Purpose(), r.Quality|base
		if !r.OwnTime {
			r.Time = received
		} else if r.Time > received+maxAhead || r.Time < earliest {
			r.Time, r.Quality = received, r.Quality|devices.QualityClock
		}
		if d.Refresh {
			r.Quality |= devices.QualityRefresh
		}
		if math.IsNaN(r.Lat) && !math.IsNaN(float64(r.BoxBottom)) {
			// An object stands where its box ends below.
			if lat, lon, ok := t.asset.Ground(float64(r.BoxLeft+r.BoxRight)/2, float64(r.BoxBottom)); ok {
				r.Lat, r.Lon = lat, lon
			}
		}
		if reject := r.protect(t.grant); reject != nil {
			return reject
		}
		r.Expires = t.grant.Expires(r.Time, r.Class, r.PlateHash != "")
	}
	return nil
}

// protect leaves of r only what grant allows.
func (r *Detection) protect(grant *privacy.Grant) *Reject {
	if r.Plate != "" {
		var err error
		if r.PlateHash, r.PlateSealed, err = grant.Plate(r.Time, r.Plate); err != nil {
			return Rejectf(ReasonNoKey, "%v", err)
		}
		r.Plate = ""
	}
	var kept map[string]string
	for _, a := range r.Extra {
		if grant.Allows(a.Name) {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[a.Name] = a.Value
		}
	}
	r.Extra = nil
	if kept == nil {
		return nil
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return Rejectf(ReasonInternal, "attributes: no JSON") // the error may quote them
	}
	r.Attributes = string(b)
	return nil
}
