package vds

import (
	"math"
	"strings"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
	"panormus/stream/batch"
)

// axisEvent reads an event of an Axis camera: those of Object Analytics, whose counters become a row
// a class, and what the camera tells of its own view. Which event it is stands in the message's
// topic, or in that of MQTT where the message has none.
//
// A message that was retained is the state of an event, not the event: its row is a refreshment.
func axisEvent(in *ingest.Input, out *ingest.Decoded) error {
	e := axisEventMessage{in: in, out: out, s: &out.Scan, active: math.NaN(), total: math.NaN()}
	if err := whole(e.s, in.Payload, "an event", e.member); err != nil {
		return err
	}
	topic := e.topic
	if topic == "" {
		_, topic, _ = strings.Cut(in.Topic, "/event/")
	}
	if topic == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "found no topic, want that of an event")
	}
	if in.Retained {
		out.Refresh = true
	}
	if err := e.rows(topic); err != nil {
		return err
	}
	stamp(out, 0, e.at)
	return nil
}

type axisEventMessage struct {
	in  *ingest.Input
	out *ingest.Decoded
	s   *jsonscan.Scanner
	at  instant

	topic     string
	rule      string // of source or data, where they name one
	reason    string // class of the object that was counted
	active    float64
	object    string
	classes   string // comma list
	total     float64
	counts    [16]axisCount // by class
	counted   int
	occupancy bool // they tell how many are there, not how many came
}

type axisCount struct {
	class string // the vendor's word
	value float64
}

func (e *axisEventMessage) member(name []byte) (err error) {
	switch string(name) {
	case "topic":
		e.topic, err = word(e.s, e.out)
	case "timestamp":
		e.at, err = moment(e.s)
	case "message":
		return members(e.s, "a message", func(name []byte) error {
			switch string(name) {
			case "source", "key", "data":
				return members(e.s, "an object of texts", e.datum)
			}
			return skip(e.s)
		})
	default:
		return skip(e.s)
	}
	return err
}

// datum reads a member of source, key or data. All are texts; some firmwares write numbers bare.
func (e *axisEventMessage) datum(name []byte) (err error) {
	switch string(name) {
	case "active", "state", "tampering", "sabotage", "day", "triggered", "motion", "State", "IsMotion", "is_motion":
		if math.IsNaN(e.active) {
			e.active, err = truth(e.s, e.out)
			return err
		}
		return skip(e.s)
	case "objectId", "object_id", "ObjectId":
		e.object, err = word(e.s, e.out)
	case "classTypes", "class_types":
		e.classes, err = word(e.s, e.out)
	case "reason":
		e.reason, err = word(e.s, e.out)
	case "scenario", "scenarioName", "profile", "window", "Rule":
		e.rule, err = word(e.s, e.out)
	default:
		class, ok := axisCounters[string(name)]
		if !ok {
			return skip(e.s)
		}
		v, err := count(e.s)
		if err != nil || math.IsNaN(v) {
			return err
		}
		if class == "total" {
			e.total = v
			return nil
		}
		if e.counted == len(e.counts) {
			return ingest.Rejectf(ingest.ReasonTooMany, "offset %d: found more than %d counters in an event", e.s.Offset(), len(e.counts))
		}
		e.counts[e.counted] = axisCount{class, v}
		e.counted++
		e.occupancy = e.occupancy || len(name) < 5 || string(name[:5]) != "total"
	}
	return err
}

// maxCount is the greatest counter that is believed.
const maxCount = 1e12

// count reads a counter.
func count(s *jsonscan.Scanner) (float64, error) {
	at := s.Offset()
	v, err := number(s)
	if err == nil && (v < 0 || v > maxCount) {
		return 0, ingest.Rejectf(ingest.ReasonNumber, "offset %d: found a count below 0 or beyond %g", at, maxCount)
	}
	return v, err
}

// axisCounters are the counters of Object Analytics and the vendor's words for what they count: those
// of lines begin with total, those of areas do not.
var axisCounters = map[string]string{
	"total": "total", "totalHuman": "human", "totalVehicle": "vehicle", "totalCar": "car", "totalTruck": "truck", "totalBus": "bus",
	"totalBike": "bike", "totalOtherVehicle": "otherVehicle", "totalUnknown": "unknown",
	"human": "human", "vehicle": "vehicle", "car": "car", "truck": "truck", "bus": "bus", "bike": "bike", "otherVehicle": "otherVehicle",
	"unknown": "unknown",
}

// axisKinds are the events of cameras by a part of their topic; the first that matches counts.
var axisKinds = []struct{ part, what string }{
	{"Tampering", batch.WhatTamper}, {"TamperDetect", batch.WhatTamper}, {"SceneChange", batch.WhatTamper},
	{"ImageToo", batch.WhatTamper}, {"VideoLos", batch.WhatSignalLoss}, {"SignalLoss", batch.WhatSignalLoss},
	{"LoiteringGuard", batch.WhatLoitering}, {"FenceGuard", batch.WhatLineCrossed}, {"Motion", batch.WhatMotion}, {"/VMD", batch.WhatMotion},
}

// rows makes rows of what was read. The topic's last level names the rule.
func (e *axisEventMessage) rows(topic string) error {
	leaf := topic[strings.LastIndexByte(topic, '/')+1:]
	if len(leaf) > maxWord {
		return ingest.Rejectf(ingest.ReasonName, "found a topic whose last level has %d bytes, want at most %d", len(leaf), maxWord)
	}
	if strings.Contains(topic, "ObjectAnalytics") {
		return e.analytics(leaf)
	}
	if e.rule == "" {
		e.rule = leaf
	}
	for _, k := range axisKinds {
		if strings.Contains(topic, k.part) {
			return e.state(k.what)
		}
	}
	return e.state(batch.WhatAlert) // day and night, ports, temperature…
}

// state adds a row of what is on or off; what tells neither has just happened.
func (e *axisEventMessage) state(what string) error {
	if what == batch.WhatLineCrossed && e.active == 0 {
		return nil // nobody crosses it any more
	}
	r, err := e.out.Detect(what)
	if err != nil {
		return err
	}
	r.Rule, r.Track = e.rule, e.object
	if r.Value = e.active; math.IsNaN(r.Value) {
		r.Value = 1
	}
	class, _, _ := strings.Cut(e.classes, ",")
	if class = strings.TrimSpace(class); class == "" {
		class = e.reason
	}
	if class != "" {
		setClass(r, class)
	}
	if what == batch.WhatInside {
		r.Zone = e.rule
	}
	return nil
}

// analytics makes rows of an event of Object Analytics. Its scenarios are called Device1Scenario3, by
// the camera's channel and their number; Device1ScenarioANY repeats what they tell, and
// Device1Scenario3Threshold tells that a counter has passed one.
//
// Whether a scenario watches a line or an area the event does not say: its state is that of a zone.
func (e *axisEventMessage) analytics(leaf string) error {
	if rest, ok := strings.CutPrefix(leaf, "Device"); ok {
		if n, _, ok := strings.Cut(rest, "Scenario"); ok && n != "" && len(n) < 4 {
			if channel := digits([]byte(n)); channel > 0 {
				if err := setChannel(e.in, e.out, float64(channel)); err != nil {
					return err
				}
			}
		}
	}
	if e.rule = leaf; strings.HasPrefix(leaf, "xinternal") {
		return nil
	}
	if e.counted == 0 && math.IsNaN(e.total) {
		switch {
		case strings.HasSuffix(leaf, "ANY"), strings.HasSuffix(leaf, "Threshold"):
			return e.state(batch.WhatAlert)
		case e.reason != "" && math.IsNaN(e.active):
			return e.state(batch.WhatLineCrossed)
		}
		return e.state(batch.WhatInside)
	}
	if e.counted == 0 { // no classes: all of them
		e.counts[0], e.counted = axisCount{"total", e.total}, 1
		e.occupancy = e.reason == ""
	}
	what := batch.WhatCount
	if e.occupancy {
		what = batch.WhatOccupancy
	}
	for _, c := range e.counts[:e.counted] {
		r, err := e.out.Detect(what)
		if err != nil {
			return err
		}
		r.Rule, r.Value = leaf, c.value
		setClass(r, c.class)
		if e.occupancy {
			r.Zone = leaf
		}
	}
	return nil
}
