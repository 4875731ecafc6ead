package video

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A publisher is the MQTT connection that the cameras share. What it was given goes out, after a
// broker's return too.
type publisher struct {
	client   mqtt.Client
	counters *counters
	window   chan struct{} // holds one a message in flight
	stop     <-chan struct{}
}

const publishWindow = 1000

func dialPublisher(o *Options, c *counters) *publisher {
	broker := o.Broker
	if !strings.Contains(broker, "://") {
		broker = "tcp://" + broker
	}
	p := &publisher{counters: c, window: make(chan struct{}, publishWindow)}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m := mqtt.NewClientOptions().AddBroker(broker).SetClientID(o.ClientID).SetUsername(o.Username).SetPassword(o.Password).
		SetCleanSession(false).SetStore(&ledger{Store: mqtt.NewMemoryStore(), p: p}).
		SetKeepAlive(30 * time.Second).SetConnectTimeout(10 * time.Second).
		SetMaxReconnectInterval(8 * time.Second).SetConnectRetry(true).SetConnectRetryInterval(time.Second).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			c.errors.Add(1)
			log.Warn("simulated cameras lost their broker", "error", err)
		})
	p.client = mqtt.NewClient(m)
	p.client.Connect() // retried until it succeeds; what is published meanwhile is kept
	return p
}

// A ledger sees what the client keeps until it is acknowledged, which is the only exact account of
// it: a token is also completed when its message is merely sent again.
type ledger struct {
	mqtt.Store
	p *publisher
}

// Del is called when a message's acknowledgement has come.
func (l *ledger) Del(key string) {
	if strings.HasPrefix(key, "o.") && l.Get(key) != nil {
		l.p.counters.acked.Add(1)
		l.p.release()
	}
	l.Store.Del(key)
}

func (p *publisher) release() {
	select {
	case <-p.window:
	default:
	}
}

// publish hands one message over at QoS 1. It waits for room in the window until stop is closed, and
// then gives the message up.
func (p *publisher) publish(topic string, payload []byte, retain bool) {
	select {
	case p.window <- struct{}{}:
	default:
		select {
		case p.window <- struct{}{}:
		case <-p.stop:
			p.counters.errors.Add(1)
			return
		}
	}
	p.counters.published.Add(1)
	token := p.client.Publish(topic, 1, retain, payload)
	select {
	case <-token.Done():
		// Refused, so it is not in the ledger either. After any other error it is, and goes out later.
		if errors.Is(token.Error(), mqtt.ErrNotConnected) {
			p.counters.published.Add(-1)
			p.counters.errors.Add(1)
			p.release()
		}
	default:
	}
}
