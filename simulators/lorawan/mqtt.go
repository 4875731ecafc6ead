package lorawan

import (
	"errors"
	"log/slog"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"panormus/simulators/internal/ledger"
	"panormus/simulators/internal/wire"
)

// A publisher is the MQTT connection that the bridges and the network server share. What it was
// given goes out, after a broker's return too.
type publisher struct {
	client   mqtt.Client
	counters *counters
	window   chan struct{} // holds one a message in flight
}

const publishWindow = 1000

func dialPublisher(o *Options, c *counters) *publisher {
	p := &publisher{counters: c, window: make(chan struct{}, publishWindow)}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m := wire.Options(o.Broker, nil, o.Dial).SetClientID(o.ClientID).SetUsername(o.Username).SetPassword(o.Password).
		SetCleanSession(false).SetStore(ledger.New(p.acked)).
		SetKeepAlive(30 * time.Second).SetConnectTimeout(10 * time.Second).
		SetMaxReconnectInterval(8 * time.Second).SetConnectRetry(true).SetConnectRetryInterval(time.Second).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			c.errors.Add(1)
			log.Warn("simulated LoRaWAN lost its broker", "error", err)
		})
	p.client = mqtt.NewClient(m)
	p.client.Connect() // retried until it succeeds; what is published meanwhile is kept
	return p
}

// acked counts a message that the broker has, and makes room for another.
func (p *publisher) acked() {
	p.counters.publishAcks.Add(1)
	p.release()
}

func (p *publisher) release() {
	select {
	case <-p.window:
	default:
	}
}

// publish hands one message over at QoS 1. It waits for room in the window until stop is closed, and
// then gives the message up.
func (p *publisher) publish(topic string, payload []byte, stop <-chan struct{}) {
	select {
	case p.window <- struct{}{}:
	default:
		select {
		case p.window <- struct{}{}:
		case <-stop:
			p.counters.errors.Add(1)
			return
		}
	}
	p.counters.published.Add(1)
	token := p.client.Publish(topic, 1, false, payload)
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
