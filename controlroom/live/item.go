package live

import (
	"math"
)

// AppendItem writes the device as a JSON item of the feed: with all that is known if from is 0, else
// with what changed at its version from or later. The time of the newest reading is always there, as
// "t". A device that was removed is {"id":…,"removed":true}.
func (s *State) AppendItem(dst []byte, d *Device, from uint32) []byte {
	return s.AppendSeen(dst, d, from, nil)
}

// AppendSeen writes the device as AppendItem does; one that sees does not see is written as removed.
func (s *State) AppendSeen(dst []byte, d *Device, from uint32, sees Sees) []byte {
	names := s.names.all()
	dst = AppendString(append(dst, `{"id":`...), d.id)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.removed || sees != nil && !sees(d.id, d.where()) {
		return append(dst, `,"removed":true}`...)
	}
	if from == 0 || d.metaVer >= from {
		dst = AppendString(append(dst, `,"domain":`...), d.domain)
		dst = AppendString(append(dst, `,"zone":`...), d.zone())
		if a := d.asset; a != nil {
			dst = appendMember(dst, `,"profile":`, a.Profile)
			dst = appendMember(dst, `,"name":`, a.Name)
		}
	}
	if from == 0 || d.posVer >= from {
		dst = appendNumber(append(dst, `,"lat":`...), d.lat)
		dst = appendNumber(append(dst, `,"lon":`...), d.lon)
	}
	if d.seen != 0 {
		dst = appendStamp(append(dst, `,"t":`...), d.seen)
	}
	if from == 0 || d.alarmVer >= from {
		dst = append(dst, `,"alarm":`...)
		if d.alarm == Normal {
			dst = append(dst, "null"...)
		} else {
			dst = AppendString(dst, d.alarm.String())
		}
	}
	open := false
	for i := range d.metrics {
		m := &d.metrics[i]
		if m.ver < from {
			continue
		}
		if open {
			dst = append(dst, ',')
		} else {
			dst = append(dst, `,"values":{`...)
			open = true
		}
		dst = append(dst, names[m.name].key...)
		if m.value != m.value {
			dst = AppendString(dst, d.texts[m.text])
		} else {
			dst = appendNumber(dst, m.value)
		}
	}
	switch {
	case open:
		dst = append(dst, '}')
	case from == 0:
		dst = append(dst, `,"values":{}`...)
	}
	return append(dst, '}')
}

func appendMember(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return AppendString(append(dst, key...), value)
}

// An Item is a device's state as GET /api/v1/state shows it. Values are numbers, texts, or nil for
// what JSON cannot say.
type Item struct {
	ID      string         `json:"id"`
	Domain  string         `json:"domain"`
	Zone    string         `json:"zone"`
	Profile string         `json:"profile,omitempty"`
	Name    string         `json:"name,omitempty"`
	Lat     *float64       `json:"lat"`
	Lon     *float64       `json:"lon"`
	Seen    *Stamp         `json:"seen" doc:"event time of the newest reading; null for a device that never spoke"`
	Alarm   *string        `json:"alarm" doc:"severity of the gravest open episode, or null"`
	Values  map[string]any `json:"values"`
}

// Item returns the device's state, and false if it was removed.
func (s *State) Item(d *Device) (Item, bool) {
	names := s.names.all()
	d.mu.Lock()
	defer d.mu.Unlock()
	it := Item{ID: d.id, Domain: d.domain, Zone: d.zone(), Values: make(map[string]any, len(d.metrics))}
	if a := d.asset; a != nil {
		it.Profile, it.Name = a.Profile, a.Name
	}
	if d.lat == d.lat {
		lat, lon := d.lat, d.lon
		it.Lat, it.Lon = &lat, &lon
	}
	if d.seen != 0 {
		t := StampOf(d.seen)
		it.Seen = &t
	}
	if d.alarm != Normal {
		a := d.alarm.String()
		it.Alarm = &a
	}
	for _, m := range d.metrics {
		switch {
		case m.value != m.value:
			it.Values[names[m.name].text] = d.texts[m.text]
		case math.IsInf(m.value, 0):
			it.Values[names[m.name].text] = nil
		default:
			it.Values[names[m.name].text] = m.value
		}
	}
	return it, !d.removed
}
