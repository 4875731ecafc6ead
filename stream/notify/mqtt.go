package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A Broker is the embedded one, which is reached from within the process.
type Broker struct {
	Dial               func(ctx context.Context) (net.Conn, error)
	Username, Password string // for receivers that name nobody; empty where nobody is asked
}

type publisher struct {
	cfg      MQTT
	embedded *Broker     // where cfg has no URL
	client   paho.Client // nil while there is no connection
}

// where names the broker, for people.
func (p *publisher) where() string { return cmp.Or(p.cfg.URL, "the embedded broker") }

// Send implements Sender. The message goes to the topic of each domain in it, with the alarms of that
// domain; it has arrived when the broker acknowledged all.
func (p *publisher) Send(ctx context.Context, m *Message) error {
	if p.client == nil || !p.client.IsConnectionOpen() {
		if err := p.connect(ctx); err != nil {
			return err
		}
	}
	var domains []string
	of := map[string][]Notice{}
	for _, a := range m.Alarms {
		if of[a.Domain] == nil {
			domains = append(domains, a.Domain)
		}
		of[a.Domain] = append(of[a.Domain], a)
	}
	for _, d := range domains {
		part := *m
		part.Alarms = of[d]
		body, err := json.Marshal(&part)
		if err != nil {
			return &Refused{fmt.Errorf("message %s: %w", m.ID, err)}
		}
		if err := p.wait(ctx, p.client.Publish(p.topic(d), 1, false, body)); err != nil {
			p.hangUp()
			return fmt.Errorf("publish at %s: %w", p.where(), err)
		}
	}
	return nil
}

func (p *publisher) topic(domain string) string {
	if domain == "" {
		domain = "none"
	}
	t := p.cfg.Topic
	if t == "" {
		t = defaultTopic
	}
	return strings.ReplaceAll(t, "{domain}", strings.NewReplacer("/", "_", "+", "_", "#", "_").Replace(domain))
}

func (p *publisher) connect(ctx context.Context) error {
	p.hangUp()
	o := paho.NewClientOptions().SetClientID(p.cfg.ClientID).SetCleanSession(true).
		SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(defaultTimeout)
	if p.cfg.URL == "" {
		o.AddBroker("tcp://embedded").SetUsername(p.embedded.Username).SetPassword(p.embedded.Password).
			SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return p.embedded.Dial(ctx) })
	} else {
		tls, err := p.cfg.tls()
		if err != nil {
			return err
		}
		o.AddBroker(p.cfg.URL).SetTLSConfig(tls)
	}
	if p.cfg.Username != "" {
		o.SetUsername(p.cfg.Username)
		if p.cfg.Password.given() {
			password, err := p.cfg.Password.read()
			if err != nil {
				return err
			}
			o.SetPassword(string(password))
		}
	}
	c := paho.NewClient(o)
	if err := p.wait(ctx, c.Connect()); err != nil {
		c.Disconnect(0)
		return fmt.Errorf("connect to %s: %w", p.where(), err)
	}
	p.client = c
	return nil
}

func (p *publisher) wait(ctx context.Context, t paho.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return errors.New("no answer in time")
	}
}

func (p *publisher) hangUp() {
	if p.client != nil {
		p.client.Disconnect(0)
		p.client = nil
	}
}

// Close implements Sender.
func (p *publisher) Close() error {
	p.hangUp()
	return nil
}
