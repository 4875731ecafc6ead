package feed

import (
	"encoding/json"

	"panormus/controlroom/live"
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

func encodeAlarm(a *live.Alarm) []byte { return mustEncode(a) }

func mustEncode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: a value of our own that JSON cannot say: " + err.Error())
	}
	return b
}
