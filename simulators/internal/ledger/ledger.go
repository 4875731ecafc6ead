// Package ledger is what an MQTT client keeps of the messages that are not acknowledged yet.
package ledger

import (
	"strings"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A Ledger is a client's store in memory. It sees what the client keeps until it is acknowledged, which
// is the only exact account of it: a token is also completed when its message is merely sent again.
type Ledger struct {
	mqtt.Store
	acked func()
}

// New makes an empty ledger; acked is called for each message whose acknowledgement has come, and must
// not block.
func New(acked func()) *Ledger { return &Ledger{mqtt.NewMemoryStore(), acked} }

// Put keeps a copy of a message, and Get gives one of that: the client writes the one that it put, marks
// what it gets as sent again, and does so in several goroutines.
func (l *Ledger) Put(key string, p packets.ControlPacket) { l.Store.Put(key, copied(p)) }

// Get returns a message that was put, nil where there is none.
func (l *Ledger) Get(key string) packets.ControlPacket { return copied(l.Store.Get(key)) }

func copied(p packets.ControlPacket) packets.ControlPacket {
	if m, ok := p.(*packets.PublishPacket); ok {
		again := *m
		return &again
	}
	return p
}

// Del is called when a message's acknowledgement has come.
func (l *Ledger) Del(key string) {
	if strings.HasPrefix(key, "o.") && l.Store.Get(key) != nil {
		l.acked()
	}
	l.Store.Del(key)
}
