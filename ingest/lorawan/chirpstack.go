// Package lorawan decodes what LoRaWAN network servers publish of the devices behind them.
//
// One file an envelope: chirpstack.go is the MQTT integration of ChirpStack v4 in JSON. All fill
// the same uplink, which uplink.go turns into observations and radio metadata.
package lorawan

import (
	"panormus/ingest"
	"panormus/ingest/jsonscan"
	"panormus/ingest/telemetry"
)

// ChirpStack decodes an up event of ChirpStack v4 whose payload a codec has decoded on the server:
// the members of object are metrics, see telemetry.Flatten. The device is the one of the registry
// with the event's DevEUI, or the DevEUI itself; its domain is the registry's, or the tag "domain",
// or the route's.
func ChirpStack(in *ingest.Input, out *ingest.Decoded) error {
	s := &out.Scan
	s.Reset(in.Payload)
	if s.Peek() != '{' {
		return mismatch(s, "event", "an object; protobuf is not read here: set the integration to JSON")
	}
	var u uplink
	if err := object(s, func(name string) error { return u.event(s, name, out) }); err != nil {
		return err
	}
	if err := s.End(); err != nil {
		return ingest.RejectJSON(err)
	}
	return u.finish(in, out)
}

func (u *uplink) event(s *jsonscan.Scanner, name string, out *ingest.Decoded) (err error) {
	switch name {
	case "time":
		return str(s, name, &u.time)
	case "deviceInfo":
		return objectOf(s, name, func(name string) error {
			switch name {
			case "devEui":
				return str(s, name, &u.devEUI)
			case "tags":
				return objectOf(s, name, func(name string) error {
					if name == "domain" {
						return str(s, name, &u.domain)
					}
					return skip(s)
				})
			}
			return skip(s)
		})
	case "fCnt":
		return number(s, name, &u.fCnt)
	case "fPort":
		return number(s, name, &u.fPort)
	case "data":
		return str(s, name, &u.data)
	case "joinServerContext":
		return objectOf(s, name, func(string) error {
			u.encrypted = true
			return skip(s)
		})
	case "object":
		if s.Peek() == 'n' {
			return skip(s)
		}
		if u.decoded {
			return ingest.Rejectf(ingest.ReasonDuplicate, "offset %d: a second object, want one", s.Offset())
		}
		u.decoded = true
		out.Begin()
		return objectOf(s, name, func(name string) error {
			u.members++
			return telemetry.Flatten(s, []byte(name), out)
		})
	case "rxInfo":
		return arrayOf(s, name, func() error {
			var g gateway
			err := objectOf(s, "rxInfo element", func(name string) error {
				switch name {
				case "gatewayId":
					return str(s, name, &g.id)
				case "rssi":
					return number(s, name, &g.rssi)
				case "snr":
					return number(s, name, &g.snr)
				case "gwTime", "time":
					return str(s, name, &g.time)
				}
				return skip(s)
			})
			if err == nil && len(u.gateways) < maxGateways {
				u.gateways = append(u.gateways, g)
			}
			return err
		})
	case "txInfo":
		return objectOf(s, name, func(name string) error {
			switch name {
			case "frequency":
				return number(s, name, &u.frequency)
			case "modulation":
				return objectOf(s, name, func(name string) error {
					if name != "lora" {
						return skip(s)
					}
					return objectOf(s, name, func(name string) error {
						switch name {
						case "bandwidth":
							return number(s, name, &u.bandwidth)
						case "spreadingFactor":
							return number(s, name, &u.spreading)
						case "codeRate":
							return str(s, name, &u.codeRate)
						}
						return skip(s)
					})
				})
			}
			return skip(s)
		})
	}
	return skip(s)
}

// object calls member for every member of the object that follows; member reads its value.
func object(s *jsonscan.Scanner, member func(name string) error) error {
	if err := s.Open('{'); err != nil {
		return ingest.RejectJSON(err)
	}
	for first := true; ; first = false {
		name, more, err := s.Member(first)
		if err != nil {
			return ingest.RejectJSON(err)
		}
		if !more {
			return nil
		}
		if err := member(string(name)); err != nil {
			return err
		}
	}
}

// The readers below take null for absence, as protobuf's JSON does.

func objectOf(s *jsonscan.Scanner, what string, member func(name string) error) error {
	switch s.Peek() {
	case '{':
		return object(s, member)
	case 'n':
		return skip(s)
	}
	return mismatch(s, what, "an object")
}

func arrayOf(s *jsonscan.Scanner, what string, element func() error) error {
	switch s.Peek() {
	case 'n':
		return skip(s)
	case '[':
	default:
		return mismatch(s, what, "an array")
	}
	if err := s.Open('['); err != nil {
		return ingest.RejectJSON(err)
	}
	for first := true; ; first = false {
		more, err := s.Element(first)
		if err != nil {
			return ingest.RejectJSON(err)
		}
		if !more {
			return nil
		}
		if err := element(); err != nil {
			return err
		}
	}
}

func str(s *jsonscan.Scanner, what string, to *string) error {
	switch s.Peek() {
	case 'n':
		return skip(s)
	case '"':
	default:
		return mismatch(s, what, "a string")
	}
	b, err := s.String()
	if err != nil {
		return ingest.RejectJSON(err)
	}
	*to = string(b)
	return nil
}

func number(s *jsonscan.Scanner, what string, to *float64) error {
	switch c := s.Peek(); {
	case c == 'n':
		return skip(s)
	case c != '-' && (c < '0' || c > '9'):
		return mismatch(s, what, "a number")
	}
	v, err := s.Number()
	if err != nil {
		return ingest.RejectJSON(err)
	}
	*to = v
	return nil
}

func skip(s *jsonscan.Scanner) error {
	if err := s.Skip(); err != nil {
		return ingest.RejectJSON(err)
	}
	return nil
}

func mismatch(s *jsonscan.Scanner, what, want string) error {
	at := s.Offset()
	found := s.Unexpected(what + " as " + want)
	if err := s.Skip(); err != nil {
		return ingest.RejectJSON(found)
	}
	return ingest.Rejectf(ingest.ReasonType, "offset %d: %s is %.32q, want %s", at, what, s.Since(at), want)
}
