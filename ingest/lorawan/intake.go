package lorawan

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"panormus/ingest"
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/gather"
)

// An Intake brings raw frames, and what gateways tell of themselves, into the pump. It implements
// ingest.Source; what listens for gateways are its Sources.
type Intake struct {
	Gatherer *gather.Gatherer
	Sources  []ingest.Source

	reports chan ingest.Envelope
	dropped atomic.Uint64
}

// reportsQueued is how many reports of gateways may wait; a city's send one in half a minute each.
const reportsQueued = 4096

// lastWait is how long, after the end of its context, an Intake waits for the log.
const lastWait = 3 * time.Second

// NewIntake makes an intake with a gatherer.
func NewIntake() *Intake {
	i := &Intake{reports: make(chan ingest.Envelope, reportsQueued)}
	i.Gatherer = gather.New(gather.Config{Event: i.event})
	return i
}

// Dropped is how many reports of gateways were dropped because the log is behind.
func (i *Intake) Dropped() uint64 { return i.dropped.Load() }

// event passes on what a gateway told of itself.
func (i *Intake) event(m *envelope.Message, received int64) {
	e := ingest.Envelope{Received: received}
	switch {
	case m.Gateway == "":
		return
	case m.Kind == envelope.Stats:
		e.Topic, e.Payload = []byte("lorawan/"+m.Gateway+"/stats"), envelope.AppendStats(nil, m)
	case m.Kind == envelope.TxAck:
		e.Topic, e.Payload = []byte("lorawan/"+m.Gateway+"/ack"), envelope.AppendAck(nil, m)
	default:
		return
	}
	select {
	case i.reports <- e:
	default:
		i.dropped.Add(1)
	}
}

// Feed returns the intake as a source of the pump.
func (i *Intake) Feed(p *ingest.Pump) ingest.Source { return feeding{i, p} }

type feeding struct {
	*Intake
	pump *ingest.Pump
}

// Run implements ingest.Source: first the sources end, then what waits goes on.
func (f feeding) Run(ctx context.Context) error {
	done := make(chan struct{})
	finish := func() { close(done) }
	var once sync.Once
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastWait, func() { once.Do(finish) }) })
	defer stop()
	defer once.Do(finish)

	sourcing, stopSources := context.WithCancel(ctx)
	defer stopSources()
	gathering, stopGathering := context.WithCancel(context.WithoutCancel(ctx))
	defer stopGathering()
	var gatherErr, reportErr error
	var inner, outer sync.WaitGroup
	inner.Go(func() {
		s := f.pump.Session("lorawan", "gather", f.Gatherer, done)
		defer s.Release()
		gatherErr = f.Gatherer.Run(gathering, s)
		stopSources()
	})
	inner.Go(func() {
		s := f.pump.Session("lorawan", "gateways", nil, done)
		defer s.Release()
		for reportErr == nil {
			select {
			case e := <-f.reports:
				reportErr = s.Handle(&e)
			case <-gathering.Done():
				return
			}
		}
	})
	errs := make([]error, len(f.Sources))
	for i, s := range f.Sources {
		outer.Go(func() {
			errs[i] = s.Run(sourcing)
			stopSources()
		})
	}
	<-sourcing.Done()
	outer.Wait()
	stopGathering()
	inner.Wait()
	if ctx.Err() != nil {
		return errors.Join(errs...) // ErrClosed is how the pump ends
	}
	return errors.Join(append(errs, gatherErr, reportErr)...)
}
