package lorawan

import (
	"fmt"
	"math"
	"sort"
	"time"

	"panormus/simulators/city"
)

// A gateway hears nodes and forwards what it hears.
type gateway struct {
	index     int
	eui       uint64
	place     city.Place
	altitudeM float64
	clock     bool // it knows the time (GPS)
	forwards  forwarder
}

// A forwarder is how a gateway hands frames on.
type forwarder uint8

const (
	packetForwarder forwarder = iota // Semtech UDP
	bridgeJSON                       // ChirpStack gateway bridge over MQTT, by marshaler
	bridgeProto
)

func (g *gateway) id() string { return fmt.Sprintf("%016x", g.eui) }

func newGateways(seed uint64, places []city.Place) []gateway {
	gs := make([]gateway, len(places))
	for i := range gs {
		gs[i] = gateway{
			index: i, place: places[i], altitudeM: math.Round(within(15, 60, seed, 'g', uint64(i))),
			// Locally administered (bit 1 of the first byte), so that it is nobody's.
			eui:   0x0250414c_00000000 | hash(seed, 'G')&0xffff<<16 | uint64(i+1),
			clock: i%3 != 1, forwards: []forwarder{packetForwarder, packetForwarder, bridgeJSON, bridgeProto}[i%4],
		}
	}
	return gs
}

// channels are those of the EU868 plan that networks commonly use, by index.
var channels = [8]uint32{868_100_000, 868_300_000, 868_500_000, 867_100_000, 867_300_000, 867_500_000, 867_700_000, 867_900_000}

// A link is how a node reaches a gateway on an average day.
type link struct {
	gateway int
	rssi    float64 // dBm
}

const (
	noiseFloor = -117.0 // dBm in 125 kHz, noise figure of 6 dB
	maxLinks   = 6
)

// demodulation is the least signal-to-noise ratio in dB by spreading factor (Semtech SX1276).
var demodulation = map[int]float64{7: -7.5, 8: -10, 9: -12.5, 10: -15, 11: -17.5, 12: -20}

// links are the gateways that a node at p may reach, best first, one at least: 14 dBm, 6 dBi, the
// urban loss of 3GPP TR 36.942 (120.9 + 37.6 log km), houses and hills with a deviation of 7 dB.
func links(key uint64, p city.Place, gs []gateway) []link {
	all := make([]link, len(gs))
	for i := range gs {
		north := (p.Lat - gs[i].place.Lat) * 111
		east := (p.Lon - gs[i].place.Lon) * 87.6
		km := max(math.Hypot(north, east), 0.05)
		all[i] = link{i, 20 - 120.9 - 37.6*math.Log10(km) + 7*gauss(key, 'l', uint64(i))}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].rssi > all[j].rssi })
	n := 1
	for n < min(len(all), maxLinks) && all[n].rssi-noiseFloor > demodulation[12] {
		n++
	}
	return all[:min(n, len(all))]
}

// spreading is what adaptive data rate gives a node with these links: 8 dB to spare.
func spreading(ls []link) int {
	for sf := 7; sf < 12; sf++ {
		if len(ls) > 0 && ls[0].rssi-noiseFloor-8 >= demodulation[sf] {
			return sf
		}
	}
	return 12
}

// A reception is an uplink as one gateway hears it.
type reception struct {
	gateway int
	rssi    float64       // dBm, whole
	snr     float64       // dB, quarters
	after   time.Duration // from the transmission until the gateway has forwarded it, under 75 ms
}

// receptions are who hears n's frame of a slot. One in fifty is lost at each gateway to collisions,
// beyond those too weak.
func (n *node) receptions(slot int64) []reception {
	var rs []reception
	for _, l := range n.links {
		k := hash(n.key, 'r', uint64(slot), uint64(l.gateway))
		rssi := l.rssi + 3*gauss(k)
		snr := math.Min(rssi-noiseFloor, 12) + gauss(k, 's')
		if snr < demodulation[n.sf] || hash(k, 'c')%50 == 0 {
			continue
		}
		rs = append(rs, reception{
			gateway: l.gateway, rssi: math.Round(rssi), snr: math.Round(snr*4) / 4,
			after: 5*time.Millisecond + time.Duration(hash(k, 'd')%70)*time.Millisecond,
		})
	}
	return rs
}
