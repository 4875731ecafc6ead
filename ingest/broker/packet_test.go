package broker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// What the short cut makes of a PUBLISH is what mochi makes of it, or nothing.
func FuzzParsePublish(f *testing.F) {
	for _, v5 := range []bool{false, true} {
		c := &raw{v5: v5}
		f.Add(c.publish("city/lighting/pole-1/telemetry", `{"a":1}`, 1, 7, flagDup), v5)
		f.Add(c.publish("a", "", 0, 0, flagRetain), v5)
		f.Add(c.publish("", "x", 2, 9, 0, 0x23, 0, 3), v5)
		f.Add(c.publish("t", "x", 1, 9, 0, 0x01, 1, 0x02, 0, 0, 0, 9, 0x03, 0, 1, 'c', 0x08, 0, 1, 'r', 0x09, 0, 1, 'd', 0x26, 0, 1, 'k', 0, 1, 'v'), v5)
		f.Add([]byte{0x32, 0x80}, v5)
	}
	f.Fuzz(func(t *testing.T, b []byte, v5 bool) {
		fr, ok, bad := parseFrame(b)
		if bad || !ok || fr.first&typeMask != typePublish || fr.size > len(b) {
			return
		}
		p, ok := parsePublish(b[:fr.size], fr, v5)
		if !ok {
			return
		}
		want := packets.Packet{FixedHeader: packets.FixedHeader{Remaining: fr.size - fr.header}, ProtocolVersion: 4}
		if v5 {
			want.ProtocolVersion = 5
		}
		if want.FixedHeader.Decode(fr.first) != nil {
			return // flags that mochi refuses: MQTT-3.3.1-2, a DUP at QoS 0, harmless here
		}
		if err := want.PublishDecode(bytes.Clone(b[fr.header:fr.size])); err != nil {
			// mochi checks texts for being UTF-8, in properties too; topics are checked by the session.
			if strings.Contains(strings.ToLower(err.Error()), "utf") || v5 {
				return
			}
			t.Fatalf("%x: mochi: %v, the short cut reads %+v", b, err, p)
		}
		if string(p.topic) != want.TopicName || !bytes.Equal(p.payload, want.Payload) || p.packetID != want.PacketID ||
			p.qos != want.FixedHeader.Qos || p.dup != want.FixedHeader.Dup || p.retain != want.FixedHeader.Retain || p.alias != want.Properties.TopicAlias {
			t.Fatalf("%x: %+v, mochi: %+v", b, p, want)
		}
	})
}
