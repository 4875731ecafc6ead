package ingest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"panormus/stream/batch"
)

// hand is one batch being filled or published, with what is owed for it.
type hand struct {
	obs      batch.Observations
	det      batch.Detections
	uplinks  batch.Uplinks
	rejected []batch.Rejected

	domains, metrics, texts codes // of obs

	ackers []Acker
	tokens []uint64 // beside ackers

	decoded int // messages whose rows are here
	dups    int // messages that were here or in a batch before
	bytes   int // of text and payloads
	size    int // of the batch on the log at most, where Pump.most bounds it
}

func (h *hand) messages() int { return h.decoded + h.dups + len(h.rejected) }

func (h *hand) reset() {
	h.obs.Reset()
	h.det.Reset()
	h.domains, h.metrics, h.texts = codes{}, codes{}, codes{}
	h.uplinks.Reset()
	clear(h.rejected)
	clear(h.ackers)
	h.rejected, h.ackers, h.tokens = h.rejected[:0], h.ackers[:0], h.tokens[:0]
	h.decoded, h.dups, h.bytes, h.size = 0, 0, 0, 0
}

// owe notes that e's sender is to be told when the batch is on the log.
func (h *hand) owe(a Acker, token uint64) {
	if token != 0 && a != nil {
		h.ackers = append(h.ackers, a)
		h.tokens = append(h.tokens, token)
	}
}

// ack tells the senders, those of neighbours at once.
func (h *hand) ack() {
	for i := 0; i < len(h.ackers); {
		j := i + 1
		for j < len(h.ackers) && h.ackers[j] == h.ackers[i] {
			j++
		}
		h.ackers[i].Ack(h.tokens[i:j])
		i = j
	}
}

// A lane fills one batch while it publishes the one before. Its batches go to the log one after
// the other, so that what is acknowledged is acknowledged in order, and a repetition's
// acknowledgement never overtakes the original's arrival on the log.
type lane struct {
	pump      *Pump
	partition int

	mu     sync.Mutex
	open   *hand
	spare  *hand // nil while it is being published
	out    int   // messages being published
	closed bool  // nothing is taken in any more
	room   chan struct{}
	idle   chan struct{} // closed when a batch is done, then replaced
	prints *printTable   // nil in the dead letter
	count  laneCounters

	work chan struct{} // the open batch has its first message
	full chan struct{} // the open batch is to go now
}

// laneCounters count what the lane has finished; received also what it holds.
type laneCounters struct {
	received, decoded, duplicates, observations, detections, uplinks, batches uint64
	rejected                                                                  map[Reason]uint64
}

func newLane(p *Pump, partition int) *lane {
	return &lane{
		pump: p, partition: partition, open: &hand{}, spare: &hand{},
		room: make(chan struct{}), idle: make(chan struct{}),
		work: make(chan struct{}, 1), full: make(chan struct{}, 1),
		count: laneCounters{rejected: map[Reason]uint64{}},
	}
}

// enter locks the lane with room in its open batch for size bytes, waiting for it if need be. It fails
// with ErrClosed, unlocked, when the session or the pump ends first.
func (l *lane) enter(s *Session, size int) error {
	l.mu.Lock()
	if l.hasRoom(size) && !l.closed {
		return nil
	}
	l.pump.blocked.Add(1)
	defer l.pump.blocked.Add(^uint64(0))
	for !l.hasRoom(size) && !l.closed {
		room := l.room
		l.mu.Unlock()
		signal(l.full)
		select {
		case <-room:
		case <-s.done:
			return ErrClosed
		case <-l.pump.stop:
			return ErrClosed
		}
		l.mu.Lock()
	}
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	return nil
}

func (l *lane) hasRoom(size int) bool {
	return !l.isFull() && (size == 0 || l.open.size+size <= int(l.pump.most.Load()) || l.open.messages() == 0)
}

func (l *lane) isFull() bool {
	h := l.open
	return h.obs.Len() >= l.pump.cfg.BatchRows || h.det.Len() >= l.pump.cfg.BatchRows || h.bytes >= l.pump.cfg.BatchBytes ||
		h.uplinks.Len() > batch.MaxRows-maxUplinks || len(h.rejected) >= batch.MaxRows || h.decoded >= batch.MaxRows || h.dups >= batch.MaxRows
}

// leave unlocks the lane after a message was added to its open batch.
func (l *lane) leave() {
	l.count.received++
	first, full := l.open.messages() == 1, l.isFull()
	l.mu.Unlock()
	if first {
		signal(l.work)
	}
	if full {
		signal(l.full)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run publishes batch after batch until the pump stops and nothing is left, or ctx ends.
func (l *lane) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for n := 0; ; n++ {
		stopped := false
		select {
		case <-l.work:
			// All lanes close at the same instants, so that the acknowledgements of a session
			// whose devices are in several lanes go out together.
			linger := l.pump.cfg.Linger
			timer.Reset(linger - time.Since(l.pump.started)%linger)
			select {
			case <-timer.C:
			case <-l.full:
			case <-l.pump.stop:
			case <-ctx.Done():
			}
		case <-l.full:
		case <-l.pump.stop:
			stopped = true
		}
		h := l.take(stopped)
		if h == nil && stopped {
			return nil
		}
		if h == nil {
			continue
		}
		if err := l.publish(ctx, h, n); err != nil {
			l.close()
			return err
		}
	}
}

// take exchanges the open batch for an empty one, or returns nil when there is nothing in it: the
// lane is then closed if it is the last time.
func (l *lane) take(last bool) *hand {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.open
	if h.messages() == 0 {
		l.closed = last
		return nil
	}
	l.open, l.spare, l.out = l.spare, nil, h.messages()
	close(l.room)
	l.room = make(chan struct{})
	return h
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// publish puts h on the log, gives its acknowledgements and makes it the spare.
func (l *lane) publish(ctx context.Context, h *hand, n int) error {
	id := l.pump.id + "-" + strconv.Itoa(l.partition) + "-" + strconv.Itoa(n)
	put := func(kind batch.Kind, data []byte, err error) error {
		if err != nil {
			panic(fmt.Sprintf("BUG: %v", err)) // the bounds of a batch are ours
		}
		if _, err := l.pump.cfg.Log.Publish(ctx, kind, l.partition, id, data); err != nil {
			return fmt.Errorf("publish a batch of %d messages: %w", h.messages(), err)
		}
		return nil
	}
	// The uplinks go first: ending between the two repeats them, the other way round would lose them.
	if h.uplinks.Len() > 0 {
		data, err := h.uplinks.Encode()
		if err := put(batch.KindUplinks, data, err); err != nil {
			return err
		}
	}
	if h.det.Len() > 0 {
		data, err := h.det.Encode()
		if err := put(batch.KindDetections, data, err); err != nil {
			return err
		}
	}
	if h.obs.Len() > 0 {
		data, err := h.obs.Encode()
		if err := put(batch.KindObservations, data, err); err != nil {
			return err
		}
	}
	if len(h.rejected) > 0 {
		data, err := batch.EncodeRejected(h.rejected)
		if err := put(batch.KindRejected, data, err); err != nil {
			return err
		}
	}
	l.pump.measure() // the server that is there now may not be the one that was
	l.mu.Lock()
	l.count.batches++
	l.count.decoded += uint64(h.decoded)
	l.count.duplicates += uint64(h.dups)
	l.count.observations += uint64(h.obs.Len())
	l.count.detections += uint64(h.det.Len())
	l.count.uplinks += uint64(h.uplinks.Len())
	for i := range h.rejected {
		l.count.rejected[Reason(h.rejected[i].Reason)]++
	}
	l.out = 0
	l.mu.Unlock()
	h.ack()
	h.reset()
	l.mu.Lock()
	l.spare = h
	close(l.idle)
	l.idle = make(chan struct{})
	l.mu.Unlock()
	return nil
}

// flush waits until all that was handed to the lane before is on the log and acknowledged.
func (l *lane) flush(ctx context.Context) error {
	for {
		l.mu.Lock()
		rest := l.open.messages() > 0 || l.spare == nil
		idle := l.idle
		l.mu.Unlock()
		if !rest {
			return nil
		}
		signal(l.full)
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
