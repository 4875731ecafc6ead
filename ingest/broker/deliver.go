package broker

import (
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"panormus/ingest"
)

// A topic's Note holds what is known of it: whether the client may publish to it, whether it has
// subscribers, and as of which version of the subscriptions.
const (
	noteChecked = 1 << iota
	noteAllowed
	noteSubscribed
	noteBits = 3
)

// allowed reports whether the client may publish to t.
func (c *conn) allowed(t *ingest.Topic) bool {
	if t.Note&noteChecked == 0 {
		t.Note |= noteChecked
		if c.broker.mayUse(c.client, t.Name(), true) {
			t.Note |= noteAllowed
		}
	}
	return t.Note&noteAllowed != 0
}

// subscribed reports whether anyone has subscribed to t.
func (c *conn) subscribed(t *ingest.Topic) bool {
	b := c.broker
	if atomic.LoadInt64(&b.server.Info.Subscriptions) == 0 {
		return false
	}
	version := b.subscriptions.Load()
	if t.Note>>noteBits != version {
		subs := b.server.Topics.Subscribers(t.Name())
		t.Note = t.Note&(noteChecked|noteAllowed) | version<<noteBits
		if len(subs.Subscriptions)+len(subs.Shared)+len(subs.InlineSubscriptions) > 0 {
			t.Note |= noteSubscribed
		}
	}
	return t.Note&noteSubscribed != 0
}

// deliver has mochi send a message to its subscribers and retain it, in the client's name and
// without acknowledging it.
func (c *conn) deliver(b []byte, f frame, p *publish) {
	if c.shadow == nil {
		// An inline client's publishes are not acknowledged. It has the real one's id, for those
		// who asked not to be sent what they publish themselves.
		c.shadow = c.broker.server.NewClient(nil, mqtt.LocalListener, c.client.ID, true)
		c.shadow.Properties.ProtocolVersion = c.client.Properties.ProtocolVersion
	}
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: p.qos, Retain: p.retain},
		ProtocolVersion: c.client.Properties.ProtocolVersion,
	}
	if err := pk.PublishDecode(append([]byte(nil), b[f.header:f.size]...)); err != nil {
		return // its properties are not what they should be: telemetry all the same
	}
	pk.TopicName = string(p.topic)
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 0, false
	if err := c.broker.server.InjectPacket(c.shadow, pk); err != nil {
		c.broker.cfg.Logger.Debug("delivering to subscribers", "topic", pk.TopicName, "error", err)
	}
}
