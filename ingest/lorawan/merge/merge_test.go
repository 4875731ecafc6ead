package merge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"panormus/ingest/lorawan/frame"
)

type heard struct {
	gateway string
	snr     float64
}

func stronger(a, b *heard) bool { return a.snr > b.snr }

func key(n int) Key { return Key{DevAddr: 0x26011234, FCnt: uint16(n), MIC: uint32(n) * 77} }

func show(g Merged[heard]) string {
	s := fmt.Sprintf("%d best %s:", g.Key.FCnt, g.Copies[g.Best].gateway)
	for _, c := range g.Copies {
		s += " " + c.gateway
	}
	return s
}

func TestMerge(t *testing.T) {
	start := time.UnixMilli(1_769_308_300_000)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	m := New(stronger)
	var got []string
	out := func(g Merged[heard]) { got = append(got, show(g)) }
	expect := func(want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("handed out %q, want %q", got, want)
		}
		got = nil
	}
	if _, ok := m.Next(); ok {
		t.Error("an empty merger has something to do")
	}
	m.Add(at(0), key(1), heard{"a", 3}, out)
	m.Add(at(50), key(2), heard{"a", 3}, out)
	m.Add(at(100), key(1), heard{"b", 9}, out)
	m.Add(at(150), key(1), heard{"c", 5}, out)
	if next, ok := m.Next(); !ok || !next.Equal(at(200)) {
		t.Errorf("next at %v, %v; want %v", next, ok, at(200))
	}
	m.Due(at(199), out)
	expect()
	m.Due(at(200), out)
	expect("1 best b: a b c")
	if late := m.Add(at(220), key(1), heard{"d", 1}, out); !late {
		t.Error("a copy after its frame was handed out is not late")
	}
	m.Due(at(250), out)
	expect("2 best a: a")
	// The counter comes round, or the same frame is replayed, long after: another frame.
	if late := m.Add(at(6000), key(1), heard{"e", 1}, out); late {
		t.Error("a copy is late for ever")
	}
	m.Flush(at(6000), out)
	expect("1 best e: e")
	if late := m.Add(at(6001), key(1), heard{"f", 1}, out); !late {
		t.Error("a copy of the other frame is not late: what was forgotten took its key along")
	}
	if s := m.Stats(); s != (Stats{Copies: 7, Frames: 3, Late: 2}) || m.Waiting() != 0 {
		t.Errorf("stats %+v, %d waiting", s, m.Waiting())
	}
}

func TestMergeIsBounded(t *testing.T) {
	now := time.UnixMilli(1_769_308_300_000)
	m := New(stronger)
	m.Max, m.Copies = 4, 3
	out := 0
	for i := range 100 {
		for range 5 {
			m.Add(now, key(i), heard{"a", 1}, func(g Merged[heard]) {
				out++
				if len(g.Copies) != 3 {
					t.Fatalf("%d copies, want 3", len(g.Copies))
				}
			})
		}
		if m.Waiting() > 4 || m.done.n > 4 || len(m.groups) != m.Waiting()+m.done.n {
			t.Fatalf("%d wait, %d remembered, %d in all, want at most 4 each", m.Waiting(), m.done.n, len(m.groups))
		}
	}
	if s := m.Stats(); out != 96 || s.Early != 96 || s.Dropped != 200 || s.Copies != 500 {
		t.Errorf("%d handed out, %+v", out, s)
	}
}

// Every copy of every frame comes out exactly once, whatever the order.
func TestMergeKeepsBooks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := New(stronger)
	now := time.UnixMilli(1_769_308_300_000)
	frames, copies := map[Key]int{}, 0
	out := func(g Merged[heard]) {
		frames[g.Key]++
		copies += len(g.Copies)
		for _, c := range g.Copies {
			if c.snr > g.Copies[g.Best].snr {
				t.Fatalf("%s is not the best of %v", g.Copies[g.Best].gateway, g.Copies)
			}
		}
	}
	late := 0
	for range 20_000 {
		now = now.Add(time.Duration(r.IntN(3)) * time.Millisecond)
		m.Due(now, out)
		if m.Add(now, key(int(now.UnixMilli()/10)-r.IntN(10)), heard{"g", r.Float64()}, out) {
			late++
		}
	}
	m.Flush(now, out)
	if copies+late != 20_000 {
		t.Errorf("%d copies and %d late, want 20000", copies, late)
	}
	for k, n := range frames {
		if n != 1 {
			t.Errorf("frame %v came out %d times", k, n)
		}
	}
}

// The way a stage drives a merger: one timer, set to Next.
func TestMergerOnATimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(stronger)
		in := make(chan int)
		var took []time.Duration
		start := time.Now()
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			out := func(Merged[heard]) { took = append(took, time.Since(start)) }
			timer := time.NewTimer(time.Hour)
			for {
				if next, ok := m.Next(); ok {
					timer.Reset(time.Until(next))
				}
				select {
				case n, ok := <-in:
					if !ok {
						m.Flush(time.Now(), out)
						return
					}
					m.Add(time.Now(), key(n), heard{"a", 1}, out)
				case <-timer.C:
					m.Due(time.Now(), out)
				}
			}
		}()
		in <- 1
		time.Sleep(60 * time.Millisecond)
		in <- 2
		in <- 1
		time.Sleep(time.Second)
		in <- 3
		close(in)
		<-finished
		want := []time.Duration{200 * time.Millisecond, 260 * time.Millisecond, 1060 * time.Millisecond}
		if !slices.Equal(took, want) {
			t.Errorf("handed out after %v, want %v", took, want)
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	m := New(stronger)
	now := time.UnixMilli(1_769_308_300_000)
	n := 0
	out := func(g Merged[heard]) { n += len(g.Copies) }
	b.ReportAllocs()
	i := 0
	for ; b.Loop(); i++ {
		now = now.Add(20 * time.Microsecond)
		m.Add(now, Key{DevAddr: frame.DevAddr(i / 2), MIC: uint32(i / 2)}, heard{"a", float64(i % 7)}, out)
		m.Due(now, out)
	}
	m.Flush(now, out)
	if n != i {
		b.Fatalf("%d of %d copies came out", n, i)
	}
}
