package lorawan

import (
	"bytes"
	"fmt"
	"net"
	"testing"
)

func TestLoadFramesAreTheReference(t *testing.T) {
	for _, node := range []int{0, 1, 255, 99_999} {
		s := loadSession(9, node)
		fast := newFastNode(&s)
		var sc scratch
		for _, n := range []uint32{0, 1, 65_535, 65_536, 1 << 24} {
			payload := make([]byte, loadPayload)
			loadValues(payload, n)
			want := s.frame(&uplink{fCnt: n, port: loadPort, payload: payload, sf: 7, channel: 2})
			if got := fast.make(&sc, n); !bytes.Equal(got, want) {
				t.Fatalf("node %d, counter %d: %x, want %x", node, n, got, want)
			}
		}
	}
}

func TestLoad(t *testing.T) {
	s := newSink(t)
	r, err := Load(t.Context(), LoadOptions{UDP: s.udp, Nodes: 50, Gateways: 7, PerDatagram: 3, InFlight: 8, Sockets: 2, Count: 6000, First: 100, Prepare: 2500})
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 6000 || r.Acked+3*r.Unacked != r.Sent || r.Datagrams != 2000 || r.Errors != 0 {
		t.Errorf("%+v", r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bad {
		t.Error(b)
	}
	// The books: each node's counters from First on, once each.
	came := map[uint32]uint32{}
	for f, times := range s.frames {
		if times != 1 || counterOf(f) < 100 || uint32(counterOf(f)) >= 100+r.Books[addrOf(f)&0xffff].Sent {
			t.Fatalf("frame %x came %d times", f, times)
		}
		came[addrOf(f)&0xffff]++
	}
	for i, b := range r.Books {
		if b.Sent != 120 || b.Acked > came[uint32(i)] || r.Unacked == 0 && came[uint32(i)] != b.Sent {
			t.Errorf("%+v, of which %d came", b, came[uint32(i)])
		}
	}
	for i, d := range LoadDevices(0, 50) {
		if err := d.Check(); err != nil || d.ID != r.Books[i].Device {
			t.Errorf("device %s, book %s: %v", d.ID, r.Books[i].Device, err)
		}
	}
	if err := LoadProfile().Check(); err != nil {
		t.Error(err)
	}
}

func TestLoadOptions(t *testing.T) {
	for _, o := range []LoadOptions{{}, {UDP: "nowhere"}, {UDP: "127.0.0.1:1", PerDatagram: 9}, {UDP: "127.0.0.1:1", Nodes: -1}} {
		if _, err := Load(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func BenchmarkLoadFrame(b *testing.B) {
	s := loadSession(1, 1)
	fast := newFastNode(&s)
	var sc scratch
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		fast.make(&sc, n)
	}
}

func BenchmarkDatagram(b *testing.B) {
	o := LoadOptions{UDP: "-", PerDatagram: 8}
	if err := o.check(); err != nil {
		b.Fatal(err)
	}
	l := newLoader(&o, 0)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = l.datagram(buf[:0])
		l.sent = (l.sent + 8) % 2_000_000
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/8, "ns/uplink")
}

// BenchmarkLoad sends to a sink in the same process that only acknowledges: the CPU an uplink is the
// sink's share included, hence an upper bound of the generator's.
func BenchmarkLoad(b *testing.B) {
	for _, per := range []int{1, 8} {
		b.Run(fmt.Sprintf("frames=%d", per), func(b *testing.B) {
			conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetReadBuffer(8 << 20)
			go func() {
				buf := make([]byte, 16<<10)
				for {
					n, from, err := conn.ReadFromUDPAddrPort(buf)
					if err != nil {
						return
					}
					if n >= 12 {
						buf[3] = pushAck
						_, _ = conn.WriteToUDPAddrPort(buf[:4], from)
					}
				}
			}()
			r, err := Load(b.Context(), LoadOptions{UDP: conn.LocalAddr().String(), PerDatagram: per, Count: int64(b.N)})
			if err != nil || r.Sent < int64(b.N) || r.Unacked != 0 {
				b.Fatalf("%v, %v; want %d sent", r, err, b.N)
			}
			b.ReportMetric(r.CPUPerUplink, "cpu-us/uplink")
			b.ReportMetric(r.AckedRate, "acked/s")
		})
	}
}
