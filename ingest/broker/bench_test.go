package broker

import (
	"bytes"
	"net"
	"testing"

	"panormus/devices"
	"panormus/ingest/ingesttest"
)

// BenchmarkPublish is what a message costs from the socket to its acknowledgement, where nobody has to say who he
// is and behind a door.
func BenchmarkPublish(b *testing.B) {
	for _, door := range []bool{false, true} {
		b.Run(map[bool]string{false: "open", true: "door"}[door], func(b *testing.B) {
			r := ingesttest.NewRegistry()
			put(b, r, devices.Device{ID: "pole-1", Domain: "lighting", Secret: strongSecret})
			broker, _ := start(b, ingesttest.NewLog(), func(c *Config) {
				if door {
					d, err := NewDoor(r, nil, nil)
					if err != nil {
						b.Fatal(err)
					}
					c.Auth = d
				}
			})
			nc, err := net.Dial("tcp", broker.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			if _, err := nc.Write(connectPacket("c", 4, true, "pole-1", strongSecret)); err != nil {
				b.Fatal(err)
			}
			const window = 1000
			var all bytes.Buffer
			c := &raw{}
			for i := range uint16(window) {
				all.Write(c.publish(pole, `{"a":1}`, 1, i+1, 0))
			}
			answer := make([]byte, 4*window)
			if _, err := nc.Read(answer[:4]); err != nil || answer[3] != 0 {
				b.Fatalf("%x, %v", answer[:4], err)
			}
			b.ResetTimer()
			for n := 0; n < b.N; n += window {
				if _, err := nc.Write(all.Bytes()); err != nil {
					b.Fatal(err)
				}
				for got := 0; got < len(answer); {
					k, err := nc.Read(answer[got:])
					if err != nil {
						b.Fatal(err)
					}
					got += k
				}
				if answer[0] != 0x40 || answer[len(answer)-2] != byte(window>>8) {
					b.Fatalf("%x…, want PUBACKs in order", answer[:4])
				}
			}
			if s := broker.Stats(); s.Denied["publish"] > 0 {
				b.Fatalf("%v", s.Denied)
			}
		})
	}
}
