package lorawan

import (
	"context"
	"maps"
	"net"
	"testing"
	"time"
)

// run runs a busy network into a new sink until enough was sent.
func run(t *testing.T, byUDP, byMQTT bool) (*Network, *sink) {
	t.Helper()
	s := newSink(t)
	n := New(Config{Seed: 7, Nodes: 120, Rate: 400})
	o := Options{KeepAlive: 100 * time.Millisecond, Status: 200 * time.Millisecond, Drain: time.Minute}
	if byUDP {
		o.UDP = s.udp
	}
	if byMQTT {
		o.Broker = s.mqtt
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan error)
	go func() { done <- n.Run(ctx, o) }()
	for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		if st := n.Stats(); st.Sent >= 600 && st.Reports >= 24 && (st.Datagrams > 0) == byUDP && (st.Published > 0) == byMQTT {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return n, s
}

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name      string
		udp, mqtt bool
	}{{"UDP and MQTT", true, true}, {"UDP", true, false}, {"MQTT", false, true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n, s := run(t, tc.udp, tc.mqtt)
			st := n.Stats()
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, b := range s.bad {
				t.Error(b)
			}
			if st.Sent < 600 || st.Errors != 0 || st.Acked != st.Datagrams || st.PublishAcks != st.Published || st.PullAcks > st.Pulls {
				t.Errorf("sent %+v; want no errors and all acknowledged", st)
			}
			// Every frame that was heard came, as often as it was heard.
			var frames, receptions int
			for _, times := range s.frames {
				frames++
				receptions += times
			}
			var heard, events, copies int
			strangers := false
			for i, b := range st.Books {
				if n.nodes[i].path != byGateways {
					events += int(b.Heard)
					continue
				}
				heard += int(b.Heard)
				copies += int(b.Receptions + b.ResetReceptions + b.Replays)
				strangers = strangers || b.Refused > 0 // whose receptions are in no book
			}
			if frames != heard || s.objects+s.data != events || copies > receptions || !strangers {
				t.Errorf("%d frames in %d receptions and %d events came; want %d, more than %d, and %d", frames, receptions, s.objects+s.data, heard, copies, events)
			}
			if receptions <= frames || len(s.stats) != len(n.gateways) {
				t.Errorf("%d receptions of %d frames, statuses of %d gateways; want more, and of %d", receptions, frames, len(s.stats), len(n.gateways))
			}
			if tc.udp && (s.pulls == 0 || s.timeless == 0) || tc.mqtt && (s.objects == 0 || s.data == 0 || !s.heardTwice) {
				t.Errorf("%d keep-alives, %d without a time, %d objects, %d without; want some of each", s.pulls, s.timeless, s.objects, s.data)
			}
		})
	}
}

// TestReplay sends recorded frames again, byte for byte.
func TestReplay(t *testing.T) {
	s := newSink(t)
	n := New(Config{Seed: 7, Nodes: 40})
	k := len(n.gateways)
	r := runner{Network: n, options: &Options{UDP: s.udp}, air: make([]activity, k), outbox: make([][]byte, k), packets: make([]int, k), backhauls: make([]*backhaul, k)}
	for i := range r.backhauls {
		l, err := dialBackhaul(s.udp, n.gateways[i].eui, &n.counters)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.conn.Close() }()
		go l.read()
		r.backhauls[i] = l
	}
	want := map[string]int{}
	for i := range n.nodes {
		nd := &n.nodes[i]
		if nd.fault != replayed {
			continue
		}
		slot := nd.slotAt(noon)
		for !nd.sentAgain(slot) || len(nd.receptions(slot)) == 0 {
			slot++
		}
		r.queue = nil
		r.transmit(&event{node: i, slot: slot}, nd.at(slot))
		want[string(nd.uplink(slot).phy)] = len(nd.receptions(slot)) + 1
		for _, e := range r.queue {
			if e.task != transmit {
				r.do(e, nd.at(slot))
			}
		}
	}
	r.flushAll()
	for start := time.Now(); r.owed() > 0 && time.Since(start) < time.Minute; {
		time.Sleep(time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := n.Stats(); len(want) == 0 || int(st.Replays) != len(want) || !maps.Equal(s.frames, want) || s.largest > maxPackets {
		t.Errorf("%d frames came, %d replays; want %d frames with one reception more than they had", len(s.frames), st.Replays, len(want))
	}
}

// TestFloodsNoSocket sends to somebody who says nothing for a while: no more goes on its way than a
// socket holds until the first are given up, and then it goes on.
func TestFloodsNoSocket(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n := New(Config{Seed: 7, Nodes: 1, Gateways: 1})
	l, err := dialBackhaul(conn.LocalAddr().String(), 1, &n.counters)
	if err != nil {
		t.Fatal(err)
	}
	defer l.conn.Close()
	r := runner{Network: n, options: &Options{}, air: make([]activity, 1), outbox: make([][]byte, 1), packets: make([]int, 1), backhauls: []*backhaul{l}}
	for range mostOnTheWay {
		r.flush(0)
	}
	began := time.Now()
	for range mostOnTheWay {
		r.flush(0)
	}
	if d := time.Since(began); d < lostAfter || r.lost != mostOnTheWay {
		t.Errorf("as many again after %v with %d given up, want it after %v with %d", d, r.lost, lostAfter, mostOnTheWay)
	}
}

func TestNothingToSendTo(t *testing.T) {
	if err := New(Config{Nodes: 1, Gateways: 1}).Run(t.Context(), Options{}); err == nil {
		t.Error("ran without anywhere to send to")
	}
}
