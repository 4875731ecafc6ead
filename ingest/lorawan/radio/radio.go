// Package radio knows what LoRa is on the air: data rates by name, time on air, and the
// channel plans of the regions. It is pure and holds no state.
package radio

import (
	"math"
	"strconv"
	"time"
)

// Modulation is how bits become waves.
type Modulation uint8

// The modulations of LoRaWAN. None is a data rate that nobody told.
const (
	None Modulation = iota
	LoRa
	FSK
	LRFHSS
)

// A DataRate is a modulation with its parameters. The zero DataRate is not known.
type DataRate struct {
	Modulation      Modulation
	SpreadingFactor uint8  // LoRa only, 5 to 12
	BandwidthHz     uint32 // LoRa's bandwidth or LR-FHSS's operating channel width
	BitRate         uint32 // FSK only, bit/s
	CodingRate      uint8  // LoRa: n of 4/n, 5 to 8; 0 stands for 5
}

// LoRaRate is the LoRa data rate with 4/5 coding.
func LoRaRate(spreadingFactor uint8, bandwidthHz uint32) DataRate {
	return DataRate{Modulation: LoRa, SpreadingFactor: spreadingFactor, BandwidthHz: bandwidthHz}
}

// usual are the names of LoRa data rates in the bands below 1 GHz, made once.
var usual = func() (t [3][13]string) {
	for b, khz := range []uint32{125, 250, 500} {
		for sf := uint8(5); sf <= 12; sf++ {
			t[b][sf] = "SF" + strconv.Itoa(int(sf)) + "BW" + strconv.Itoa(int(khz))
		}
	}
	return t
}()

// String is "SF7BW125" as LoRaWAN's regional parameters write it, "FSK50000" with the bit rate,
// "LRFHSS137" with the width in kHz, or "".
func (d DataRate) String() string {
	switch d.Modulation {
	case LoRa:
		if d.SpreadingFactor >= 5 && d.SpreadingFactor <= 12 {
			switch d.BandwidthHz {
			case 125_000:
				return usual[0][d.SpreadingFactor]
			case 250_000:
				return usual[1][d.SpreadingFactor]
			case 500_000:
				return usual[2][d.SpreadingFactor]
			}
		}
		return "SF" + strconv.Itoa(int(d.SpreadingFactor)) + "BW" + strconv.FormatFloat(float64(d.BandwidthHz)/1000, 'f', -1, 64)
	case FSK:
		return "FSK" + strconv.FormatUint(uint64(d.BitRate), 10)
	case LRFHSS:
		return "LRFHSS" + strconv.Itoa(int(d.BandwidthHz/1000))
	}
	return ""
}

// ParseDataRate reads "SF7BW125", and "M0CW137" as forwarders write LR-FHSS.
func ParseDataRate[T string | []byte](s T) (DataRate, bool) {
	switch {
	case len(s) >= 6 && s[0] == 'S' && s[1] == 'F':
		sf, rest, ok := digits(s[2:])
		if !ok || sf < 5 || sf > 12 || len(rest) < 3 || rest[0] != 'B' || rest[1] != 'W' {
			return DataRate{}, false
		}
		khz, rest, ok := digits(rest[2:])
		hz := khz * 1000
		if ok && len(rest) == 2 && rest[0] == '.' && rest[1]-'0' <= 9 {
			hz, rest = hz+uint32(rest[1]-'0')*100, rest[2:]
		}
		return LoRaRate(uint8(sf), hz), ok && len(rest) == 0 && hz >= 7_800 && hz <= 2_000_000
	case len(s) >= 5 && s[0] == 'M':
		_, rest, ok := digits(s[1:])
		if !ok || len(rest) < 3 || rest[0] != 'C' || rest[1] != 'W' {
			return DataRate{}, false
		}
		khz, rest, ok := digits(rest[2:])
		return DataRate{Modulation: LRFHSS, BandwidthHz: khz * 1000}, ok && len(rest) == 0 && khz > 0
	}
	return DataRate{}, false
}

// digits reads up to four of them.
func digits[T string | []byte](s T) (v uint32, rest T, ok bool) {
	n := 0
	for n < len(s) && n < 4 && s[n]-'0' <= 9 {
		v = v*10 + uint32(s[n]-'0')
		n++
	}
	return v, s[n:], n > 0
}

// ParseCodingRate reads "4/5" to "4/8" and ChirpStack's "CR_4_5"; anything else, LoRa's long
// interleaving included, is 0.
func ParseCodingRate[T string | []byte](s T) uint8 {
	if n := len(s); n >= 3 && s[n-3] == '4' && (s[n-2] == '/' || s[n-2] == '_') && s[n-1] >= '5' && s[n-1] <= '8' {
		return s[n-1] - '0'
	}
	return 0
}

// preamble is LoRaWAN's, in symbols, without the sync word's 4.25.
const preamble = 8

// Airtime is how long an uplink of size bytes (the whole PHYPayload) is on the air, 0 where that is
// not known (Semtech AN1200.13; explicit header, CRC, low data rate optimisation where a symbol
// takes more than 16 ms). LR-FHSS is not computed.
func (d DataRate) Airtime(size int) time.Duration {
	switch {
	case d.Modulation == LoRa && d.SpreadingFactor >= 5 && d.SpreadingFactor <= 12 && d.BandwidthHz > 0:
		sf := int(d.SpreadingFactor)
		symbol := float64(int(1)<<sf) / float64(d.BandwidthHz) // seconds
		slow := 0
		if symbol > 0.016 {
			slow = 1
		}
		coding := max(int(d.CodingRate), 5)
		bits := 8*size - 4*sf + 28 + 16
		per := 4 * (sf - 2*slow)
		blocks := 0
		if bits > 0 {
			blocks = (bits + per - 1) / per
		}
		symbols := float64(preamble) + 4.25 + 8 + float64(blocks*coding)
		return time.Duration(math.Round(symbols * symbol * 1e9))
	case d.Modulation == FSK && d.BitRate > 0:
		// Preamble 5, sync word 3, length 1, CRC 2.
		return time.Duration(5+3+1+size+2) * 8 * time.Second / time.Duration(d.BitRate)
	}
	return 0
}
