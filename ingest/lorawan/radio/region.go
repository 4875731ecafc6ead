package radio

import "fmt"

// Unknown is an index that is not known.
const Unknown = -1

// A Region is a channel plan (LoRaWAN regional parameters, RP002).
type Region struct {
	Name         string
	MinHz, MaxHz uint32
	// Rates by data rate index.
	Rates []DataRate
	// MaxMACPayload by data rate index: M of the regional parameters, without repeaters, in bytes.
	MaxMACPayload []int
	// Channels are the frequencies of the default channels in Hz; networks add their own.
	Channels []uint32
}

// EU868 is the plan of 863 to 870 MHz.
var EU868 = Region{
	Name: "EU868", MinHz: 863_000_000, MaxHz: 870_000_000,
	Rates: []DataRate{
		LoRaRate(12, 125_000), LoRaRate(11, 125_000), LoRaRate(10, 125_000), LoRaRate(9, 125_000),
		LoRaRate(8, 125_000), LoRaRate(7, 125_000), LoRaRate(7, 250_000), {Modulation: FSK, BitRate: 50_000},
		{Modulation: LRFHSS, BandwidthHz: 137_000}, {Modulation: LRFHSS, BandwidthHz: 137_000},
		{Modulation: LRFHSS, BandwidthHz: 336_000}, {Modulation: LRFHSS, BandwidthHz: 336_000},
	},
	MaxMACPayload: []int{59, 59, 59, 123, 250, 250, 250, 250, 58, 123, 58, 123},
	Channels:      []uint32{868_100_000, 868_300_000, 868_500_000},
}

// Index is that of an uplink's data rate, or Unknown where the plan has none such or, as for LR-FHSS, two.
func (r *Region) Index(d DataRate) int8 {
	found := int8(Unknown)
	if d.Modulation == None {
		return found
	}
	for i, rate := range r.Rates {
		if rate.Modulation == d.Modulation && rate.SpreadingFactor == d.SpreadingFactor && rate.BandwidthHz == d.BandwidthHz && rate.BitRate == d.BitRate {
			if found != Unknown {
				return Unknown
			}
			found = int8(i)
		}
	}
	return found
}

// Rate is the data rate with the index; the zero DataRate where the plan has none.
func (r *Region) Rate(index int) DataRate {
	if index < 0 || index >= len(r.Rates) {
		return DataRate{}
	}
	return r.Rates[index]
}

// Channel is the index of the default channel at a frequency, or Unknown.
func (r *Region) Channel(hz uint32) int8 {
	for i, f := range r.Channels {
		if f == hz {
			return int8(i)
		}
	}
	return Unknown
}

// Check reports why an uplink of size bytes (the whole PHYPayload) cannot be one of the region. A
// frequency of 0 or an unknown data rate is not checked.
func (r *Region) Check(hz uint32, d DataRate, size int) error {
	if hz != 0 && (hz < r.MinHz || hz > r.MaxHz) {
		return fmt.Errorf("frequency %d Hz, want %d to %d in %s", hz, r.MinHz, r.MaxHz, r.Name)
	}
	if d.Modulation == None {
		return nil
	}
	most := 0
	for i := range r.Rates {
		rate := &r.Rates[i]
		if rate.Modulation == d.Modulation && rate.SpreadingFactor == d.SpreadingFactor && rate.BandwidthHz == d.BandwidthHz && rate.BitRate == d.BitRate {
			most = max(most, r.MaxMACPayload[i])
		}
	}
	if most == 0 {
		return fmt.Errorf("data rate %s, want one of %s", d, r.Name)
	}
	if most += 1 + 4; size > most { // MHDR and MIC
		return fmt.Errorf("frame of %d bytes at %s, want at most %d in %s", size, d, most, r.Name)
	}
	return nil
}
