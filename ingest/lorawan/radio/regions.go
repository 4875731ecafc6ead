package radio

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/brocaar/lorawan"
	"github.com/brocaar/lorawan/band"
)

// limits are the frequencies between which the uplinks of a region are, in Hz; the reference knows
// channels only, and networks add their own.
var limits = map[band.Name][2]uint32{
	band.EU868: {863_000_000, 870_000_000}, band.US915: {902_000_000, 928_000_000}, band.AU915: {915_000_000, 928_000_000},
	band.AS923: {915_000_000, 928_000_000}, band.AS923_2: {915_000_000, 928_000_000}, band.AS923_3: {915_000_000, 928_000_000},
	band.AS923_4: {917_000_000, 920_000_000}, band.IN865: {865_000_000, 867_000_000}, band.KR920: {920_900_000, 923_300_000},
	band.RU864: {864_000_000, 870_000_000}, band.EU433: {433_050_000, 434_790_000}, band.CN470: {470_000_000, 510_000_000},
}

// regions are those of limits, by name, as the reference has them but for EU868, which is written out.
var regions = sync.OnceValue(func() map[string]*Region {
	all := map[string]*Region{EU868.Name: &EU868}
	for name := range limits {
		if string(name) != EU868.Name {
			all[string(name)] = fromBand(name)
		}
	}
	return all
})

// RegionOf is the plan of the name, such as "US915", in any case.
func RegionOf(name string) (*Region, error) {
	if r := regions()[strings.ToUpper(name)]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("region %q, want one of %s", name, strings.Join(RegionNames(), ", "))
}

// RegionNames are those that RegionOf knows.
func RegionNames() []string {
	var names []string
	for name := range regions() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fromBand makes the plan of a region for uplinks: an index of downlinks only has the zero DataRate.
func fromBand(name band.Name) *Region {
	ref, err := band.GetConfig(name, false, lorawan.DwellTimeNoLimit)
	if err != nil {
		panic(fmt.Sprintf("BUG: %v", err))
	}
	r := &Region{Name: string(name), MinHz: limits[name][0], MaxHz: limits[name][1]}
	for i := range 16 {
		rate, most := DataRate{}, 0
		if d, err := ref.GetDataRate(i); err == nil {
			if up, err := ref.GetDataRateIndex(true, d); err == nil && up == i {
				rate = rateOf(d)
				size, err := ref.GetMaxPayloadSizeForDataRateIndex(band.LoRaWAN_1_0_4, band.RegParamRevRP002_1_0_3, i)
				if err != nil {
					panic(fmt.Sprintf("BUG: %s: data rate %d: %v", name, i, err))
				}
				most = size.M
			}
		}
		r.Rates, r.MaxMACPayload = append(r.Rates, rate), append(r.MaxMACPayload, most)
	}
	for _, i := range ref.GetStandardUplinkChannelIndices() {
		if c, err := ref.GetUplinkChannel(i); err == nil {
			r.Channels = append(r.Channels, c.Frequency)
		}
	}
	return r
}

func rateOf(d band.DataRate) DataRate {
	switch d.Modulation {
	case band.LoRaModulation:
		return LoRaRate(uint8(d.SpreadFactor), uint32(d.Bandwidth)*1000)
	case band.FSKModulation:
		return DataRate{Modulation: FSK, BitRate: uint32(d.BitRate)}
	case band.LRFHSSModulation:
		return DataRate{Modulation: LRFHSS, BandwidthHz: uint32(d.OccupiedChannelWidth)}
	}
	panic(fmt.Sprintf("BUG: modulation %q", d.Modulation))
}
