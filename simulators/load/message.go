package load

import (
	"encoding/binary"
	"fmt"
)

// A message is all there is to know of one publish: an encoder makes its bytes from it.
type message struct {
	device int32  // its number, from 0
	n      uint32 // counts the device's messages from 1
	ts     int64  // Unix ms
}

// A field is a number in the packet: digits at a fixed place, perhaps around a decimal point.
type field struct {
	at   int // first byte
	size int // bytes, the point included
}

// A quantity is one metric: a base that belongs to the device, and a ripple or a slope over n. All
// are integers in units of the last decimal; the sum always has as many digits as base has.
type quantity struct {
	name     string
	decimals int
	base     uint64 // least value
	spread   uint64 // devices differ by less than this
	ripple   uint64 // a device's values differ by less than this
	slope    uint64 // added by each message, wrapping at wrap
	wrap     uint64
}

// quantities are a street light's. The last metric of a message is always the counter n.
var quantities = []quantity{
	{name: "power_w", decimals: 1, base: 400, spread: 400, ripple: 30},
	{name: "voltage_v", decimals: 1, base: 2260, spread: 60, ripple: 25},
	{name: "current_a", decimals: 3, base: 1200, spread: 700, ripple: 40},
	{name: "energy_kwh", decimals: 2, base: 100_000, spread: 300_000, slope: 1, wrap: 500_000},
}

// vehicle are the first quantities of a device that moves, in units of 1e-5 degrees.
var vehicle = []quantity{
	{name: "position_lat", decimals: 5, base: 3_805_000, spread: 7_500, slope: 9, wrap: 7_500},
	{name: "position_lon", decimals: 5, base: 1_328_000, spread: 7_500, slope: 9, wrap: 7_500},
}

// quantityAt returns the i-th metric; those past the street light's are plain gauges.
func quantityAt(i int) quantity {
	if i < len(quantities) {
		return quantities[i]
	}
	return quantity{name: fmt.Sprintf("gauge_%03d", i), decimals: 1, base: 200, spread: 500, ripple: 50}
}

// digits of a device's number in its id.
const deviceDigits = 7

// An encoder turns messages into PUBLISH packets by patching one packet in place. It is not safe
// for concurrent use.
type encoder struct {
	prefix string
	domain string
	seed   uint64
	qos    byte
	values []quantity

	packet []byte
	width  int // digits of n the packet has room for
	id     field
	pid    int // 0 at QoS 0
	ts     field
	number field
	fields []field

	patchedTS     int64
	patchedDevice int32
}

// newEncoder's messages have metrics metrics, those of first before all others.
func newEncoder(domain, prefix string, metrics int, qos byte, seed int64, first ...quantity) *encoder {
	e := &encoder{prefix: prefix, domain: domain, seed: uint64(seed), qos: qos}
	e.values = append(e.values, first[:min(len(first), metrics-1)]...)
	for i := range metrics - 1 - len(e.values) {
		e.values = append(e.values, quantityAt(i))
	}
	e.fields = make([]field, len(e.values))
	e.layOut(1)
	return e
}

// layOut makes the packet anew with room for width digits of n.
func (e *encoder) layOut(width int) {
	topic := "city/" + e.domain + "/" + e.prefix + "-"
	idInTopic := len(topic)
	topic += zeros(deviceDigits) + "/telemetry"

	payload := []byte(`{"ts":`)
	add := func(size int) field {
		f := field{at: len(payload), size: size}
		payload = append(payload, zeros(size)...)
		return f
	}
	ts := add(13)
	for i, q := range e.values {
		payload = append(payload, `,"`+q.name+`":`...)
		e.fields[i] = add(digits(q.base+q.spread) + 1)
		payload[e.fields[i].at+e.fields[i].size-1-q.decimals] = '.'
	}
	payload = append(payload, `,"n":`...)
	number := add(width)
	payload = append(payload, '}')

	first := byte(packetPublish)
	n := 2 + len(topic) + len(payload)
	if e.qos > 0 {
		first |= publishQoS1
		n += 2
	}
	p := appendLength([]byte{first}, n)
	e.id = field{at: len(p) + 2 + idInTopic, size: deviceDigits}
	p = appendString(p, topic)
	e.pid = 0
	if e.qos > 0 {
		e.pid = len(p)
		p = append(p, 0, 0)
	}
	for _, f := range append([]*field{&ts, &number}, pointers(e.fields)...) {
		f.at += len(p)
	}
	e.ts, e.number = ts, number
	e.packet = append(p, payload...)
	e.width = width
	e.patchedTS, e.patchedDevice = -1, -1
}

// append appends the packet of m under packet identifier pid to b.
func (e *encoder) append(b []byte, m message, pid uint16, dup bool) []byte {
	if w := digits(uint64(m.n)); w != e.width {
		e.layOut(w)
	}
	if m.ts != e.patchedTS {
		e.patch(e.ts, uint64(m.ts))
		e.patchedTS = m.ts
	}
	if m.device != e.patchedDevice {
		e.patch(e.id, uint64(m.device))
		e.patchedDevice = m.device
	}
	if e.qos > 0 {
		binary.BigEndian.PutUint16(e.packet[e.pid:], pid)
	}
	e.patch(e.number, uint64(m.n))
	own := mix(e.seed ^ uint64(m.device)<<32)
	now := mix(own ^ uint64(m.n))
	for i := range e.values {
		q := &e.values[i]
		v := q.base + (own>>8)%q.spread
		if q.ripple > 0 {
			v += (now >> 16) % q.ripple
		}
		if q.slope > 0 {
			v += uint64(m.n) * q.slope % q.wrap
		}
		f := e.fields[i]
		e.patchPoint(f, f.size-1-q.decimals, v)
		own, now = own>>7|own<<57, now>>7|now<<57
	}
	start := len(b)
	b = append(b, e.packet...)
	if dup {
		b[start] |= publishDup
	}
	return b
}

// patch writes v right-aligned into f.
func (e *encoder) patch(f field, v uint64) {
	patchDigits(e.packet[f.at:f.at+f.size], v)
}

// patchPoint is patch around the decimal point at byte point of f.
func (e *encoder) patchPoint(f field, point int, v uint64) {
	p := e.packet[f.at : f.at+f.size]
	for i := len(p) - 1; i >= 0; i-- {
		if i == point {
			continue
		}
		p[i] = '0' + byte(v%10)
		v /= 10
	}
}

// payloadBytes is the size of the payload as laid out now.
func (e *encoder) payloadBytes() int { return len(e.packet) - e.ts.at + len(`{"ts":`) }

// patchDigits writes v right-aligned into p.
func patchDigits(p []byte, v uint64) {
	for i := len(p) - 1; i >= 0; i-- {
		p[i] = '0' + byte(v%10)
		v /= 10
	}
}

// mix is the finaliser of SplitMix64: a cheap hash with every bit in play.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func digits(v uint64) int {
	n := 1
	for v >= 10 {
		v /= 10
		n++
	}
	return n
}

func zeros(n int) string {
	return "0000000000000000000000"[:n]
}

func pointers(fs []field) []*field {
	ps := make([]*field, len(fs))
	for i := range fs {
		ps[i] = &fs[i]
	}
	return ps
}
