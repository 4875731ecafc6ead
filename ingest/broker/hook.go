package broker

import (
	"bytes"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"panormus/ingest"
)

// hook is what mochi calls.
type hook struct {
	mqtt.HookBase
	broker *Broker
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "panormus" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPacketRead, mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnSubscribed, mqtt.OnUnsubscribed, mqtt.OnPublish, mqtt.OnWillSent, mqtt.OnClientExpired, mqtt.OnRetainMessage, mqtt.OnRetainedExpired,
	}, b) >= 0
}

// OnConnect bounds the sessions that are kept for clients that are away, and lets in whom the configuration
// lets in: here and not in OnConnectAuthenticate, so that the answer can say why.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	b := h.broker
	if code := b.admit(cl, pk); code != packets.CodeSuccess {
		_ = b.server.SendConnack(cl, code, false, nil) // it is cut off in any case
		return code
	}
	if _, known := b.server.Clients.Get(cl.ID); !known && b.server.Clients.Len() >= sessionsAway*b.cfg.MaxClients {
		return packets.ErrServerBusy
	}
	return nil
}

// OnConnectAuthenticate implements mqtt.Hook.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	return admissionOf(cl) != nil
}

// OnPacketRead puts the topic in the place of its alias, before anything is asked about it.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type == packets.Publish && pk.TopicName == "" && pk.Properties.TopicAliasFlag && pk.Properties.TopicAlias > 0 {
		pk.TopicName = cl.State.TopicAliases.Inbound.Set(pk.Properties.TopicAlias, "")
	}
	return pk, nil
}

// OnACLCheck implements mqtt.Hook.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	if h.broker.mayUse(cl, topic, write) {
		return true
	}
	what := deniedSubscribe
	if write {
		what = deniedPublish
	}
	h.broker.deny(cl, what, topic)
	return false
}

// OnSessionEstablished begins the short cut for telemetry.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	h.broker.subscriptions.Add(1) // those of the session it may have inherited
	if c, ok := cl.Net.Conn.(*conn); ok {
		c.establish(cl)
		h.broker.recheck(c) // it may have been revoked while it was let in
	}
}

// OnDisconnect runs when the goroutine that reads the connection is done with it.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	if c, ok := cl.Net.Conn.(*conn); ok && c.session != nil {
		c.session.Release()
	}
}

// OnSubscribed implements mqtt.Hook.
func (h *hook) OnSubscribed(*mqtt.Client, packets.Packet, []byte) { h.broker.subscriptions.Add(1) }

// OnUnsubscribed implements mqtt.Hook.
func (h *hook) OnUnsubscribed(*mqtt.Client, packets.Packet) { h.broker.subscriptions.Add(1) }

// OnClientExpired forgets the subscriptions of a session that nobody came back for.
func (h *hook) OnClientExpired(cl *mqtt.Client) { h.broker.server.UnsubscribeClient(cl) }

// OnPublish bounds the messages that are retained.
func (h *hook) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Retain && len(pk.Payload) > 0 {
		retained := h.broker.server.Topics.Retained
		if _, ok := retained.Get(pk.TopicName); !ok && retained.Len() >= h.broker.cfg.MaxRetained {
			pk.FixedHeader.Retain = false
		}
	}
	return pk, nil
}

// OnRetainMessage has what is retained kept when the process is gone.
func (h *hook) OnRetainMessage(_ *mqtt.Client, pk packets.Packet, _ int64) {
	if s := h.broker.shelver; s != nil {
		s.retained(pk)
	}
}

// OnRetainedExpired implements mqtt.Hook.
func (h *hook) OnRetainedExpired(topic string) {
	if s := h.broker.shelver; s != nil {
		s.note(shelfKey(topic), nil)
	}
}

// OnWillSent takes in a will that is telemetry. It is acknowledged to nobody.
func (h *hook) OnWillSent(cl *mqtt.Client, pk packets.Packet) {
	b := h.broker
	s := b.cfg.Pump.Session(sourceName, cl.ID, nil, nil)
	if s.Topic([]byte(pk.TopicName)) == nil || len(pk.Payload) == 0 {
		return
	}
	// mochi's caller must not wait for the log.
	b.wills.Go(func() {
		defer s.Release()
		_ = s.Handle(&ingest.Envelope{Topic: []byte(pk.TopicName), Payload: pk.Payload, Received: time.Now().UnixMilli()})
	})
}
