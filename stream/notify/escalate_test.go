package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"panormus/stream/batch"
)

// TestEscalation: who is told of critical alarms only hears of one that became critical because nobody acknowledged it,
// once, whatever is asked again, restarted or said by its rule, and of its end.
func TestEscalation(t *testing.T) {
	now := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	routes := []*Route{
		{ID: "all", Receivers: []string{"room"}, Severity: "major", GroupWait: duration(0), Repeat: duration(0)},
		{ID: "worst", Receivers: []string{"chief"}, Severity: "critical", GroupWait: duration(0), Repeat: duration(0)},
	}
	trays := map[string]*tray{}
	for _, name := range []string{"room", "chief"} {
		trays[name] = newTray(name, func() []*Route { return routes }, nil)
	}
	told := func(want map[string]string) {
		t.Helper()
		for name, tr := range trays {
			tr.tick(now)
			got := ""
			for _, p := range tr.Outbox {
				a := p.Message.Alarms[0]
				got += fmt.Sprintf("%s %s %s %v;", p.Message.Status, a.State, a.Severity, a.Escalated)
			}
			if tr.Outbox = nil; got != want[name] {
				t.Errorf("%s is told %q, want %q", name, got, want[name])
			}
			// As after a restart.
			b, err := json.Marshal(&tr.state)
			if err != nil {
				t.Fatal(err)
			}
			trays[name] = newTray(name, func() []*Route { return routes }, nil)
			if err := trays[name].restore(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	rule := func(state, severity string) {
		now = now.Add(time.Minute)
		e := event(1, state)
		e.ID, e.Time, e.Severity = fmt.Sprint(state, now), now, severity
		for _, tr := range trays {
			tr.take(&e, now)
		}
	}
	escalated := func(severity string) {
		now = now.Add(time.Minute)
		e := event(1, "updated")
		e.ID, e.Severity, e.Time = "graver-"+severity, severity, now.Add(-time.Hour)
		for _, tr := range trays {
			tr.escalate([]batch.Event{e}, now)
		}
	}
	rule("raised", "major")
	told(map[string]string{"room": "firing raised major false;"})
	escalated("critical")
	told(map[string]string{"room": "firing updated critical true;", "chief": "firing updated critical true;"})
	escalated("critical")
	told(nil)
	rule("updated", "major") // other values, as its rule has it
	escalated("critical")
	told(nil)
	rule("cleared", "major")
	told(map[string]string{"room": "resolved cleared critical false;", "chief": "resolved cleared critical false;"})
	rule("raised", "major")
	told(map[string]string{"room": "firing raised major false;"})
	escalated("critical")
	told(map[string]string{"room": "firing updated critical true;", "chief": "firing updated critical true;"})
}

// stale knows of an escalation, and of the events up to a sequence.
type stale struct {
	until uint64
	all   []batch.Event
}

func (s *stale) Escalated(seq uint64) ([]batch.Event, bool) { return s.all, seq <= s.until }

// TestEscalationIsOfNow: what the alarms say while they do not know all that a queue has taken in is not told.
func TestEscalationIsOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		q := m.queue(&Route{ID: "all", Receivers: []string{"ops"}, Severity: "critical", GroupWait: duration(0)}, nil)
		e := event(1, "updated")
		e.Severity = "critical"
		known := &stale{until: 0, all: []batch.Event{e}}
		q.graver = known
		m.kept["ops"], _ = json.Marshal(state{Seq: 1})
		stop := start(t, q.Run)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(m.sent) != 0 {
			t.Errorf("told %+v by alarms that are behind", m.sent)
		}
		stop()
		known.until = 1
		stop = start(t, q.Run)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		stop()
		if len(m.sent) != 1 || !strings.HasPrefix(m.sent[0].m.Subject(), "[CRITICAL] not acknowledged: ") || !strings.Contains(m.sent[0].m.Plain(), "critical not acknowledged pole-1") {
			t.Errorf("told %+v, want the escalation once", m.sent)
		}
	})
}
