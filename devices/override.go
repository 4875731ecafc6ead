package devices

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// A RuleOverride is what a device, a zone or a profile has in place of what a rule says, by the name
// of the rule's parameter: a number, a text, or true or false. "enabled": false is of every rule and
// means that it is not for this device.
type RuleOverride map[string]any

// Bounds of the overrides of one device, zone or profile.
const (
	maxOverrides      = 256
	maxOverrideParams = 17 // the parameters of a rule, and enabled
)

// Enabled is the name in a RuleOverride that says whether the rule is for the device at all.
const Enabled = "enabled"

// An Override is one value of an asset that is not the rule's own. Value is a float64 (of true 1, of
// false 0) or a string; of Enabled it is a bool.
type Override struct {
	Value any
	From  string // device, zone or profile
}

// Overrides are those of an asset by rule and parameter.
type Overrides map[string]map[string]Override

// checkOverrides reports what of overrides is not acceptable. That a rule or parameter of the name
// exists cannot be known here: rules come and go.
func checkOverrides(all map[string]RuleOverride) error {
	if len(all) > maxOverrides {
		return fmt.Errorf("rules: %d, want at most %d", len(all), maxOverrides)
	}
	for _, rule := range slices.Sorted(maps.Keys(all)) {
		if len(rule) == 0 || len(rule) > 256 {
			return fmt.Errorf("rules: a rule's id of %d bytes, want 1 to 256", len(rule))
		}
		if n := len(all[rule]); n == 0 || n > maxOverrideParams {
			return fmt.Errorf("rules.%s: %d values, want 1 to %d such as {\"limit\": 60}", rule, n, maxOverrideParams)
		}
		for _, name := range slices.Sorted(maps.Keys(all[rule])) {
			v := all[rule][name]
			if name == "" || len(name) > 64 {
				return fmt.Errorf("rules.%s: a name of %d bytes, want 1 to 64", rule, len(name))
			}
			_, isBool := v.(bool)
			if name == Enabled && !isBool {
				return fmt.Errorf("rules.%s.enabled: %v, want true or false", rule, v)
			}
			switch v := v.(type) {
			case bool:
			case float64:
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return fmt.Errorf("rules.%s.%s: %v, want a number", rule, name, v)
				}
			case string:
				if len(v) > 256 {
					return fmt.Errorf("rules.%s.%s: %d bytes, want at most 256", rule, name, len(v))
				}
			default:
				return fmt.Errorf("rules.%s.%s: found a list, an object or null, want a number, a text, true or false", rule, name)
			}
		}
	}
	return nil
}

// add puts overrides over those that are there.
func (o Overrides) add(all map[string]RuleOverride, from string) {
	for rule, values := range all {
		if o[rule] == nil {
			o[rule] = map[string]Override{}
		}
		for name, v := range values {
			if b, ok := v.(bool); ok && name != Enabled {
				v = 0.0
				if b {
					v = 1.0
				}
			}
			o[rule][name] = Override{v, from}
		}
	}
}

// overridesOf are the overrides of devices of a profile in a zone that have none of their own; nil for
// none. Devices share them, so they must not be changed.
func (r *Registry) overridesOf(profile, zone string) Overrides {
	key := [2]string{profile, zone}
	r.sharing.Lock() // what was read before a change must not be kept after it
	defer r.sharing.Unlock()
	if o, ok := r.shared[key]; ok {
		return o
	}
	p, z := r.Profile(profile), r.Zone(zone)
	if (p == nil || len(p.Rules) == 0) && (z == nil || len(z.Rules) == 0) {
		return nil
	}
	o := Overrides{}
	if p != nil {
		o.add(p.Rules, "profile")
	}
	if z != nil {
		o.add(z.Rules, "zone")
	}
	if r.shared == nil {
		r.shared = map[[2]string]Overrides{}
	}
	r.shared[key] = o
	return o
}

// overrides are those of a device: its own before its zone's before its profile's.
func (r *Registry) overrides(d Device) Overrides {
	shared := r.overridesOf(d.Profile, d.Zone)
	if len(d.Rules) == 0 {
		return shared
	}
	o := Overrides{}
	for rule, values := range shared {
		o[rule] = maps.Clone(values)
	}
	o.add(d.Rules, "device")
	return o
}

// OverridesVersion grows with every change of an entry that has or had overrides.
func (r *Registry) OverridesVersion() uint64 { return r.overridden.Load() }

// EachOverride calls f for what every profile, zone and device overrides itself, until f returns false.
func (r *Registry) EachOverride(f func(kind, id string, rules map[string]RuleOverride) bool) {
	for _, p := range r.Profiles() {
		if len(p.Rules) > 0 && !f("profile", p.ID, p.Rules) {
			return
		}
	}
	for _, z := range r.Zones() {
		if len(z.Rules) > 0 && !f("zone", z.ID, z.Rules) {
			return
		}
	}
	r.own.Range(func(id, _ any) bool {
		a := r.Lookup(id.(string))
		return a == nil || len(a.Rules) == 0 || f("device", a.ID, a.Rules)
	})
}

// changedOverrides notes that entries of a profile or zone were changed that have or had overrides, and
// resolves the assets concerned anew.
func (r *Registry) changedOverrides(concerns func(*Asset) bool) {
	r.sharing.Lock()
	r.shared = nil
	r.sharing.Unlock()
	r.assets.Range(func(key, v any) bool {
		if a := v.(*Asset); concerns(a) {
			r.assets.CompareAndSwap(key, a, r.resolve(a.Device, a.known.credential))
		}
		return true
	})
	r.overridden.Add(1)
}
