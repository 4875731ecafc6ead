package feed

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"panormus/controlroom/live"
	"panormus/stream/batch"
)

// reader reads a binary frame as FEED.md draws it; it knows nothing of the code that writes.
type reader struct {
	t *testing.T
	b []byte
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.t.Fatalf("the frame ends %d bytes too early", n-len(r.b))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() byte    { return r.take(1)[0] }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) i32() int32  { return int32(binary.LittleEndian.Uint32(r.take(4))) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.take(max(n, 1))
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.take(max(n, 1))
	return v
}

// binaryFrame is a frame, its records as JSON items.
type binaryFrame struct {
	kind      byte
	id, epoch string
	seq       uint64
	handles   []uint64
	items     []map[string]any
}

func readFrame(t *testing.T, data []byte) binaryFrame {
	t.Helper()
	r := &reader{t, data}
	if v := r.u8(); v != 1 {
		t.Fatalf("version %d", v)
	}
	f := binaryFrame{kind: r.u8()}
	f.id = string(r.take(int(r.u8())))
	f.seq = r.u64()
	if f.kind != 3 {
		f.epoch = string(r.take(int(r.u8())))
	}
	base := int64(r.u64())
	texts := make([]string, r.uvarint())
	for i := range texts {
		texts[i] = string(r.take(int(r.uvarint())))
	}
	text := func() string { return texts[r.uvarint()] }
	for range r.uvarint() {
		f.handles = append(f.handles, r.uvarint())
		it := map[string]any{}
		flags := r.u8()
		if flags&1 != 0 {
			it["id"], it["domain"], it["zone"] = text(), text(), text()
			for _, name := range []string{"profile", "name"} {
				if v := text(); v != "" {
					it[name] = v
				}
			}
		}
		if flags&2 != 0 {
			it["lat"], it["lon"] = float64(r.i32())/1e7, float64(r.i32())/1e7
		}
		if flags&4 != 0 {
			b, _ := live.StampOf(base + r.varint()).MarshalText()
			it["t"] = string(b)
		}
		if flags&8 != 0 {
			it["alarm"] = nil
			if a := r.u8(); a > 0 {
				it["alarm"] = []string{"", "info", "warning", "major", "critical"}[a]
			}
		}
		if flags&16 != 0 {
			values := map[string]any{}
			for range r.uvarint() {
				name := text()
				switch how := r.u8(); how {
				case 0:
					values[name] = nil
				case 1:
					values[name] = float64(r.varint())
				case 2:
					values[name] = float64(math.Float32frombits(uint32(r.i32())))
				case 3:
					values[name] = math.Float64frombits(r.u64())
				case 4:
					values[name] = text()
				default:
					t.Fatalf("value written as %d", how)
				}
			}
			it["values"] = values
		}
		if flags&32 != 0 {
			it["removed"] = true
		}
		f.items = append(f.items, it)
	}
	if len(r.b) > 0 {
		t.Fatalf("%d bytes after the frame", len(r.b))
	}
	return f
}

// TestBinarySaysTheSame compares binary records with JSON items, whole and in part.
func TestBinarySaysTheSame(t *testing.T) {
	state := live.New(nil, nil, nil)
	rng := rand.New(rand.NewPCG(7, 8))
	values := []float64{0, -1, 1e9, 1 << 40, 83.2, 0.5, math.Inf(1), -1e-9, 4294967296}
	for round := range 20 {
		var o batch.Observations
		for i := range 10 {
			at := int64(1_700_000_000_000 + round*1000 + i)
			h := o.Begin(at, at, "mobility", fmt.Sprintf("bus-%d", i))
			o.Append(h, "position_lat", math.Round((38+rng.Float64())*1e7)/1e7, "", 0)
			o.Append(h, "position_lon", 13.36, "", 0)
			o.Append(h, fmt.Sprintf("m%d", rng.IntN(5)), values[rng.IntN(len(values))], "", 0)
			o.Append(h, "status", math.NaN(), fmt.Sprintf("però %d", rng.IntN(3)), 0)
		}
		state.Apply(&o)
		state.ApplyEvents([]batch.Event{{ID: fmt.Sprint(round), Rule: "r", Key: "bus-3", Device: "bus-3", Severity: "major", State: []string{"raised", "cleared"}[round%2], Time: time.Unix(int64(round), 0)}})
		for _, c := range state.Collect(nil) {
			for _, from := range []uint32{0, c.From} {
				b := state.NewBinary()
				b.Append(c.Device, from)
				f := readFrame(t, append(binaryHead(binaryDelta, "x", 9), b.Bytes()...))
				var want map[string]any
				if err := json.Unmarshal(state.AppendItem(nil, c.Device, from), &want); err != nil {
					t.Fatal(err)
				}
				if _, named := f.items[0]["id"]; !named {
					delete(want, "id")
				}
				if f.id != "x" || f.seq != 9 || f.handles[0] != uint64(c.Device.Index()) || !reflect.DeepEqual(f.items[0], want) {
					t.Fatalf("round %d from %d:\n got %v\nwant %v", round, from, f.items[0], want)
				}
			}
		}
	}
}

func TestBinarySubscription(t *testing.T) {
	r := newRoom(t, Config{})
	for i := range pageItems + 1 {
		r.set(fmt.Sprintf("d%d", i), "m", 1, 1)
	}
	w := r.dial(t)
	w.say(`{"op":"subscribe","id":"a","topic":"state","encoding":"bin"}`)
	next := func() binaryFrame {
		_, data, err := w.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		return readFrame(t, data)
	}
	first, second := next(), next()
	if first.kind != binaryMore || second.kind != binarySnapshot || len(first.items) != pageItems || len(second.items) != 1 || first.epoch == "" || first.epoch != second.epoch {
		t.Fatalf("pages of kinds %d and %d with %d and %d items", first.kind, second.kind, len(first.items), len(second.items))
	}
	r.set("d7", "m", 2, 5)
	d := next()
	if d.kind != binaryDelta || d.seq != second.seq+1 || len(d.items) != 1 || d.handles[0] != first.handles[7] || d.items[0]["values"].(map[string]any)["m"] != 5.0 {
		t.Errorf("delta %d of kind %d with %d items: %.200v", d.seq, d.kind, len(d.items), d.items)
	}
	if d.items[0]["id"] != nil {
		t.Error("a delta repeats the identity")
	}
}
