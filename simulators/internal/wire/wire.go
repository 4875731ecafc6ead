// Package wire is how simulators reach an MQTT broker.
package wire

import (
	"crypto/tls"
	"net"
	"net/url"
	"strings"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Options are a client's for a broker at host:port, or at a URL. With secure and no scheme TLS is spoken. Where dial is not
// nil, it makes the connections in place of the network, and broker only names what is reached.
func Options(broker string, secure *tls.Config, dial func() (net.Conn, error)) *mqtt.ClientOptions {
	if !strings.Contains(broker, "://") {
		scheme := "tcp://"
		if secure != nil {
			scheme = "ssl://"
		}
		broker = scheme + broker
	}
	o := mqtt.NewClientOptions().AddBroker(broker)
	if secure != nil {
		o.SetTLSConfig(secure)
	}
	if dial != nil {
		o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return dial() })
	}
	return o
}
