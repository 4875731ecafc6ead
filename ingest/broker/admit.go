package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// What clients are denied.
const (
	deniedLogin = iota
	deniedThrottled
	deniedWill
	deniedPublish
	deniedSubscribe
	deniedKinds
)

var deniedNames = [deniedKinds]string{"login", "login_throttled", "will", "publish", "subscribe"}

// watchEvery is how often it is looked whether those who are connected would still be let in.
const watchEvery = 500 * time.Millisecond

// everybody is what a client may do where nobody is asked who he is.
var everybody Grant

// admit finds out who a client is, and says what it is answered. Its session is from now on known by who it
// is and its client id together: no other can take it over, or keep it out by being there first.
func (b *Broker) admit(cl *mqtt.Client, pk packets.Packet) packets.Code {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return packets.ErrNotAuthorized
	}
	g := everybody
	if b.cfg.Auth != nil {
		l := Login{User: string(pk.Connect.Username), Password: pk.Connect.Password, Remote: c.RemoteAddr().String()}
		if t, is := c.Conn.(*tls.Conn); is {
			if s := t.ConnectionState(); len(s.VerifiedChains) > 0 {
				l.Certificate = s.PeerCertificates[0]
			}
		}
		var err error
		if g, err = b.cfg.Auth.Authenticate(l); err != nil {
			what, code := deniedLogin, packets.ErrBadUsernameOrPassword
			if errors.Is(err, ErrWait) {
				what, code = deniedThrottled, packets.ErrServerBusy
				if cl.Properties.ProtocolVersion < 5 {
					code = packets.ErrServerUnavailable
				}
			}
			b.denied[what].Add(1)
			b.refusals.Do(func() {
				// What was given as a name may be a secret, typed into the wrong field.
				b.cfg.Logger.Warn("an MQTT client was not let in", "remote", l.Remote, "why", err, "so_far", b.denied[what].Load())
			})
			return code
		}
		cl.ID = g.Name + "\x00" + cl.ID // which no client id has
	}
	if atomic.LoadUint32(&cl.Properties.Will.Flag) != 0 && !g.mayPublish(b.cfg.Pump, cl.Properties.Will.TopicName) {
		c.admitted.Store(&admission{cl, g})
		b.deny(cl, deniedWill, cl.Properties.Will.TopicName)
		if cl.Properties.ProtocolVersion < 5 {
			return packets.ErrBadUsernameOrPassword // which is told as: not authorized
		}
		return packets.ErrNotAuthorized
	}
	c.admitted.Store(&admission{cl, g})
	return packets.CodeSuccess
}

func admissionOf(cl *mqtt.Client) *admission {
	if c, ok := cl.Net.Conn.(*conn); ok {
		return c.admitted.Load()
	}
	return nil
}

// mayUse reports whether a client may publish to topic, or subscribe to it as a filter.
func (b *Broker) mayUse(cl *mqtt.Client, topic string, write bool) bool {
	a := admissionOf(cl)
	switch {
	case a == nil: // a session whose client is gone: what it subscribed to was asked about then
		return !write
	case write:
		return a.grant.mayPublish(b.cfg.Pump, topic)
	}
	return a.grant.maySubscribe(topic)
}

// deny counts, and logs the first of a connection.
func (b *Broker) deny(cl *mqtt.Client, what int, topic string) {
	b.denied[what].Add(1)
	c, ok := cl.Net.Conn.(*conn)
	if !ok || c.denials.Swap(true) {
		return
	}
	who := ""
	if a := c.admitted.Load(); a != nil {
		who = a.grant.Name
	}
	if len(topic) > 200 {
		topic = topic[:200] + "…"
	}
	b.refusals.Do(func() {
		b.cfg.Logger.Warn("an MQTT client was denied a topic; what it is denied further is counted only", "client", who, "remote", c.RemoteAddr().String(), "what", deniedNames[what], "topic", topic)
	})
}

// watch cuts off those whose credentials are revoked, until ctx ends.
func (b *Broker) watch(ctx context.Context) {
	if b.cfg.Auth == nil {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for seen := b.cfg.Auth.Version(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if v := b.cfg.Auth.Version(); v != seen {
			seen = v
			for _, c := range b.connections() {
				b.recheck(c)
			}
		}
	}
}

// recheck cuts c off if its client would not be let in again. Its will is not told: it is not its client any
// more who says so.
func (b *Broker) recheck(c *conn) {
	a := c.admitted.Load()
	if a == nil || b.cfg.Auth == nil || b.cfg.Auth.Still(&a.grant) {
		return
	}
	b.revoked.Add(1)
	b.cfg.Logger.Info("an MQTT client is cut off: what let it in does so no more", "client", a.grant.Name, "remote", c.RemoteAddr().String())
	atomic.StoreUint32(&a.client.Properties.Will.Flag, 0)
	if a.client.Properties.ProtocolVersion < 5 {
		_ = c.Close()
		return
	}
	b.wills.Go(func() { // it may not be reading
		_ = b.server.DisconnectClient(a.client, packets.ErrNotAuthorized)
		_ = c.Close()
	})
}
