package city

import (
	"reflect"
	"testing"
)

func TestPlaces(t *testing.T) {
	for _, n := range []int{0, 1, 12, 300} {
		ps := Places(1, "gauge", n)
		if len(ps) != n || !reflect.DeepEqual(ps, Places(1, "gauge", n)) {
			t.Fatalf("%d places, want %d, the same each time", len(ps), n)
		}
		zones, seen := map[string]bool{}, map[[2]float64]bool{}
		for _, p := range ps {
			if p.Zone == "" || p.Street == "" || !draw().land.contains(fromDegrees(p.Lon, p.Lat)) || seen[[2]float64{p.Lat, p.Lon}] {
				t.Errorf("%+v of %d is in the sea, in no district or taken", p, n)
			}
			zones[p.Zone], seen[[2]float64{p.Lat, p.Lon}] = true, true
		}
		if n == 300 && len(zones) != len(drawnDistricts) {
			t.Errorf("%d districts have places, want %d", len(zones), len(drawnDistricts))
		}
	}
	if reflect.DeepEqual(Places(1, "gauge", 12), Places(2, "gauge", 12)) || reflect.DeepEqual(Places(1, "gauge", 12), Places(1, "tap", 12)) {
		t.Error("another seed or thing has the same places")
	}
}
