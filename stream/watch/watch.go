// Package watch raises an event when a camera reads a plate of a list. It compares hashes of the day;
// neither it nor the event knows the plate.
package watch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/devices"
	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// Consumer is the worker's name at the log.
const Consumer = "plate-lists"

// RulePrefix and the id of a list are the rule of its events.
const RulePrefix = "plate-list:"

// Lists say which lists name a plate; *privacy.Lists is one.
type Lists interface {
	// Match returns the ids of lists that name the plate of a hash, of a camera with the purpose, read
	// at a time.
	Match(purpose string, at time.Time, hash string) ([]string, error)
}

// Config is what a worker is made of.
type Config struct {
	Log   *streamlog.Log
	Lists Lists
	// Zone is where a camera is, for the event; may be nil.
	Zone    func(camera string) string
	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

// Bounds of the work.
const (
	episode     = 10 * time.Minute // readings of a plate by a camera in one such span are one event
	remembered  = time.Hour        // how long ids of events are known again, also over a restart
	keepEvery   = time.Second
	sampleEvery = time.Minute
	stopTimeout = 5 * time.Second
)

// A Worker reads detections from the log and publishes an event for each list that names a plate that
// was read. Ids of events are made of list, camera, hash and the ten minutes of the reading; events are
// on the log before the position moves, and those that are there already are not published again. So
// each is there once, however often the worker is killed; one of a reading that comes more than an hour
// late may, after a restart, be there twice under one id, which everybody who shows events shows once.
type Worker struct {
	cfg     Config
	matches *prometheus.CounterVec
	seq     atomic.Uint64
	hook    func(step string) error // a test's, which ends the worker there as a kill would
}

// New makes a worker; Run starts it.
func New(cfg Config) *Worker {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Worker{cfg: cfg, matches: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "panormus_stream_plate_list_events_total", Help: "Events of plates that a list names.",
	}, []string{"list"})}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(w.matches)
	}
	return w
}

// Applied is the sequence of detections up to which all was compared and its events published.
func (w *Worker) Applied() uint64 { return w.seq.Load() }

// run is the state of one Run.
type run struct {
	*Worker
	seq, kept uint64
	have      map[string]time.Time // ids of events on the log, and since when
	marks     []mark               // ends of the stream of events, by time
}

type mark struct {
	at  time.Time
	seq uint64
}

// Run compares until ctx ends. Any other end is an error; a new Run goes on where this one was.
func (w *Worker) Run(ctx context.Context) error {
	r := &run{Worker: w, have: map[string]time.Time{}}
	if err := r.restore(ctx); err != nil {
		return orNil(ctx, err)
	}
	reader, err := w.cfg.Log.Read(ctx, batch.KindDetections, r.seq)
	if err != nil {
		return orNil(ctx, err)
	}
	defer reader.Close()
	lastKeep, lastMark := time.Now(), time.Now()
	for {
		// Not longer than until the position is to be kept.
		rctx, cancel := context.WithTimeout(ctx, keepEvery)
		m, err := reader.Next(rctx)
		cancel()
		switch {
		case ctx.Err() != nil:
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			return r.keep(last)
		case err == nil:
			if err := r.take(ctx, m); err != nil {
				return err
			}
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		if time.Since(lastMark) >= sampleEvery {
			if err := r.sample(ctx); err != nil {
				return orNil(ctx, err)
			}
			lastMark = time.Now()
		}
		if time.Since(lastKeep) >= keepEvery {
			if err := r.keep(ctx); err != nil {
				return orNil(ctx, err)
			}
			lastKeep = time.Now()
		}
	}
}

func orNil(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// restore takes up the position and learns which events are on the log.
func (r *run) restore(ctx context.Context) error {
	at, err := r.cfg.Log.Position(ctx, Consumer, batch.KindDetections)
	if err != nil {
		return err
	}
	events, err := r.cfg.Log.Position(ctx, Consumer, batch.KindEvents)
	if err != nil {
		return err
	}
	r.seq, r.kept = at.Seq, at.Seq
	r.Worker.seq.Store(at.Seq)
	r.marks = []mark{{time.Now(), events.Seq}}
	// From now on the log keeps what the next start will need.
	if err := r.positions(ctx); err != nil {
		return err
	}
	last, err := r.cfg.Log.LastSeq(ctx, batch.KindEvents)
	if err != nil || last <= events.Seq {
		return err
	}
	reader, err := r.cfg.Log.Read(ctx, batch.KindEvents, events.Seq)
	if err != nil {
		return err
	}
	defer reader.Close()
	for seq := events.Seq; seq < last; {
		m, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		seq = m.Seq
		all, err := batch.DecodeEvents(m.Data)
		if err != nil {
			r.cfg.Logger.Error("a batch of events cannot be read", "sequence", m.Seq, "error", err)
			continue
		}
		for i := range all {
			if strings.HasPrefix(all[i].Rule, RulePrefix) {
				r.have[all[i].ID] = m.Stored
			}
		}
	}
	return nil
}

// take compares one batch.
func (r *run) take(ctx context.Context, m streamlog.Message) error {
	d, err := batch.DecodeDetections(m.Data)
	if err != nil {
		// Nobody can mend it and it must not stop the others; the writer files it.
		r.cfg.Logger.Error("a batch of detections cannot be read and is not compared", "sequence", m.Seq, "error", err)
		r.advance(m.Seq)
		return nil
	}
	var events []batch.Event
	for i := range d.Time {
		hash := d.PlateHash.At(i)
		if hash == "" || d.Quality[i]&uint8(devices.QualityRefresh) != 0 {
			continue // what is told again fires no second time
		}
		at := time.UnixMilli(d.Time[i]).UTC()
		lists, err := r.cfg.Lists.Match(d.Purpose.At(i), at, hash)
		if err != nil {
			return fmt.Errorf("compare with lists of plates: %w", err)
		}
		for _, list := range lists {
			e := r.event(list, d.Camera.At(i), hash, at, time.UnixMilli(d.Received[i]).UTC())
			if _, ok := r.have[e.ID]; ok {
				continue
			}
			r.have[e.ID] = time.Now()
			events = append(events, e, cleared(e))
			r.matches.WithLabelValues(list).Inc()
		}
	}
	if len(events) > 0 {
		if err := r.publish(ctx, events); err != nil {
			return err
		}
	}
	r.advance(m.Seq)
	return nil
}

func (r *run) advance(seq uint64) {
	r.seq = seq
	r.Worker.seq.Store(seq)
}

func (r *run) event(list, camera, hash string, at, received time.Time) batch.Event {
	span := at.Truncate(episode)
	id := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d", list, camera, hash, span.UnixMilli()))
	name := hex.EncodeToString(id[:10])
	e := batch.Event{
		ID: name, Rule: RulePrefix + list, RuleVersion: "1", Severity: "major", State: "raised", Time: at, Received: received,
		Domain: "safety", Device: camera, Key: camera + "/" + name, Text: fmt.Sprintf("%s read a plate of the list %s", camera, list),
	}
	if r.cfg.Zone != nil {
		e.Zone = r.cfg.Zone(camera)
	}
	// Events live for years and a hash is personal data that goes with its day: the list, the camera and
	// the time find the reading while there is one.
	context, err := json.Marshal(map[string]string{"list": list})
	if err != nil {
		panic(fmt.Sprintf("BUG: %v", err))
	}
	e.Context = context
	return e
}

// cleared ends the episode at once: a vehicle that passed is a moment, and raises no lasting alarm.
func cleared(e batch.Event) batch.Event {
	e.ID, e.State = e.ID+"c", "cleared"
	return e
}

// eventsABatch bounds what is published together.
const eventsABatch = 2048

func (r *run) publish(ctx context.Context, events []batch.Event) error {
	for len(events) > 0 {
		n, data, err := batch.Fit(events[:min(len(events), eventsABatch)], r.cfg.Log.MaxBatch(), batch.EncodeEvents)
		if err != nil {
			return err
		}
		if err := r.step("publish"); err != nil {
			return err
		}
		// The end of ctx stops the intake, not the work in hand.
		pctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() { time.AfterFunc(stopTimeout, cancel) })
		_, err = r.cfg.Log.Publish(pctx, batch.KindEvents, 0, Consumer+"-"+events[0].ID, data)
		stop()
		cancel()
		if err != nil {
			return fmt.Errorf("publish %d events: %w", n, err)
		}
		if err := r.step("published"); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

func (r *run) step(name string) error {
	if r.hook == nil {
		return nil
	}
	return r.hook(name)
}

// sample notes the end of the stream of events and forgets what is long past.
func (r *run) sample(ctx context.Context) error {
	last, err := r.cfg.Log.LastSeq(ctx, batch.KindEvents)
	if err != nil {
		return err
	}
	now := time.Now()
	r.marks = append(r.marks, mark{now, last})
	for len(r.marks) > 1 && now.Sub(r.marks[1].at) > remembered {
		r.marks = r.marks[1:]
	}
	for id, at := range r.have {
		if now.Sub(at) > 2*remembered {
			delete(r.have, id)
		}
	}
	return nil
}

func (r *run) keep(ctx context.Context) error {
	if r.seq == r.kept {
		return nil
	}
	if err := r.positions(ctx); err != nil {
		return err
	}
	r.kept = r.seq
	return nil
}

// positions are written in this order: a kill in between leaves more events to read than needed.
func (r *run) positions(ctx context.Context) error {
	if err := r.cfg.Log.SetPosition(ctx, Consumer, batch.KindDetections, streamlog.Position{Seq: r.seq}); err != nil {
		return err
	}
	return r.cfg.Log.SetPosition(ctx, Consumer, batch.KindEvents, streamlog.Position{Seq: r.marks[0].seq})
}
