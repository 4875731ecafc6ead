package ledger

import (
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Marking what a ledger gave as sent again leaves what it keeps, which somebody may be writing, alone.
func TestGetCopies(t *testing.T) {
	acked := 0
	l := New(func() { acked++ })
	l.Open()
	kept := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	l.Put("o.1", kept)
	l.Get("o.1").(*packets.PublishPacket).Dup = true
	if kept.Dup {
		t.Error("the kept message is marked too")
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
