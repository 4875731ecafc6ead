package ledger

import (
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// What the client does to the message that it put, or to one that it got, leaves what is kept alone.
func TestKeepsCopies(t *testing.T) {
	acked := 0
	l := New(func() { acked++ })
	l.Open()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	l.Put("o.1", p)
	p.RemainingLength = 7
	l.Get("o.1").(*packets.PublishPacket).Dup = true
	if kept := l.Get("o.1").(*packets.PublishPacket); kept.Dup || kept.RemainingLength != 0 {
		t.Errorf("kept %+v, want it as it was put", kept)
	}
	l.Del("i.1")
	l.Del("o.2")
	if acked != 0 {
		t.Errorf("%d acknowledged, want 0", acked)
	}
	l.Del("o.1")
	l.Del("o.1")
	if acked != 1 {
		t.Errorf("%d acknowledged, want 1", acked)
	}
}
