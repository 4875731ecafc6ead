package city

// A Place is a spot at the kerb of a street of the drawing.
type Place struct {
	Lat, Lon     float64 // degrees, WGS 84
	Bearing      float64 // of the street there, degrees clockwise from north
	Zone, Street string  // the district's id and the street's name
}

// Places returns n spots spread over all the streets, those of a quarter together. The seed and
// what is to stand there choose them: other things stand elsewhere.
func Places(seed int64, what string, n int) []Place {
	d := draw()
	key := hash(hash(uint64(seed)), hashText(what))
	total := 0.0
	for _, s := range d.streets {
		total += s.line.length()
	}
	places := make([]Place, 0, n)
	done := 0.0
	for _, s := range d.streets {
		length := s.line.length()
		for len(places) < n {
			i := len(places)
			due := (float64(i) + 0.5 + within(-0.45, 0.45, key, uint64(i))) * total / float64(n)
			if due >= done+length {
				break
			}
			p, ahead := s.line.at(due - done)
			if off := p.plus(ahead.left().times(kerb * float64(1-2*(i%2)))); d.district(off) >= 0 {
				p = off
			}
			place := Place{Street: s.name, Bearing: round(bearing(ahead), 1)}
			place.Lon, place.Lat = p.degrees()
			if z := d.district(fromDegrees(place.Lon, place.Lat)); z >= 0 {
				place.Zone = drawnDistricts[z].id
			}
			places = append(places, place)
		}
		done += length
	}
	return places
}
