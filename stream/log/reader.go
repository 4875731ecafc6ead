package log

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"panormus/stream/batch"
)

// A Message is one batch of the log.
type Message struct {
	Kind      batch.Kind
	Partition int
	Seq       uint64 // in the stream of its kind, all partitions together
	Stored    time.Time
	Data      []byte
	// Pending is how many more batches of what is read were on the log when this one was delivered.
	Pending uint64
}

// A Reader reads one kind in order of sequence. It belongs to one goroutine.
type Reader struct {
	kind    batch.Kind
	conn    *nats.Conn
	next    chan jetstream.Msg
	failed  chan error // the end of the reader
	done    chan struct{}
	consume jetstream.ConsumeContext
	pending uint64
}

// readAhead bounds what is on its way to a reader that did not ask for it yet.
const (
	readAheadBatches = 256
	readAheadBytes   = 16 << 20
)

// Read returns a reader of the batches of kind after sequence after, of the partitions named or of
// all. Batches that were purged are skipped. Call Close when done.
func (l *Log) Read(ctx context.Context, kind batch.Kind, after uint64, partitions ...int) (_ *Reader, err error) {
	spec := specOf(kind)
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1}
	for _, p := range partitions {
		cfg.FilterSubjects = append(cfg.FilterSubjects, spec.subject(p))
	}
	// A connection of its own, so that a reader that falls behind holds nobody else back.
	conn, err := l.connect("panormus " + string(kind) + " reader")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kind, err)
	}
	c, err := js.OrderedConsumer(ctx, "PANORMUS_"+string(kind), cfg)
	if err != nil {
		return nil, fmt.Errorf("read %s after %d: %w", kind, after, err)
	}
	r := &Reader{kind: kind, conn: conn, next: make(chan jetstream.Msg), failed: make(chan error, 1), done: make(chan struct{})}
	if info := c.CachedInfo(); info != nil {
		r.pending = info.NumPending
	}
	// Not Messages: its channel is as long as the read-ahead, and the server's notices, which come
	// beside the batches, overflow it. A callback that blocks holds back the next request instead.
	r.consume, err = c.Consume(r.deliver,
		jetstream.PullMaxMessagesWithBytesLimit(readAheadBatches, readAheadBytes), jetstream.ConsumeErrHandler(r.troubled))
	if err != nil {
		return nil, fmt.Errorf("read %s after %d: %w", kind, after, err)
	}
	return r, nil
}

func (r *Reader) deliver(m jetstream.Msg) {
	select {
	case r.next <- m:
	case <-r.done:
	}
}

// troubled hears of everything that goes wrong; the consumer mends all but the end of its
// connection by itself, going on after the last batch delivered.
func (r *Reader) troubled(_ jetstream.ConsumeContext, err error) {
	if errors.Is(err, jetstream.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionClosed) {
		select {
		case r.failed <- err:
		default:
		}
	}
}

// Pending is how many batches there were to read when the reader was made.
func (r *Reader) Pending() uint64 { return r.pending }

// Next blocks for the next batch or the end of ctx, whose error it then returns; the reader can
// go on after that. Any other error ends the reader: make a new one after the last batch handled.
func (r *Reader) Next(ctx context.Context) (Message, error) {
	var m jetstream.Msg
	select {
	case m = <-r.next:
	case <-ctx.Done():
		return Message{}, ctx.Err()
	case err := <-r.failed:
		return Message{}, fmt.Errorf("read %s: %w", r.kind, err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return Message{}, fmt.Errorf("read %s: %w", r.kind, err)
	}
	subject := m.Subject()
	partition, err := strconv.Atoi(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil {
		return Message{}, fmt.Errorf("read %s: subject %q, want a partition at its end", r.kind, subject)
	}
	return Message{Kind: r.kind, Partition: partition, Seq: meta.Sequence.Stream, Stored: meta.Timestamp, Data: m.Data(), Pending: meta.NumPending}, nil
}

// Close ends the reader.
func (r *Reader) Close() {
	close(r.done)
	r.consume.Stop()
	r.conn.Close()
}
