package lorawan

import (
	"encoding/binary"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"google.golang.org/protobuf/encoding/protowire"
)

// A sink is a receiver of packet forwarders and an MQTT broker that acknowledge and remember.
type sink struct {
	udp, mqtt string

	mu         sync.Mutex
	frames     map[string]int // receptions by frame
	objects    int            // ChirpStack events with an object
	data       int            // and without
	stats      map[string]int // status reports by gateway
	pulls      int
	timeless   int // rxpk without a time
	largest    int // datagram in frames
	heardTwice bool
	bad        []string
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{frames: map[string]int{}, stats: map[string]int{}}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.udp, s.mqtt = conn.LocalAddr().String(), l.Addr().String()
	var wg sync.WaitGroup
	t.Cleanup(func() { _, _ = conn.Close(), l.Close(); wg.Wait() })
	wg.Go(func() {
		b := make([]byte, 16<<10)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := s.datagram(b[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c) })
		}
	})
	return s
}

func (s *sink) note(format string) { s.bad = append(s.bad, format) }

func (s *sink) datagram(b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) < 12 || b[0] != 2 {
		s.note("no datagram of version 2")
		return nil
	}
	answer := []byte{2, b[1], b[2], b[3] + 1}
	if b[3] == pullData {
		s.pulls++
		answer[3] = pullAck
		return answer
	}
	var m struct {
		RXPK []struct {
			Time, Datr string
			Freq       float64
			Size       int
			Data       []byte
		}
		Stat *struct{ Time string }
	}
	if err := json.Unmarshal(b[12:], &m); err != nil || b[3] != pushData || (m.Stat == nil) == (len(m.RXPK) == 0) {
		s.note("PUSH_DATA " + string(b[12:]))
	}
	for _, p := range m.RXPK {
		if p.Size != len(p.Data) || p.Freq < 863 || !strings.HasPrefix(p.Datr, "SF") {
			s.note("rxpk of " + string(b[12:]))
		}
		if p.Time == "" {
			s.timeless++
		}
		s.frames[string(p.Data)]++
	}
	if m.Stat != nil {
		s.stats[string(b[4:12])]++
	}
	s.largest = max(s.largest, len(m.RXPK))
	return answer
}

func (s *sink) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			_ = packets.NewControlPacket(packets.Connack).Write(c)
		case *packets.PublishPacket:
			s.message(p.TopicName, p.Payload)
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = p.MessageID
			_ = ack.Write(c)
		case *packets.DisconnectPacket:
			return
		}
	}
}

func (s *sink) message(topic string, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	levels := strings.Split(topic, "/")
	switch {
	case levels[0] == "application" && strings.HasSuffix(topic, "/event/up"):
		var e struct {
			DeviceInfo struct{ DevEUI string }
			Data       []byte
			Object     map[string]any
			RxInfo     []struct{ GatewayID string }
		}
		if err := json.Unmarshal(payload, &e); err != nil || e.DeviceInfo.DevEUI != levels[3] || len(e.Data) == 0 || len(e.RxInfo) == 0 {
			s.note("event " + string(payload))
		}
		s.heardTwice = s.heardTwice || len(e.RxInfo) > 1
		if e.Object != nil {
			s.objects++
		} else {
			s.data++
		}
	case levels[1] == "gateway" && levels[4] == "stats":
		s.stats[levels[2]]++
	case levels[1] == "gateway" && payload[0] == '{':
		var f struct{ PHYPayload []byte }
		if err := json.Unmarshal(payload, &f); err != nil || len(f.PHYPayload) == 0 {
			s.note("frame " + string(payload))
		}
		s.frames[string(f.PHYPayload)]++
	case levels[1] == "gateway":
		s.frames[string(protoBytes(payload, 1))]++
		if string(protoBytes(protoBytes(payload, 5), 1)) != levels[2] {
			s.note("frame of another gateway than of " + topic)
		}
	default:
		s.note("topic " + topic)
	}
}

// protoBytes is the field of a message that has the number.
func protoBytes(b []byte, number protowire.Number) []byte {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return nil
		}
		b = b[size:]
		size = protowire.ConsumeFieldValue(n, t, b)
		if size < 0 {
			return nil
		}
		if n == number && t == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			return v
		}
		b = b[size:]
	}
	return nil
}

// counterOf is the frame counter on the air, and addrOf the address.
func counterOf(frame string) uint16 { return binary.LittleEndian.Uint16([]byte(frame)[6:]) }
func addrOf(frame string) uint32    { return binary.LittleEndian.Uint32([]byte(frame)[1:]) }
