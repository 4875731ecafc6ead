package rules

import (
	"flag"

	"panormus/devices"
)

// Update is for the scripts too, which are tested from outside.
var Update = flag.Bool("update", false, "write what the scripts gave into them")

// testRegistry is one whose devices the test sets.
type testRegistry struct {
	assets  map[string]*devices.Asset
	zones   map[string]*devices.Zone
	version uint64
}

func (r *testRegistry) Lookup(id string) *devices.Asset { return r.assets[id] }
func (r *testRegistry) Zone(id string) *devices.Zone    { return r.zones[id] }
func (r *testRegistry) Version() uint64                 { return r.version }
func (r *testRegistry) All() []*devices.Asset {
	var all []*devices.Asset
	for _, a := range r.assets {
		all = append(all, a)
	}
	return all
}
