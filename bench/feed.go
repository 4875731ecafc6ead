package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"panormus/simulators/load"
)

// What the watchers' part asks: a city of as many tiles, each with its devices and watchers.
const (
	feedColumns, feedRows = 8, 5
	feedTiles             = feedColumns * feedRows
	feedClients           = 2_000
	feedDevices           = 1_000 * feedTiles
	feedRate              = 20_000 // changes a second
	feedStopped           = 20     // clients more that subscribe and never read
)

// watchers measures what thousands of open pages cost and how late the last of them is, while the
// city changes; some of them stop reading.
func watchers(ctx context.Context, quick bool, w io.Writer) error {
	// The readers of 2,000 connections are in this process: its collector, which held them up for some 50 ms at times,
	// is not what is measured.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	s, stop, err := startFresh(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := s.settle(ctx); err != nil {
		return err
	}
	duration := 30 * time.Second
	if quick {
		duration = 8 * time.Second
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var crowd crowd
	for n := range feedClients + feedStopped {
		if err := crowd.join(ctx, s.info.HTTP, n%feedTiles, n < feedClients); err != nil {
			return fmt.Errorf("client %d: %w", n, err)
		}
	}
	o := load.Options{
		Broker: s.info.MQTT, Connections: 50, InFlight: 100, QoS: 1, Rate: feedRate, Duration: 2 * time.Second,
		Devices: feedDevices, Metrics: 1, Seed: 1, Domain: "lighting", Prefix: "bench",
	}
	if _, err := load.Run(ctx, o); err != nil { // the snapshots and first deltas are over after it
		return err
	}
	crowd.measure(true)
	o.Duration = duration
	before := s.usage()
	written, err := s.fanouts()
	if err != nil {
		return err
	}
	report, err := load.Run(ctx, o)
	if err != nil {
		return err
	}
	after := s.usage()
	crowd.measure(false)
	if written, err = written.until(s); err != nil {
		return err
	}
	cancel()
	crowd.wg.Wait()
	return crowd.report(w, report, written, before, after)
}

// settle registers the devices of the load, a thousand inside each tile.
func (s *system) settle(ctx context.Context) error {
	type device struct {
		ID     string  `json:"id"`
		Domain string  `json:"domain"`
		Lat    float64 `json:"lat"`
		Lon    float64 `json:"lon"`
	}
	for first := 0; first < feedDevices; first += 1_000 {
		var list struct {
			Devices []device `json:"devices"`
		}
		for n := first; n < first+1_000; n++ {
			west, south, east, north := tileBox(n % feedTiles)
			f := float64(n/feedTiles) / 1_000
			list.Devices = append(list.Devices, device{fmt.Sprintf("bench-%07d", n), "lighting", south + (north-south)*f, west + (east-west)*f})
		}
		if err := s.send(ctx, http.MethodPost, "/api/v1/devices", list); err != nil {
			return err
		}
	}
	return nil
}

// tileBox is the inside of one of the Web Mercator tiles (zoom 16) over Palermo, in degrees.
func tileBox(n int) (west, south, east, north float64) {
	const side = 1 << 16
	x, y := 35_200+n%feedColumns, 25_260+n/feedColumns
	lat := func(y float64) float64 { return math.Atan(math.Sinh(math.Pi*(1-2*y/side))) * 180 / math.Pi }
	lon := func(x float64) float64 { return x/side*360 - 180 }
	return lon(float64(x) + 0.05), lat(float64(y) + 0.95), lon(float64(x) + 0.95), lat(float64(y) + 0.05)
}

// A shown is one frame of a tile, as its clients got it.
type shown struct {
	first, last time.Time
	newest      int64 // Unix ms of its newest reading
	bytes, seen int
}

// A crowd is the clients and what they saw of each tile's frames.
type crowd struct {
	wg     sync.WaitGroup
	mu     sync.Mutex
	on     bool
	frames [feedTiles]map[uint64]*shown
	gaps   int // frames that a client was to get and did not
	ended  int // connections that the server closed
}

func (c *crowd) measure(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
}

// join opens a client that watches a tile until ctx ends: one that reads everything, or one that
// never reads.
func (c *crowd) join(ctx context.Context, addr string, tile int, reads bool) error {
	d := websocket.Dialer{EnableCompression: true}
	conn, _, err := d.DialContext(ctx, "ws://"+addr+"/ws/v1/feed", nil)
	if err != nil {
		return err
	}
	west, south, east, north := tileBox(tile)
	err = conn.WriteJSON(map[string]any{"op": "subscribe", "id": "a", "topic": "state", "max_hz": 5, "encoding": "bin",
		"filter": map[string]any{"bbox": []float64{west, south, east, north}}})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if !reads {
		return nil
	}
	c.wg.Go(func() {
		last := uint64(0)
		for {
			kind, b, err := conn.ReadMessage()
			if err != nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				if ctx.Err() == nil {
					c.ended++
				}
				return
			}
			if kind == websocket.BinaryMessage {
				last = c.note(tile, last, b, time.Now())
			}
		}
	})
	return nil
}

// note enters a frame that came after the one numbered last and returns its number.
func (c *crowd) note(tile int, last uint64, b []byte, now time.Time) uint64 {
	kind, at := b[1], 3+int(b[2])
	seq, body := binary.LittleEndian.Uint64(b[at:]), b[at+8:]
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on || kind != 3 {
		return seq
	}
	if seq != last+1 {
		c.gaps++
	}
	if c.frames[tile] == nil {
		c.frames[tile] = map[uint64]*shown{}
	}
	f := c.frames[tile][seq]
	if f == nil {
		f = &shown{first: now, newest: newest(body), bytes: len(b)}
		c.frames[tile][seq] = f
	}
	f.last = now
	f.seen++
	return seq
}

// newest is the time of the newest record of a frame's body, as FEED.md draws it, Unix ms.
func newest(body []byte) int64 {
	base := int64(binary.LittleEndian.Uint64(body))
	at := 8
	uvarint := func() uint64 {
		v, n := binary.Uvarint(body[at:])
		at += n
		return v
	}
	for range uvarint() { // texts
		at += int(uvarint())
	}
	most := int64(0)
	for range uvarint() { // records
		uvarint()
		flags := body[at]
		at++
		if flags&1 != 0 {
			for range 5 {
				uvarint()
			}
		}
		if flags&2 != 0 {
			at += 8
		}
		if flags&4 != 0 {
			v, n := binary.Varint(body[at:])
			at += n
			most = max(most, v)
		}
		if flags&8 != 0 {
			at++
		}
		if flags&16 != 0 {
			for range uvarint() {
				uvarint()
				how := body[at]
				at++
				switch how {
				case 1, 4:
					uvarint()
				case 2:
					at += 4
				case 3:
					at += 8
				}
			}
		}
	}
	return base + most
}

func (c *crowd) report(w io.Writer, r load.Report, written fanouts, before, after map[string]usage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var spread, age, size []float64
	partial := 0
	for _, tile := range c.frames {
		// The first and last frames straddle the measurement's ends.
		seqs := make([]uint64, 0, len(tile))
		for seq := range tile {
			seqs = append(seqs, seq)
		}
		slices.Sort(seqs)
		for i, seq := range seqs {
			f := tile[seq]
			if i < 2 || i >= len(seqs)-2 {
				continue
			}
			if f.seen != feedClients/feedTiles {
				partial++
			}
			spread = append(spread, float64(f.last.Sub(f.first).Microseconds())/1000)
			age = append(age, float64(f.last.UnixMicro()-f.newest*1000)/1000)
			size = append(size, float64(f.bytes))
		}
	}
	if len(spread) == 0 {
		return errors.New("no client saw a frame")
	}
	slices.Sort(spread)
	slices.Sort(age)
	slices.Sort(size)
	at := func(v []float64, q float64) float64 { return v[int(q*float64(len(v)-1))] }
	cpu := 0.0
	for name, u := range after {
		if name != "chdbd" {
			cpu += (u.cpu - before[name].cpu).Seconds()
		}
	}
	fmt.Fprintf(w, "\n## Watchers: %d websocket clients over %d tiles, 5 frames a second each\n"+
		"Binary frames, %.0f changes/s for %.0f s over %d devices; %d clients more never read. Server and clients share the cores.\n\n"+
		"| figure | reached | wanted |\n|---|---|---|\n"+
		"| frames of a tile, all their clients / not all | %d / %d | |\n"+
		"| bytes a frame, median | %.0f | |\n"+
		"| a frame's first client to its last, ms: p50 / p99 / most | %.1f / %.1f / %.1f | most 100 |\n"+
		"| the same by the server, first write to last, ms, at most: p50 / p99 / most | %s / %s / %s | |\n"+
		"| newest reading of a frame to its last client, publish to page, ms: p50 / p99 / most | %.0f / %.0f / %.0f | |\n"+
		"| frames missed by a client that reads | %d | 0 |\n| connections of readers closed | %d | 0 |\n"+
		"| cores that panormus used, ingest, log and rules included | %.2f | 1 |\n",
		feedClients, feedTiles, r.AckedRate, r.Elapsed, feedDevices, feedStopped,
		len(spread)-partial, partial, at(size, 0.5), at(spread, 0.5), at(spread, 0.99), spread[len(spread)-1],
		written.at(0.5), written.at(0.99), written.at(1),
		at(age, 0.5), at(age, 0.99), age[len(age)-1], c.gaps, c.ended, cpu/r.Elapsed)
	return nil
}

// fanouts are the frames that the server wrote, by how long that took: upper bounds in seconds as /metrics has
// them, in order, and how many frames took no longer.
type fanouts []struct {
	upTo  string
	count int
}

func (s *system) fanouts() (fanouts, error) {
	text, err := s.get("/metrics")
	if err != nil {
		return nil, err
	}
	var out fanouts
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, `panormus_controlroom_feed_fanout_seconds_bucket{le="`)
		if !ok {
			continue
		}
		upTo, count, _ := strings.Cut(strings.TrimSpace(rest), `"} `)
		n, err := strconv.Atoi(count)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		out = append(out, struct {
			upTo  string
			count int
		}{upTo, n})
	}
	return out, nil
}

// until is what was written since f.
func (f fanouts) until(s *system) (fanouts, error) {
	now, err := s.fanouts()
	if err != nil {
		return nil, err
	}
	for i := range now {
		now[i].count -= f[i].count
	}
	return now, nil
}

// at is the bound in ms below which the share q of the frames is.
func (f fanouts) at(q float64) string {
	for _, b := range f {
		if float64(b.count) < q*float64(f[len(f)-1].count) {
			continue
		}
		if s, err := strconv.ParseFloat(b.upTo, 64); err == nil && !math.IsInf(s, 0) {
			return strconv.FormatFloat(s*1000, 'f', -1, 64)
		}
	}
	return "more"
}
