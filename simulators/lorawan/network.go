package lorawan

import (
	"fmt"
	"sort"
	"time"

	"panormus/devices"
	"panormus/simulators/city"
)

// Config says which network to make. Zero values take the defaults named.
type Config struct {
	// Seed chooses everything that is left to chance.
	Seed int64
	// Nodes is how many nodes there are, strangers included (300).
	Nodes int
	// Gateways is how many gateways there are (12).
	Gateways int
	// Rate is uplinks a second of all nodes together (1).
	Rate float64
}

// A Network is the nodes and gateways and what they say at any time. Its methods but Run are safe
// for concurrent use.
type Network struct {
	config   Config
	nodes    []node
	gateways []gateway
	counters counters
	books    books
}

// A fault is what is wrong with a node, or what is done to it.
type fault uint8

const (
	sound     fault = iota
	wrongKey        // the registry has another key
	stranger        // not in the registry
	resetting       // its counter restarts now and then
	replayed        // somebody records its frames and sends them again
)

var faultNames = [...]string{"", "wrong key", "stranger", "resetting", "replayed"}

// A path is who hands a node's data on.
type path uint8

const (
	byGateways path = iota // raw frames
	byObject               // a ChirpStack that decodes
	byData                 // a ChirpStack that does not
)

// A node is one sensor.
type node struct {
	index  int
	key    uint64
	kind   *kind
	device devices.Device
	devEUI string
	name   string
	fault  fault
	path   path
	radio  session // the keys it uses
	links  []link
	sf     int
	period time.Duration
	phase  time.Duration
}

// New makes a network.
func New(config Config) *Network {
	if config.Nodes <= 0 {
		config.Nodes = 300
	}
	if config.Gateways <= 0 {
		config.Gateways = 12
	}
	if !(config.Rate > 0) {
		config.Rate = 1
	}
	n := &Network{config: config, nodes: make([]node, config.Nodes)}
	seed := hash(uint64(config.Seed), 'n')
	n.gateways = newGateways(seed, city.Places(config.Seed, "lorawan gateway", config.Gateways))
	places := city.Places(config.Seed, "lorawan node", config.Nodes)
	numbers := map[*kind]int{}
	for i := range n.nodes {
		k := kinds[(i+i/20)%len(kinds)]
		numbers[k]++
		n.nodes[i].make(seed, i, k, numbers[k], n, places[i])
	}
	n.breakSome(seed)
	for i := range n.nodes {
		n.nodes[i].register()
	}
	n.books.all = make([]Book, len(n.nodes))
	n.books.last = make([]counterState, len(n.nodes))
	for i := range n.nodes {
		n.books.all[i] = Book{Device: n.nodes[i].device.ID, Fault: faultNames[n.nodes[i].fault]}
	}
	return n
}

func (nd *node) make(seed uint64, i int, k *kind, number int, n *Network, at city.Place) {
	key := hash(seed, 'N', uint64(i))
	*nd = node{index: i, key: key, kind: k, name: fmt.Sprintf("%s-%04d", k.prefix, number), devEUI: fmt.Sprintf("02%014x", hash(key, 'e')>>8)}
	switch j := i % 20; {
	case j >= 17:
		nd.path = byData
	case j >= 14:
		nd.path = byObject
	}
	// NwkID 0 and 1 are for experiments (type 0 NetID).
	nd.radio = newSession(key, 0x0100_0000|uint32(hash(seed, 'a')&0xff)<<16|uint32(i+1), hash(key, 'v')%10 < 3)
	nd.links = links(key, at, n.gateways)
	nd.sf = spreading(nd.links)
	mean := float64(n.config.Nodes) / n.config.Rate * float64(time.Second)
	nd.period = max(time.Duration(mean*within(0.8, 1.25, key, 'p')).Truncate(time.Millisecond), time.Millisecond)
	nd.phase = time.Duration(unit(key, '1') * float64(nd.period)).Truncate(time.Millisecond)
	lat, lon := at.Lat, at.Lon
	nd.device = devices.Device{
		ID: nd.name, Domain: k.domain, Profile: k.profile, Zone: at.Zone, Name: fmt.Sprintf("%s, %s", nd.name, at.Street),
		Lat: &lat, Lon: &lon, Tags: map[string]string{"street": at.Street, "network": "lorawan"}, Status: devices.Claimed,
	}
}

// breakSome gives some of the nodes that gateways forward their faults, one of each at least where
// there are twenty nodes.
func (n *Network) breakSome(seed uint64) {
	var order []*node
	for i := range n.nodes {
		if n.nodes[i].path == byGateways {
			order = append(order, &n.nodes[i])
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return hash(order[i].key, 'f') < hash(order[j].key, 'f') })
	for _, share := range []struct {
		fault fault
		of    float64
	}{{wrongKey, 0.01}, {stranger, 0.015}, {resetting, 0.015}, {replayed, 0.03}} {
		count := int(share.of * float64(len(n.nodes)))
		if count == 0 && len(n.nodes) >= 20 {
			count = 1
		}
		count = min(count, len(order))
		for _, nd := range order[:count] {
			nd.fault = share.fault
		}
		order = order[count:]
	}
	// Two nodes share an address, as may be: the key tells them apart.
	if len(order) >= 2 {
		order[1].radio.addr = order[0].radio.addr
	}
	for i := range n.nodes {
		if nd := &n.nodes[i]; nd.fault == stranger {
			nd.radio.addr = 0x2600_0000 | uint32(hash(seed, 'x', uint64(i)))&0xff_ffff // of another network
		}
	}
}

// register completes what the registry is told.
func (nd *node) register() {
	told := nd.radio
	if nd.fault == wrongKey {
		told = newSession(hash(nd.key, 'w'), told.addr, told.v11)
	}
	nd.device.LoRaWAN = told.registered(nd.devEUI)
}

// Devices returns the nodes as the registry takes them, with their keys, and the gateways under
// their EUIs; strangers are left out.
func (n *Network) Devices() []devices.Device {
	ds := make([]devices.Device, 0, len(n.nodes)+len(n.gateways))
	for i := range n.nodes {
		if n.nodes[i].fault != stranger {
			ds = append(ds, n.nodes[i].device)
		}
	}
	for i := range n.gateways {
		g := &n.gateways[i]
		lat, lon := g.place.Lat, g.place.Lon
		ds = append(ds, devices.Device{
			ID: g.id(), Domain: "lorawan", Profile: gatewayProfile, Zone: g.place.Zone, Name: fmt.Sprintf("Gateway %d, %s", i+1, g.place.Street),
			Lat: &lat, Lon: &lon, Tags: map[string]string{"street": g.place.Street}, Status: devices.Claimed,
		})
	}
	return ds
}

// An uplink is what a node sends in one slot.
type uplink struct {
	node      *node
	slot      int64
	at        time.Time
	fCnt      uint32
	port      uint8
	payload   []byte
	fields    []field // what a right codec makes of payload
	sf        int
	channel   int
	confirmed bool
	status    bool // a DevStatusAns comes with it
	battery   uint8
	margin    int8
	heard     []reception
	phy       []byte // of nodes that gateways forward
}

// dataRate is the index in EU868.
func (u *uplink) dataRate() int { return 12 - u.sf }

// observations is how many a receiver that is right makes of it.
func (u *uplink) observations() int64 {
	count := int64(len(u.fields))
	if u.status {
		count += 2 // margin and battery
	}
	return count
}

// slotAt is the first slot of nd that begins at t or later.
func (nd *node) slotAt(t time.Time) int64 {
	ms, period := t.Add(-nd.phase).UnixMilli(), nd.period.Milliseconds()
	return (ms + period - 1) / period
}

// at is when slot begins.
func (nd *node) at(slot int64) time.Time {
	return time.UnixMilli(slot * nd.period.Milliseconds()).Add(nd.phase).UTC()
}

// counterBits bounds frame counters, because a receiver that has not heard a node before can try
// only so many upper halves. They count from activated, so that at the default rate none goes round
// before 2034; a node that sends each second starts again from 0 every twelve days.
const counterBits = 20

var activated = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Of the slots of a node whose counter restarts: in each cycle it counts on in the first so many,
// and from 0 in the rest. It stays within 16 bits and far from where it was, so that every policy
// of a receiver has one right answer.
const (
	resetCycle  = 64
	resetAfter  = 48
	resetLead   = 200
	resetCycles = 1000
)

// counter is the frame counter of a slot.
func (nd *node) counter(slot int64) uint32 {
	if nd.fault != resetting {
		return uint32(slot-nd.slotAt(activated)) & (1<<counterBits - 1)
	}
	cycle, i := slot/resetCycle, slot%resetCycle
	if i >= resetAfter {
		return uint32(i - resetAfter)
	}
	return uint32(resetLead + cycle%resetCycles*resetAfter + i)
}

// uplink is what nd sends in slot.
func (nd *node) uplink(slot int64) *uplink {
	u := &uplink{
		node: nd, slot: slot, at: nd.at(slot), fCnt: nd.counter(slot), sf: nd.sf,
		channel: int(hash(nd.key, 'h', uint64(slot)) % uint64(len(channels))), heard: nd.receptions(slot),
	}
	nd.kind.say(nd, u)
	if nd.path == byGateways {
		u.confirmed = hash(nd.key, 'k')%8 == 0
		// In LoRaWAN 1.1 the commands beside a payload are encrypted; those nodes send none.
		if !nd.radio.v11 && slot%24 == 0 {
			u.status, u.battery, u.margin = true, uint8(1+hash(nd.key, 'b')%254), int8(hash(nd.key, 'm', uint64(slot))%30)-10
		}
		u.phy = nd.radio.frame(u)
	}
	return u
}

// sentAgain reports whether somebody sends the frame of slot again.
func (nd *node) sentAgain(slot int64) bool {
	return nd.fault == replayed && hash(nd.key, 'R', uint64(slot))%4 == 0
}
