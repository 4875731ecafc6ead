package live

import (
	"encoding/binary"
	"math"
)

// What a record of a binary frame holds; FEED.md draws it.
const (
	recordIdentity = 1 << iota // id, domain, zone, profile, name
	recordPosition
	recordTime
	recordAlarm
	recordValues
	recordRemoved
	recordWhole
)

// How a value of a binary frame is written.
const (
	valueNull = iota
	valueInteger
	valueFloat32
	valueFloat64
	valueText
)

// A Binary builds the body of a binary frame: a base time, a table of texts, records. Its layout is
// in FEED.md. It belongs to one goroutine.
type Binary struct {
	// Sees says whose devices are written; others are written as removed. Nil: all.
	Sees Sees

	state   *State
	texts   map[string]uint64
	table   []byte
	records []byte
	count   uint64
	base    int64 // Unix ms; times are told from it
}

// NewBinary begins an empty body.
func (s *State) NewBinary() *Binary { return &Binary{state: s, texts: map[string]uint64{}} }

func (b *Binary) text(s string) {
	n, ok := b.texts[s]
	if !ok {
		n = uint64(len(b.texts))
		b.texts[s] = n
		b.table = append(binary.AppendUvarint(b.table, uint64(len(s))), s...)
	}
	b.records = binary.AppendUvarint(b.records, n)
}

// Append adds a device as AppendItem does: whole if from is 0, else what changed at from or later.
func (b *Binary) Append(d *Device, from uint32) {
	names := b.state.names.all()
	b.count++
	b.records = binary.AppendUvarint(b.records, uint64(d.index))
	flags := len(b.records)
	b.records = append(b.records, 0)
	set := func(flag byte) { b.records[flags] |= flag }
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.removed {
		set(recordRemoved | recordIdentity)
		b.identity(d)
		return
	}
	if b.Sees != nil && !b.Sees(d.id, d.where()) {
		set(recordRemoved | recordIdentity)
		b.text(d.id)
		for range 4 { // where it is now is not to be seen
			b.text("")
		}
		return
	}
	whole := from == 0
	if whole {
		set(recordWhole)
	}
	if whole || d.metaVer >= from {
		set(recordIdentity)
		b.identity(d)
	}
	if whole && d.lat == d.lat || !whole && d.posVer >= from {
		set(recordPosition)
		lat, lon := int32(math.MinInt32), int32(math.MinInt32) // not known any more
		if d.lat == d.lat {
			lat, lon = int32(math.Round(d.lat*1e7)), int32(math.Round(d.lon*1e7))
		}
		b.records = binary.LittleEndian.AppendUint32(b.records, uint32(lat))
		b.records = binary.LittleEndian.AppendUint32(b.records, uint32(lon))
	}
	if d.seen != 0 {
		set(recordTime)
		if b.base == 0 {
			b.base = d.seen
		}
		b.records = binary.AppendVarint(b.records, d.seen-b.base)
	}
	if whole || d.alarmVer >= from {
		set(recordAlarm)
		b.records = append(b.records, byte(d.alarm))
	}
	n := 0
	for i := range d.metrics {
		if d.metrics[i].ver >= from {
			n++
		}
	}
	if n == 0 {
		return
	}
	set(recordValues)
	b.records = binary.AppendUvarint(b.records, uint64(n))
	for i := range d.metrics {
		m := &d.metrics[i]
		if m.ver < from {
			continue
		}
		b.text(names[m.name].text)
		if m.value != m.value {
			b.records = append(b.records, valueText)
			b.text(d.texts[m.text])
			continue
		}
		b.number(m.value)
	}
}

func (b *Binary) identity(d *Device) {
	b.text(d.id)
	b.text(d.domain)
	b.text(d.zone())
	profile, name := "", ""
	if d.asset != nil {
		profile, name = d.asset.Profile, d.asset.Name
	}
	b.text(profile)
	b.text(name)
}

func (b *Binary) number(v float64) {
	switch {
	case math.IsInf(v, 0):
		b.records = append(b.records, valueNull)
	case v == math.Trunc(v) && math.Abs(v) < 1<<31:
		b.records = binary.AppendVarint(append(b.records, valueInteger), int64(v))
	case float64(float32(v)) == v:
		b.records = binary.LittleEndian.AppendUint32(append(b.records, valueFloat32), math.Float32bits(float32(v)))
	default:
		b.records = binary.LittleEndian.AppendUint64(append(b.records, valueFloat64), math.Float64bits(v))
	}
}

// Bytes is the body.
func (b *Binary) Bytes() []byte {
	out := make([]byte, 0, len(b.table)+len(b.records)+24)
	out = binary.LittleEndian.AppendUint64(out, uint64(b.base))
	out = binary.AppendUvarint(out, uint64(len(b.texts)))
	out = append(out, b.table...)
	out = binary.AppendUvarint(out, b.count)
	return append(out, b.records...)
}
