package feed

import (
	"encoding/json"

	"panormus/controlroom/live"
	"panormus/stream/alarms"
	"panormus/stream/batch"
)

// newEventGroup makes a group that knows the newest events that were. An event that is in the state
// already and on its way to the Hub besides is not numbered twice: keep leaves it out.
func newEventGroup(state *live.State, epoch string, keep func(any) bool) *listGroup {
	var newest [][]byte
	known := map[string]bool{}
	for _, e := range state.RecentEvents(listShown, func(e *batch.Event) bool { return keep(e) }) {
		newest = append(newest, encodeEvent(&e))
		known[e.ID] = true
	}
	g := &listGroup{epoch: epoch, kind: "event"}
	g.keep = func(v any) bool {
		e := v.(*batch.Event)
		if !keep(v) || known[e.ID] {
			return false
		}
		if newest = append(newest, encodeEvent(e)); len(newest) >= 2*listShown {
			newest = append([][]byte(nil), newest[len(newest)-listShown:]...)
		}
		return true
	}
	g.items = func() [][]byte { return newest[max(0, len(newest)-listShown):] }
	return g
}

func encodeEvent(e *batch.Event) []byte { return mustEncode(live.EventOf(*e)) }

// newAlarmGroup makes a group that begins with the open alarms. One that fits the filter no more, its
// severity having changed, is told of once more.
func newAlarmGroup(from Alarms, epoch string, q alarms.Query) *listGroup {
	told := map[string]bool{}
	g := &listGroup{epoch: epoch, kind: "alarm"}
	severity := setOf(q.Severities)
	domain, zone, device, rule := setOf(q.Domains), setOf(q.Zones), setOf(q.Devices), setOf(q.Rules)
	g.keep = func(v any) bool {
		a := v.(*alarms.Record)
		if !q.Sees(a.Alarm) {
			return false
		}
		fits := severity.has(a.Severity) && domain.has(a.Domain) && zone.has(a.Zone) && device.has(a.Device) && rule.has(a.Rule)
		was := told[a.ID]
		if fits && a.Open() {
			told[a.ID] = true
		} else {
			delete(told, a.ID)
		}
		return fits || was
	}
	g.items = func() [][]byte {
		if from == nil {
			return nil
		}
		q.Limit = alarmsShown
		open, _, _ := from.List(q)
		out := make([][]byte, len(open))
		for i := range open {
			told[open[i].ID] = true
			out[i] = encodeAlarm(&open[i])
		}
		return out
	}
	return g
}

func encodeAlarm(r *alarms.Record) []byte { return mustEncode(live.AlarmOf(*r)) }

func mustEncode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: a value of our own that JSON cannot say: " + err.Error())
	}
	return b
}
