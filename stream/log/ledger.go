package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"
)

// A Ledger is a stream from which nothing is ever removed: neither by age or size, nor by request.
// It is safe for concurrent use.
type Ledger struct {
	name   string
	js     jetstream.JetStream
	stream jetstream.Stream
}

func ledgerStream(name string) string  { return "PANORMUS_ledger_" + name }
func ledgerSubject(name string) string { return "panormus.ledger." + name }

// Ledger opens the ledger called name and makes it if it is missing.
func (l *Log) Ledger(ctx context.Context, name string) (*Ledger, error) {
	s, err := l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: ledgerStream(name), Subjects: []string{ledgerSubject(name)}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, MaxMsgs: -1, MaxBytes: -1, DenyDelete: true, DenyPurge: true, Replicas: l.cfg.Replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", name, err)
	}
	return &Ledger{name: name, js: l.js, stream: s}, nil
}

// OpenLedger opens a ledger in the folder of an embedded server that no process uses, and changes
// nothing else there. Call the function it returns when done.
func OpenLedger(ctx context.Context, dir, name string) (_ *Ledger, end func(), err error) {
	if _, err := os.Stat(filepath.Join(dir, "jetstream")); err != nil {
		return nil, nil, fmt.Errorf("open ledger %s: %w", name, err)
	}
	l, err := connectTo(Config{Dir: dir, MaxBytes: 1 << 45, MinFree: 1}) // whatever the bounds of what is there
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err != nil {
		return nil, nil, err
	}
	s, err := l.js.Stream(ctx, ledgerStream(name))
	if err != nil {
		return nil, nil, fmt.Errorf("open ledger %s: %w", name, err)
	}
	return &Ledger{name: name, js: l.js, stream: s}, func() { l.Close() }, nil
}

// Append adds an entry behind the one of sequence after; ErrChanged says that this is not the last one
// anymore. Any other error leaves open whether the entry was added.
func (g *Ledger) Append(ctx context.Context, after uint64, data []byte) error {
	_, err := g.js.Publish(ctx, ledgerSubject(g.name), data, jetstream.WithExpectLastSequence(after))
	if otherSequence(err) {
		return ErrChanged
	}
	if err != nil {
		return fmt.Errorf("append to ledger %s: %w", g.name, err)
	}
	return nil
}

// Last is the sequence of the newest entry, 0 where there is none. Entries count from 1.
func (g *Ledger) Last(ctx context.Context) (uint64, error) {
	info, err := g.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask ledger %s for its end: %w", g.name, err)
	}
	return info.State.LastSeq, nil
}

// Get returns the entry of a sequence, and false where there is none.
func (g *Ledger) Get(ctx context.Context, seq uint64) ([]byte, bool, error) {
	m, err := g.stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("get entry %d of ledger %s: %w", seq, g.name, err)
	}
	return m.Data, true, nil
}
