package ingest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/stream/batch"
	"panormus/stream/log"
)

// openLog opens the real log in dir.
func openLog(t *testing.T, dir string) *log.Log {
	t.Helper()
	l, err := log.Open(context.Background(), log.Config{Dir: dir, Sync: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// runPump runs a pump over l and returns how to stop it.
func runPump(t *testing.T, l *log.Log, reg ingest.Directory) (*ingest.Pump, func()) {
	t.Helper()
	p, err := ingest.New(ingest.Config{Log: l, Registry: reg, Decoders: ingesttest.Decoders(), Linger: 5 * time.Millisecond, Fingerprints: 1 << 14})
	if err != nil {
		t.Fatal(err)
	}
	older, err := p.Remember(context.Background(), l)
	if err != nil {
		t.Fatal(err)
	}
	if err := older(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// rowsOf reads every observation of the log.
func rowsOf(t *testing.T, l *log.Log) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	last, err := l.LastSeq(ctx, batch.KindObservations)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Read(ctx, batch.KindObservations, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for seq := uint64(0); seq < last; {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		o, err := batch.DecodeObservations(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for i := range o.Len() {
			if want := log.Partition(o.Device.At(i), l.Partitions()); m.Partition != want {
				t.Fatalf("%s in partition %d, want %d", o.Device.At(i), m.Partition, want)
			}
		}
		n, seq = n+o.Len(), m.Seq
	}
	return n
}

// After a restart the messages whose acknowledgements were lost come again and are not stored
// twice, by their own time or by their delivery.
func TestRemember(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	p, stop := runPump(t, l, ingesttest.NewRegistry())
	send := func(p *ingest.Pump, dup bool) {
		s := p.Session("test", "c1", nil, nil)
		defer s.Release()
		for i := range 2000 {
			payload := `{"a":1}`
			if i%2 == 0 {
				payload = fmt.Sprintf(`{"ts":%d,"a":1}`, now)
			}
			e := message(fmt.Sprintf("city/lighting/pole-%d/telemetry", i), payload, uint64(i+1))
			e.Dup = dup
			handle(t, s, e)
			if i%200 == 0 {
				flush(t, p)
			}
		}
		flush(t, p)
	}
	send(p, false)
	stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l = openLog(t, dir)
	defer l.Close()
	p, stop = runPump(t, l, ingesttest.NewRegistry())
	defer stop()
	send(p, true)
	if st := balance(t, p); st.Duplicates != 2000 || st.Decoded != 0 {
		t.Errorf("after the restart: %d duplicates and %d decoded, want 2000 and 0", st.Duplicates, st.Decoded)
	}
	if n := rowsOf(t, l); n != 2000 {
		t.Errorf("%d rows on the log, want 2000", n)
	}
}

func TestReplayRejected(t *testing.T) {
	l := openLog(t, t.TempDir())
	defer l.Close()
	reg := ingesttest.NewRegistry()
	refusing, err := ingest.New(ingest.Config{Log: l, Registry: reg, Decoders: ingesttest.Decoders(), Linger: 5 * time.Millisecond, RefuseUnknown: true, Fingerprints: 1 << 12})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- refusing.Run(ctx) }()
	s := refusing.Session("test", "c1", nil, nil)
	for i := range 10 {
		handle(t, s, message(fmt.Sprintf("city/lighting/pole-%d/telemetry", i), `{"a":1}`, 0))
		handle(t, s, message(fmt.Sprintf("city/lighting/pole-%d/telemetry", i), fmt.Sprintf(`{"ts":%d,"a":1}`, now-5), 0))
		handle(t, s, message(fmt.Sprintf("city/lighting/pole-%d/telemetry", i), `garbage`, 0))
	}
	flush(t, refusing)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if st := balance(t, refusing); st.Rejected != 30 {
		t.Fatalf("%d rejected, want 30", st.Rejected)
	}
	for i := range 10 { // the mend
		if err := reg.PutDevice(context.Background(), devices.Device{ID: fmt.Sprintf("pole-%d", i), Domain: "lighting"}); err != nil {
			t.Fatal(err)
		}
	}
	p, stop := runPump(t, l, reg)
	defer stop()
	replay := func(r ingest.Replay, want ingest.Replayed, rows int) {
		t.Helper()
		got, err := ingest.ReplayRejected(context.Background(), p, l, r)
		if err != nil {
			t.Fatal(err)
		}
		if got.Read != want.Read || got.Decoded != want.Decoded || got.Duplicates != want.Duplicates || got.Rejected[ingest.ReasonSyntax] != want.Rejected[ingest.ReasonSyntax] {
			t.Errorf("replay %+v: %+v, want %+v", r, got, want)
		}
		if n := rowsOf(t, l); n != rows {
			t.Errorf("replay %+v: %d rows, want %d", r, n, rows)
		}
	}
	syntax := func(n uint64) map[ingest.Reason]uint64 { return map[ingest.Reason]uint64{ingest.ReasonSyntax: n} }
	unknown := []ingest.Reason{ingest.ReasonUnknownDevice}
	replay(ingest.Replay{Until: time.UnixMilli(now)}, ingest.Replayed{}, 0)
	replay(ingest.Replay{DryRun: true}, ingest.Replayed{Read: 30, Decoded: 20, Rejected: syntax(10)}, 0)
	replay(ingest.Replay{Reasons: unknown, Topic: "city/lighting/pole-3/#"}, ingest.Replayed{Read: 2, Decoded: 2}, 2)
	replay(ingest.Replay{Reasons: unknown}, ingest.Replayed{Read: 20, Decoded: 18, Duplicates: 2}, 20)
	replay(ingest.Replay{Since: time.UnixMilli(now)}, ingest.Replayed{Read: 30, Duplicates: 20, Rejected: syntax(10)}, 20)
	if last, err := l.LastSeq(context.Background(), batch.KindRejected); err != nil || last == 0 {
		t.Fatal(last, err)
	}
	balance(t, p)
}
