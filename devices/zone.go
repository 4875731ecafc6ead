package devices

import (
	"encoding/json"
	"fmt"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/planar"
)

// A Zone is a named part of the city: a GeoJSON Feature (RFC 7946) with a Polygon or MultiPolygon
// and the properties id, name, kind and rules. Its JSON form is that Feature.
type Zone struct {
	ID, Name, Kind string
	// Rules is what the zone's devices have in place of their profiles' and the rules' own values, by
	// the rule's id.
	Rules   map[string]RuleOverride
	feature *geojson.Feature
	bound   orb.Bound
}

// maxZonePoints bounds a zone's outline; a district of Palermo has a few hundred.
const maxZonePoints = 50_000

// ParseZone reads a zone from a GeoJSON Feature.
func ParseZone(b []byte) (Zone, error) {
	var z Zone
	if err := json.Unmarshal(b, &z); err != nil {
		return Zone{}, err
	}
	return z, nil
}

// UnmarshalJSON reads a GeoJSON Feature and checks it as a zone.
func (z *Zone) UnmarshalJSON(b []byte) error {
	f, err := geojson.UnmarshalFeature(b)
	if err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	n := Zone{
		ID: f.Properties.MustString("id", ""), Name: f.Properties.MustString("name", ""),
		Kind: f.Properties.MustString("kind", ""), feature: f,
	}
	if n.ID == "" {
		if id, ok := f.ID.(string); ok {
			n.ID = id
		}
	}
	if err := CheckID(n.ID); err != nil {
		return fmt.Errorf("zone: properties.id: %w", err)
	}
	if own, ok := f.Properties["rules"]; ok {
		raw, err := json.Marshal(own)
		if err == nil {
			err = json.Unmarshal(raw, &n.Rules)
		}
		if err == nil {
			err = checkOverrides(n.Rules)
		}
		if err != nil {
			return fmt.Errorf("zone %q: properties: %w", n.ID, err)
		}
	}
	points := 0
	switch g := f.Geometry.(type) {
	case orb.Polygon:
		points = countPoints(g)
	case orb.MultiPolygon:
		for _, p := range g {
			points += countPoints(p)
		}
	case nil:
		return fmt.Errorf("zone %q: geometry: none, want a Polygon or MultiPolygon", n.ID)
	default:
		return fmt.Errorf("zone %q: geometry: %s, want a Polygon or MultiPolygon", n.ID, g.GeoJSONType())
	}
	if points < 4 || points > maxZonePoints {
		return fmt.Errorf("zone %q: geometry: %d points, want 4 to %d", n.ID, points, maxZonePoints)
	}
	n.bound = f.Geometry.Bound()
	*z = n
	return nil
}

// MarshalJSON writes the zone's Feature.
func (z Zone) MarshalJSON() ([]byte, error) {
	if z.feature == nil {
		return []byte("null"), nil
	}
	f := *z.feature
	f.Properties = f.Properties.Clone()
	f.Properties["id"], f.Properties["name"], f.Properties["kind"] = z.ID, z.Name, z.Kind
	return f.MarshalJSON()
}

// Contains reports whether the point is inside the zone, on its border included.
func (z Zone) Contains(lat, lon float64) bool {
	p := orb.Point{lon, lat}
	if z.feature == nil || !z.bound.Contains(p) {
		return false
	}
	switch g := z.feature.Geometry.(type) {
	case orb.Polygon:
		return planar.PolygonContains(g, p)
	case orb.MultiPolygon:
		return planar.MultiPolygonContains(g, p)
	}
	return false
}

// Rings are the outlines of the zone and of its holes. They must not be changed.
func (z Zone) Rings() []orb.Ring {
	if z.feature == nil {
		return nil
	}
	switch g := z.feature.Geometry.(type) {
	case orb.Polygon:
		return g
	case orb.MultiPolygon:
		var all []orb.Ring
		for _, p := range g {
			all = append(all, p...)
		}
		return all
	}
	return nil
}

func countPoints(p orb.Polygon) int {
	n := 0
	for _, ring := range p {
		n += len(ring)
	}
	return n
}
