package vds

import (
	"strings"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
)

// onvifEvents reads an event as ONVIF has it in JSON over MQTT. What it tells is in the topic, behind
// onvif-ej, or in a member Topic where the message came by another.
//
// The JSON has no PropertyOperation: cameras retain states, and a state that was retained refreshes
// what is known and is no news. Events that are no states are not to be repeated.
func onvifEvents(in *ingest.Input, out *ingest.Decoded) error {
	e, err := newEvent(out, in.Retained, 0)
	if err != nil {
		return err
	}
	topic, sources := eventTopic(in.Topic)
	r := eventJSON{out: out, s: &out.Scan, e: &e, topic: topic}
	if err := whole(r.s, in.Payload, "an event", r.member); err != nil {
		return err
	}
	if e.topic, err = canonical(out, r.topic); err != nil {
		return err
	}
	if !r.event {
		return ingest.Rejectf(ingest.ReasonFormat, "found no UtcTime, Source or Data, want an event")
	}
	if e.rule == "" {
		e.rule = ruleOf(sources)
	}
	return e.finish()
}

// eventTopic is what of an MQTT topic tells the event, and its sources.
func eventTopic(topic string) (path, sources string) {
	_, rest, ok := strings.Cut(topic, "onvif-ej/")
	if !ok {
		return "", ""
	}
	path, sources, _ = strings.Cut(rest, "&")
	return path, sources
}

// ruleOf is the rule among the sources of a topic: video source, analytics configuration, rule.
func ruleOf(sources string) string {
	_, rest, _ := strings.Cut(sources, "/")
	_, rule, _ := strings.Cut(rest, "/")
	if len(rule) > maxWord {
		return ""
	}
	return rule
}

// eventJSON reads one event.
type eventJSON struct {
	out   *ingest.Decoded
	s     *jsonscan.Scanner
	e     *onvifEvent
	topic string
	event bool
}

func (r *eventJSON) member(name []byte) (err error) {
	switch string(local(name)) {
	case "UtcTime":
		r.event = true
		r.e.at, err = moment(r.s)
		return err
	case "PropertyOperation":
		r.e.operation, err = word(r.s, r.out)
		return err
	case "Topic", "topic":
		w, err := word(r.s, r.out)
		if r.topic == "" {
			r.topic = w
		}
		return err
	case "Message":
		return members(r.s, "an event", r.member)
	case "Source", "Key", "Data":
		r.event = true
		return each(r.s, "items", r.items)
	}
	return skip(r.s)
}

// items reads a list of names and values, in any of its forms.
func (r *eventJSON) items(int) error {
	return members(r.s, "items", func(name []byte) error {
		at := r.s.Offset()
		switch n := local(name); string(n) {
		case "SimpleItem", "ElementItem":
			return each(r.s, "an item", r.item)
		default:
			if c := r.s.Peek(); c == '{' || c == '[' {
				return r.element(n)
			}
			return r.simple(r.out.Copy(n), at)
		}
	})
}

func (r *eventJSON) simple(name string, at int) error {
	if !listens(name) {
		return skip(r.s) // it may be longer than a word
	}
	w, err := word(r.s, r.out)
	if err != nil {
		return err
	}
	return r.e.item(name, w, at)
}

// listens reports whether item does anything with a name.
func listens(name string) bool {
	switch name {
	case "Rule", "RuleName", "ObjectId", "ObjectID", "Count", "IsInside", "State", "IsMotion", "IsTamper", "IsLoitering", "Tamper",
		"Direction", "CrossingDirection", "ClassTypes", "ClassType", "ObjectType", "Class", "Likelihood", "Confidence",
		"PlateNumber", "LicensePlate", "LicensePlateNumber", "Plate", "CountryCode", "Country", "VehicleType", "Brand", "Model",
		"Color", "Speed", "StartTime", "EndTime":
		return true
	}
	return false
}

// item reads {"Name":…,"Value":…}, and what an element item holds.
func (r *eventJSON) item(int) error {
	var key, value string
	at := r.s.Offset()
	err := members(r.s, "an item", func(name []byte) (err error) {
		switch n := local(name); string(n) {
		case "Name":
			key, err = word(r.s, r.out)
			return err
		case "Value":
			if c := r.s.Peek(); c != '{' && c != '[' {
				from := r.s.Offset()
				if value, err = r.short(); err != nil {
					return err
				}
				at = from
				return nil
			}
			return r.element(n)
		default:
			return r.element(n)
		}
	})
	if err != nil || !listens(key) {
		return err
	}
	return r.e.item(key, value, at)
}

// short reads a scalar, "" for a string that is no word.
func (r *eventJSON) short() (string, error) {
	if r.s.Peek() != '"' {
		return word(r.s, r.out)
	}
	b, err := r.s.String()
	if err != nil {
		return "", rejectJSON(err)
	}
	if len(b) > maxWord {
		return "", nil
	}
	return r.out.Copy(b), nil
}

// element reads an object or several within items.
func (r *eventJSON) element(name []byte) error {
	o := onvifJSON{out: r.out, s: r.s}
	switch string(name) {
	case "Class", "VehicleInfo", "LicensePlateInfo", "HumanFace":
		parent := known(name)
		return each(r.s, parent, func(int) error {
			if c := r.s.Peek(); c != '{' {
				return skip(r.s)
			}
			return o.traits(parent, &r.e.thing)
		})
	case "Value", "Object", "ObjectTrack", "Appearance":
		return each(r.s, "items", func(int) error {
			if c := r.s.Peek(); c != '{' {
				return skip(r.s)
			}
			return r.items(0)
		})
	}
	return skip(r.s)
}
