package load

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// A sink is an MQTT broker that takes publishes and keeps nothing but, if asked, what it acknowledged.
type sink struct {
	addr string
	// accept judges a publish of a connection, counted from 1: whether to acknowledge it, and
	// whether to hang up after it. nil acknowledges all. It is called under mu.
	accept func(conn, nth int, p publish) (ack, hangUp bool)
	keep   bool

	mu       sync.Mutex
	kept     []publish // acknowledged (QoS 1) or all (QoS 0)
	seen     []publish // whether acknowledged or not
	sessions []bool    // the clean-session flag of each connect
	conns    int
	problems []string
}

type publish struct {
	topic   string
	payload string
	dup     bool
	pid     uint16
}

// newSink listens until the test ends; problems with what it was sent fail the test.
func newSink(t testing.TB, keep bool, accept func(conn, nth int, p publish) (ack, hangUp bool)) *sink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: l.Addr().String(), accept: accept, keep: keep}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
		for _, p := range s.problems {
			t.Errorf("sink: %s", p)
		}
	})
	return s
}

func (s *sink) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.problems) < 10 {
		s.problems = append(s.problems, fmt.Sprintf(format, args...))
	}
}

func (s *sink) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	s.mu.Lock()
	s.conns++
	id := s.conns
	s.mu.Unlock()
	buf := make([]byte, 256<<10)
	var acks []byte
	held, nth := 0, 0
	for {
		n, err := c.Read(buf[held:])
		if n == 0 && err != nil {
			return
		}
		b := buf[:held+n]
		acks = acks[:0]
		for len(b) > 1 {
			size, lead, err := length(b[1:])
			if err != nil {
				s.problem("%v", err)
				return
			}
			if lead == 0 || len(b) < 1+lead+size {
				break
			}
			body := b[1+lead : 1+lead+size]
			first := b[0]
			b = b[1+lead+size:]
			hangUp := false
			switch first & 0xf0 {
			case packetConnect:
				if !bytes.HasPrefix(body, []byte("\x00\x04MQTT\x04")) {
					s.problem("connect % x", body)
				}
				s.mu.Lock()
				s.sessions = append(s.sessions, body[7]&2 != 0)
				s.mu.Unlock()
				acks = append(acks, packetConnack, 2, 0, 0)
			case packetPublish:
				nth++
				acks, hangUp = s.publish(acks, id, nth, first, body)
			case packetPingreq:
				acks = append(acks, packetPingresp, 0)
			case packetDisconnect:
				return
			default:
				s.problem("packet type %x", first)
				return
			}
			if hangUp {
				_, _ = c.Write(acks)
				// Read on to the end, so that the acknowledgements are not lost to a reset.
				if t, ok := c.(*net.TCPConn); ok {
					_ = t.CloseWrite()
				}
				_, _ = io.Copy(io.Discard, c)
				return
			}
		}
		held = copy(buf, b)
		if len(acks) > 0 {
			if _, err := c.Write(acks); err != nil {
				return
			}
		}
	}
}

func (s *sink) publish(acks []byte, conn, nth int, first byte, body []byte) ([]byte, bool) {
	topic := 2 + int(binary.BigEndian.Uint16(body))
	var pid uint16
	at := topic
	if first&publishQoS1 != 0 {
		pid = binary.BigEndian.Uint16(body[topic:])
		at += 2
	}
	ack, hangUp := true, false
	if s.keep {
		p := publish{string(body[2:topic]), string(body[at:]), first&publishDup != 0, pid}
		s.mu.Lock()
		if s.accept != nil {
			ack, hangUp = s.accept(conn, nth, p)
		}
		s.seen = append(s.seen, p)
		if ack {
			s.kept = append(s.kept, p)
		}
		s.mu.Unlock()
	}
	if ack && pid != 0 {
		acks = append(acks, packetPuback, 2, byte(pid>>8), byte(pid))
	}
	return acks, hangUp
}

// telemetry is what a load message says.
type telemetry struct {
	TS      int64   `json:"ts"`
	PowerW  float64 `json:"power_w"`
	Voltage float64 `json:"voltage_v"`
	Current float64 `json:"current_a"`
	Energy  float64 `json:"energy_kwh"`
	N       uint32  `json:"n"`
}

func decode(t testing.TB, p publish) telemetry {
	t.Helper()
	var m telemetry
	d := json.NewDecoder(bytes.NewReader([]byte(p.payload)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("payload %s: %v", p.payload, err)
	}
	return m
}
