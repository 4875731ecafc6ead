package ingest_test

import (
	"testing"

	"panormus/ingest"
	"panormus/ingest/ingesttest"
)

// parsed is a message that its source has read.
type parsed struct{ metric string }

func (p parsed) AppendPayload(out []byte) []byte { return append(out, `{"`+p.metric+`":1}`...) }

// A message that comes parsed is decoded as it is where its decoder can, and is bytes everywhere else.
func TestParsed(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) {
		c.Decoders["lorawan-frame"] = func(in *ingest.Input, out *ingest.Decoded) error {
			m, ok := in.Parsed.(parsed)
			if !ok || len(in.Payload) > 0 {
				return ingest.Rejectf(ingest.ReasonInternal, "%v and %d bytes, want only what is parsed", in.Parsed, len(in.Payload))
			}
			if m.metric == "bad" {
				return ingest.Rejectf(ingest.ReasonMIC, "bad")
			}
			r := out.Begin()
			r.Time, r.OwnTime = now, true
			return out.Add([]byte(m.metric), 1, nil)
		}
		c.Routes = append([]ingest.Route{{Filter: "other/+/frame", Decoder: "json", Domain: "lorawan"}}, ingest.GatheredRoutes()...)
	})
	a := &acks{log: l}
	s := p.Session("test", "c1", a, nil)
	send := func(topic, metric string, token uint64) {
		t.Helper()
		handle(t, s, &ingest.Envelope{Topic: []byte(topic), Parsed: parsed{metric}, Received: now, Token: token})
		flush(t, p)
	}
	send("lorawan/7/frame", "a", 0)
	send("lorawan/7/frame", "a", 0) // nobody sends again what asks for nothing
	send("lorawan/7/frame", "b", 1)
	send("lorawan/7/frame", "b", 2) // a bridge may
	send("lorawan/7/frame", "bad", 3)
	send("other/7/frame", "c", 4)
	metrics := ""
	for _, r := range l.Rows() {
		metrics += r.Metric
	}
	if metrics != "aabc" || a.count() != 4 {
		t.Errorf("metrics %q and %d acknowledged, want aabc and 4", metrics, a.count())
	}
	if r := l.Rejected(); len(r) != 1 || string(r[0].Payload) != `{"bad":1}` || r[0].Reason != string(ingest.ReasonMIC) {
		t.Errorf("rejected %+v, want the bytes of bad", r)
	}
	balance(t, p)
}
