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
}

// A Reader reads one kind in order of sequence. It belongs to one goroutine.
type Reader struct {
	kind batch.Kind
	conn *nats.Conn
	msgs jetstream.MessagesContext
}

// readAhead bounds what a reader holds that was not asked for yet.
const (
	readAheadBatches = 256
	readAheadBytes   = 16 << 20
)

// Read returns a reader of the batches of kind after sequence after, of the partitions named or of
// all. Batches that were purged are skipped. Call Close when done.
func (l *Log) Read(ctx context.Context, kind batch.Kind, after uint64, partitions ...int) (*Reader, error) {
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
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("read %s: %w", kind, err)
	}
	c, err := js.OrderedConsumer(ctx, "PANORMUS_"+string(kind), cfg)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("read %s after %d: %w", kind, after, err)
	}
	msgs, err := c.Messages(jetstream.PullMaxMessagesWithBytesLimit(readAheadBatches, readAheadBytes))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("read %s after %d: %w", kind, after, err)
	}
	return &Reader{kind: kind, conn: conn, msgs: msgs}, nil
}

// Next blocks for the next batch or the end of ctx, whose error it then returns; the reader can
// go on after that. Any other error ends the reader: make a new one after the last batch handled.
func (r *Reader) Next(ctx context.Context) (Message, error) {
	m, err := r.msgs.Next(jetstream.NextContext(ctx))
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return Message{}, errors.Join(ctx.Err(), context.Cause(ctx))
		}
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
	return Message{Kind: r.kind, Partition: partition, Seq: meta.Sequence.Stream, Stored: meta.Timestamp, Data: m.Data()}, nil
}

// Close ends the reader.
func (r *Reader) Close() {
	r.msgs.Stop()
	r.conn.Close()
}
