package radio

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brocaar/lorawan"
	"github.com/brocaar/lorawan/airtime"
	"github.com/brocaar/lorawan/band"
)

func TestAirtimeAgreesWithTheReference(t *testing.T) {
	for sf := 7; sf <= 12; sf++ {
		for _, khz := range []int{125, 250, 500} {
			for coding := 5; coding <= 8; coding++ {
				for size := 0; size <= 255; size++ {
					slow := float64(int(1)<<sf)/float64(khz) > 16
					want, err := airtime.CalculateLoRaAirtime(size, sf, khz, 8, airtime.CodingRate(coding-4), true, slow)
					if err != nil {
						t.Fatal(err)
					}
					d := LoRaRate(uint8(sf), uint32(khz)*1000)
					d.CodingRate = uint8(coding)
					if got := d.Airtime(size); got != want {
						t.Fatalf("%s 4/%d, %d bytes: %v, want %v", d, coding, size, got, want)
					}
				}
			}
		}
	}
}

func TestAirtime(t *testing.T) {
	f := func(d DataRate, size int, want time.Duration) {
		t.Helper()
		if got := d.Airtime(size); got != want {
			t.Errorf("%s, %d bytes: %v, want %v", d, size, got, want)
		}
	}
	f(LoRaRate(7, 125_000), 23, 61_696*time.Microsecond)
	f(LoRaRate(12, 125_000), 13, 1_155_072*time.Microsecond)
	f(DataRate{Modulation: FSK, BitRate: 50_000}, 14, 4*time.Millisecond)
	f(DataRate{Modulation: FSK}, 14, 0)
	f(DataRate{}, 14, 0)
}

func TestDataRateNames(t *testing.T) {
	f := func(name string, want DataRate) {
		t.Helper()
		if got, ok := ParseDataRate(name); got != want || !ok || want.Modulation == LoRa && got.String() != name {
			t.Errorf("ParseDataRate(%q) = %v, %v; want %v", name, got, ok, want)
		}
		for n := range len(name) - 1 {
			if got, ok := ParseDataRate(name[:n]); ok && got == want {
				t.Errorf("ParseDataRate(%q) = %v, want none", name[:n], got)
			}
		}
	}
	f("SF7BW125", LoRaRate(7, 125_000))
	f("SF12BW500", LoRaRate(12, 500_000))
	f("SF9BW62.5", LoRaRate(9, 62_500))
	f("SF12BW812.5", LoRaRate(12, 812_500))
	f("M0CW137", DataRate{Modulation: LRFHSS, BandwidthHz: 137_000})
	for _, bad := range []string{"", "SF", "SF4BW125", "SF13BW125", "SF7BW", "SF7BW1", "SF7BW12345", "SF7BX125", "SF7BW125 ", "SF7BW62.", "BW125SF7", "M0CW0", "MCW137"} {
		if got, ok := ParseDataRate(bad); ok {
			t.Errorf("ParseDataRate(%q) = %v, want none", bad, got)
		}
	}
	if got := (DataRate{Modulation: FSK, BitRate: 50_000}).String(); got != "FSK50000" {
		t.Errorf("FSK is %q", got)
	}
	for in, want := range map[string]uint8{"4/5": 5, "4/8": 8, "CR_4_6": 6, "4/9": 0, "": 0, "5": 0, "OFF": 0} {
		if got := ParseCodingRate(in); got != want {
			t.Errorf("ParseCodingRate(%q) = %d, want %d", in, got, want)
		}
	}
}

func TestEU868AgreesWithTheReference(t *testing.T) {
	ref, err := band.GetConfig(band.EU868, false, lorawan.DwellTimeNoLimit)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		want, err := ref.GetDataRate(i)
		if err != nil {
			t.Fatal(err)
		}
		got := EU868.Rate(i)
		if int(got.SpreadingFactor) != want.SpreadFactor || got.Modulation == LoRa && int(got.BandwidthHz) != want.Bandwidth*1000 || int(got.BitRate) != want.BitRate {
			t.Errorf("data rate %d: %+v, want %+v", i, got, want)
		}
		most, err := ref.GetMaxPayloadSizeForDataRateIndex(band.LoRaWAN_1_0_3, band.RegParamRevA, i)
		if err != nil {
			t.Fatal(err)
		}
		if EU868.MaxMACPayload[i] != most.M {
			t.Errorf("data rate %d: at most %d bytes, want %d", i, EU868.MaxMACPayload[i], most.M)
		}
		if EU868.Index(got) != int8(i) {
			t.Errorf("index of %s: %d, want %d", got, EU868.Index(got), i)
		}
	}
	for i, hz := range EU868.Channels {
		c, err := ref.GetUplinkChannel(i)
		if err != nil || uint32(c.Frequency) != hz || EU868.Channel(hz) != int8(i) {
			t.Errorf("channel %d: %d Hz, want %d, %v", i, hz, c.Frequency, err)
		}
	}
}

func TestCheck(t *testing.T) {
	f := func(hz uint32, d DataRate, size int, ok bool) {
		t.Helper()
		if err := EU868.Check(hz, d, size); (err == nil) != ok {
			t.Errorf("Check(%d, %s, %d) = %v, want ok %v", hz, d, size, err, ok)
		}
	}
	f(868_100_000, LoRaRate(7, 125_000), 255, true)
	f(868_100_000, LoRaRate(12, 125_000), 64, true)
	f(868_100_000, LoRaRate(12, 125_000), 65, false)
	f(862_999_999, LoRaRate(7, 125_000), 20, false)
	f(870_000_000, LoRaRate(7, 125_000), 20, true)
	f(870_000_001, LoRaRate(7, 125_000), 20, false)
	f(903_900_000, LoRaRate(7, 125_000), 20, false)
	f(868_100_000, LoRaRate(8, 500_000), 20, false)
	f(868_100_000, DataRate{Modulation: LRFHSS, BandwidthHz: 137_000}, 128, true)
	f(0, DataRate{}, 20, true)
	if got := EU868.Index(DataRate{Modulation: LRFHSS, BandwidthHz: 137_000}); got != Unknown {
		t.Errorf("LR-FHSS has index %d, want Unknown for it is two", got)
	}
}

// The plan that is written out is the reference's too.
func TestEU868IsAsOthersAreMade(t *testing.T) {
	made := fromBand(band.EU868)
	if made.MinHz != EU868.MinHz || made.MaxHz != EU868.MaxHz || !slices.Equal(made.Channels, EU868.Channels) ||
		!slices.Equal(made.Rates[:len(EU868.Rates)], EU868.Rates) || !slices.Equal(made.MaxMACPayload[:len(EU868.Rates)], EU868.MaxMACPayload) {
		t.Errorf("made %+v, want %+v", made, EU868)
	}
}

func TestRegions(t *testing.T) {
	if _, err := RegionOf("EU999"); err == nil || !strings.Contains(err.Error(), "AS923, AS923-2") {
		t.Errorf("RegionOf(EU999): %v, want the names there are", err)
	}
	for _, name := range RegionNames() {
		r, err := RegionOf(strings.ToLower(name))
		if err != nil || r.Name != name {
			t.Errorf("RegionOf(%q) = %v, %v", name, r, err)
			continue
		}
		if len(r.Channels) == 0 || r.Index(DataRate{}) != Unknown {
			t.Errorf("%s: %d channels, index of no data rate %d", name, len(r.Channels), r.Index(DataRate{}))
		}
		for i, hz := range r.Channels {
			if hz < r.MinHz || hz > r.MaxHz || r.Channel(hz) != int8(i) {
				t.Errorf("%s: channel %d at %d Hz has index %d, limits %d to %d", name, i, hz, r.Channel(hz), r.MinHz, r.MaxHz)
			}
		}
	}
	f := func(name string, hz uint32, d DataRate, size int, index int8, ok bool) {
		t.Helper()
		r, err := RegionOf(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check(hz, d, size); (err == nil) != ok || r.Index(d) != index {
			t.Errorf("%s: Check(%d, %s, %d) = %v, want ok %v; index %d, want %d", name, hz, d, size, err, ok, r.Index(d), index)
		}
	}
	f("US915", 903_900_000, LoRaRate(10, 125_000), 19+5, 0, true)
	f("US915", 903_900_000, LoRaRate(10, 125_000), 20+5, 0, false)
	f("US915", 904_600_000, LoRaRate(8, 500_000), 60, 4, true) // and a downlink's 12
	f("US915", 903_900_000, LoRaRate(12, 500_000), 20, Unknown, false)
	f("US915", 868_100_000, LoRaRate(7, 125_000), 20, 3, false)
	f("AU915", 916_800_000, LoRaRate(12, 125_000), 20, 0, true)
	f("AS923", 923_200_000, LoRaRate(7, 250_000), 20, 6, true)
	f("AS923-3", 916_600_000, LoRaRate(7, 125_000), 20, 5, true)
	f("IN865", 865_062_500, LoRaRate(7, 125_000), 20, 5, true)
	f("IN865", 868_100_000, LoRaRate(7, 125_000), 20, 5, false)
}
