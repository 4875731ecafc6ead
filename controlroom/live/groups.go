package live

import (
	"math"
	"slices"
	"time"

	"panormus/devices"
)

// maxTexts bounds the different texts of a metric that a group counts; the rest are counted as "".
const maxTexts = 20

// A Group is what devices of one key are now, taken together.
type Group struct {
	Key     string
	Devices []string       // ids
	Heard   int            // that ever spoke
	Silent  int            // that are silent, or never spoke; their values are left out
	Alarms  map[string]int // by severity, those that are abnormal
	Values  map[string]*Sum
}

// A Sum is a metric over the devices of a group.
type Sum struct {
	N             int // devices with a number
	Sum, Min, Max float64
	Texts         map[string]int // devices by what they say, of a metric that is a text
}

// A device is silent that has not been heard for silentPeriods of the period that its profile lets expect, and for
// leastSilence: less is what messages may be late by. Of one without a period nobody can say.
const (
	silentPeriods = 3
	leastSilence  = 5 * time.Minute
)

// silentAt reports whether the device is silent at a time. The caller holds d.mu.
func (d *Device) silentAt(now time.Time) bool {
	if d.seen == 0 {
		return true
	}
	return d.asset != nil && d.asset.Period > 0 && now.Sub(time.UnixMilli(d.seen)) > max(silentPeriods*time.Duration(d.asset.Period), leastSilence)
}

// Groups sums up the devices of a domain by key, in order of the keys; a device of which key makes ""
// is in the group without a key. Only the metrics named are summed up, of devices that sees sees; nil: all. What a
// device said that is silent now is nothing of the present: it would burn, drive and stand empty for ever.
func (s *State) Groups(domain string, metrics []string, key func(*devices.Asset) string, sees Sees, now time.Time) []Group {
	names := s.names.all()
	found := map[string]*Group{}
	for _, d := range s.inOrder() {
		d.mu.Lock()
		if !d.removed && d.domain == domain && (sees == nil || sees(d.id, d.where())) {
			k := ""
			if d.asset != nil {
				k = key(d.asset)
			}
			g := found[k]
			if g == nil {
				g = &Group{Key: k, Alarms: map[string]int{}, Values: map[string]*Sum{}}
				found[k] = g
			}
			g.add(d, names, metrics, now)
		}
		d.mu.Unlock()
	}
	groups := make([]Group, 0, len(found))
	for _, g := range found {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b Group) int {
		switch {
		case a.Key < b.Key:
			return -1
		case a.Key > b.Key:
			return 1
		}
		return 0
	})
	return groups
}

// add counts d in. The caller holds d.mu.
func (g *Group) add(d *Device, names []name, metrics []string, now time.Time) {
	g.Devices = append(g.Devices, d.id)
	if d.seen != 0 {
		g.Heard++
	}
	if d.alarm != Normal {
		g.Alarms[d.alarm.String()]++
	}
	if d.silentAt(now) {
		g.Silent++
		return
	}
	for i := range d.metrics {
		m := &d.metrics[i]
		if !slices.Contains(metrics, names[m.name].text) || math.IsInf(m.value, 0) {
			continue
		}
		sum := g.Values[names[m.name].text]
		if sum == nil {
			sum = &Sum{Min: math.Inf(1), Max: math.Inf(-1), Texts: map[string]int{}}
			g.Values[names[m.name].text] = sum
		}
		if math.IsNaN(m.value) {
			text := d.texts[m.text]
			if _, known := sum.Texts[text]; !known && len(sum.Texts) >= maxTexts {
				text = ""
			}
			sum.Texts[text]++
			continue
		}
		sum.N++
		sum.Sum += m.value
		sum.Min, sum.Max = min(sum.Min, m.value), max(sum.Max, m.value)
	}
}
