package live

import (
	"cmp"
	"slices"
)

// A Query selects devices; empty fields select all.
type Query struct {
	Domains []string
	Zones   []string
	Box     *Box
	Sees    Sees   // nil: all are seen
	After   string // only ids after this one
	Limit   int    // 0: no bound
}

// List returns the states of the devices that q selects, in order of id, and whether there are more.
func (s *State) List(q Query) (items []Item, more bool) {
	all := s.inOrder()
	i := 0
	if q.After != "" {
		var found bool
		i, found = slices.BinarySearchFunc(all, q.After, func(d *Device, id string) int { return cmp.Compare(d.id, id) })
		if found {
			i++
		}
	}
	items = []Item{}
	for ; i < len(all); i++ {
		if !q.selects(all[i]) {
			continue
		}
		if q.Limit > 0 && len(items) == q.Limit {
			return items, true
		}
		if it, ok := s.Item(all[i]); ok {
			items = append(items, it)
		}
	}
	return items, false
}

func (q *Query) selects(d *Device) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return (len(q.Domains) == 0 || slices.Contains(q.Domains, d.domain)) &&
		(len(q.Zones) == 0 || slices.Contains(q.Zones, d.zone())) &&
		(q.Sees == nil || q.Sees(d.id, d.where())) &&
		(q.Box == nil || d.lat == d.lat && q.Box.Contains(d.lat, d.lon))
}
