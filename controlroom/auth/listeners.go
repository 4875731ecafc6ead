package auth

import (
	"fmt"
	"net"
	"strings"
)

// A Listener is an address the process is to answer at.
type Listener struct {
	Name    string // for people: "HTTP", "MQTT"
	Address string // host:port, "" for none
	TLS     bool   // configured
	Auth    bool   // configured
}

// CheckListeners refuses listeners that others can reach without TLS and authentication, unless
// insecure is set. All that is missing is named.
func CheckListeners(insecure bool, listeners ...Listener) error {
	if insecure {
		return nil
	}
	var faults []string
	for _, l := range listeners {
		if l.Address == "" || l.Address == "none" || IsLoopback(l.Address) {
			continue
		}
		var missing []string
		if !l.TLS {
			missing = append(missing, "TLS")
		}
		if !l.Auth {
			missing = append(missing, "authentication")
		}
		if len(missing) > 0 {
			faults = append(faults, fmt.Sprintf("%s at %s without %s", l.Name, l.Address, strings.Join(missing, " and ")))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("others could reach %s: configure it, listen on 127.0.0.1, or give --insecure", strings.Join(faults, ", "))
}

// IsLoopback reports whether only this machine can reach the address, a host with or without port.
// No host at all is every address of the machine.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
