package log

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// Objects is a bucket for larger durable values, checkpoints say. Each is written in pieces under a generation of
// its own, and what it is made of, its manifest, last: so a write that is cut off anywhere changes nothing. A
// manifest names the generation before, too, whose pieces are removed only once one more has been written.
//
// Two writers of one object do each other no harm: of those that write at once one gets ErrChanged.
type Objects struct {
	log    *Log
	name   string
	stream jetstream.Stream
	older  jetstream.ObjectStore // of versions before generations; nil where there is none

	// Before, where set, is told of every message of a write before it is sent; its error ends the write there, as
	// the end of the process would.
	Before func(step string) error
}

// A Generation is one state of an object, written whole.
type Generation struct {
	Number  uint64    `json:"generation"` // from 1
	Written time.Time `json:"written"`
	// At is where in the log it was taken, by the words of who wrote it.
	At         map[string]uint64 `json:"at,omitempty"`
	Parts      []Part            `json:"parts"`
	ID         string            `json:"id"`          // of its pieces
	PieceBytes int               `json:"piece_bytes"` // of all but the last of a part
}

// A Part is one of the values that an object is made of.
type Part struct {
	Bytes int    `json:"bytes"`
	CRC   uint32 `json:"crc32c"`
}

// manifest is what lies under an object's name: its generations, the newest first.
type manifest struct {
	Generations []Generation `json:"generations"`
}

// ErrTorn says that a piece of a generation is missing, or is not what was written.
var ErrTorn = errors.New("is not whole")

const (
	keptGenerations  = 2
	mostPiece        = 512 << 10
	payloadRoom      = 4 << 10 // of a message, for its headers
	piecesInFlight   = 16
	pieceTime        = 30 * time.Second // for the server to take one
	missingPieceTry  = 5                // a replica may be behind
	missingPieceWait = 50 * time.Millisecond
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Objects opens the bucket of objects called name and makes it if it is missing.
func (l *Log) Objects(ctx context.Context, name string) (*Objects, error) {
	o := &Objects{log: l, name: name}
	var err error
	o.stream, err = l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "PANORMUS_objects_" + name, Subjects: []string{o.base() + ">"}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1, Replicas: l.cfg.Replicas, AllowDirect: true, Compression: jetstream.S2Compression,
	})
	if err == nil {
		o.older, err = l.js.ObjectStore(ctx, "panormus_"+name)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			o.older, err = nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open objects %s: %w", name, err)
	}
	return o, nil
}

func (o *Objects) base() string                  { return "panormus.objects." + o.name + "." }
func (o *Objects) manifestOf(name string) string { return o.base() + "manifest." + escape(name) }
func (o *Objects) piecesOf(name string) string   { return o.base() + "piece." + escape(name) + "." }
func (o *Objects) piece(name, id string, part, n int) string {
	return o.piecesOf(name) + id + "." + strconv.Itoa(part) + "." + strconv.Itoa(n)
}

func (o *Objects) step(name string) error {
	if o.Before == nil {
		return nil
	}
	return o.Before(name)
}

// read returns an object's manifest and its revision; 0 where there is none.
func (o *Objects) read(ctx context.Context, name string) (m manifest, revision uint64, err error) {
	msg, err := o.stream.GetLastMsgForSubject(ctx, o.manifestOf(name))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(msg.Data, &m)
	}
	if err != nil {
		return m, 0, fmt.Errorf("read what object %s of %s is made of: %w", name, o.name, err)
	}
	return m, msg.Sequence, nil
}

// Generations are the states that there are of an object, the newest first: two at most. Pieces of one whose writing
// was cut off are told of.
func (o *Objects) Generations(ctx context.Context, name string) ([]Generation, error) {
	m, _, err := o.read(ctx, name)
	if err != nil {
		return nil, err
	}
	loose, err := o.loose(ctx, name, m)
	if err != nil {
		return nil, err
	}
	if len(loose) > 0 {
		newest := uint64(0)
		if len(m.Generations) > 0 {
			newest = m.Generations[0].Number
		}
		o.log.cfg.Log.Warn("the writing of an object was cut off; the last that was written whole counts", "name", name, "objects", o.name, "generation", newest)
	}
	return m.Generations, nil
}

// loose are the ids of pieces that no generation has.
func (o *Objects) loose(ctx context.Context, name string, m manifest) ([]string, error) {
	info, err := o.stream.Info(ctx, jetstream.WithSubjectFilter(o.piecesOf(name)+">"))
	if err != nil {
		return nil, fmt.Errorf("ask for the pieces of object %s of %s: %w", name, o.name, err)
	}
	known := map[string]bool{}
	for _, g := range m.Generations {
		known[g.ID] = true
	}
	var out []string
	for subject := range info.State.Subjects {
		id, _, _ := strings.Cut(strings.TrimPrefix(subject, o.piecesOf(name)), ".")
		if !known[id] {
			known[id] = true
			out = append(out, id)
		}
	}
	return out, nil
}

// Read returns a part of a generation; ErrTorn where it is not what was written.
func (o *Objects) Read(ctx context.Context, name string, g Generation, part int) ([]byte, error) {
	if part >= len(g.Parts) || g.PieceBytes <= 0 || g.Parts[part].Bytes < 0 {
		return nil, fmt.Errorf("read object %s of %s: generation %d has %d parts, want one more than %d: %w", name, o.name, g.Number, len(g.Parts), part, ErrTorn)
	}
	p := g.Parts[part]
	out := make([]byte, p.Bytes)
	var all errgroup.Group
	all.SetLimit(piecesInFlight)
	for n := 0; n*g.PieceBytes < p.Bytes; n++ {
		all.Go(func() error {
			into := out[n*g.PieceBytes : min((n+1)*g.PieceBytes, p.Bytes)]
			b, err := o.getPiece(ctx, o.piece(name, g.ID, part, n))
			if err == nil && len(b) != len(into) {
				err = fmt.Errorf("%d bytes, want %d: %w", len(b), len(into), ErrTorn)
			}
			if err != nil {
				return fmt.Errorf("read piece %d of part %d of object %s of %s, generation %d: %w", n, part, name, o.name, g.Number, err)
			}
			copy(into, b)
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	if got := crc32.Checksum(out, castagnoli); got != p.CRC {
		return nil, fmt.Errorf("read part %d of object %s of %s, generation %d: checksum %08x, want %08x: %w", part, name, o.name, g.Number, got, p.CRC, ErrTorn)
	}
	return out, nil
}

func (o *Objects) getPiece(ctx context.Context, subject string) ([]byte, error) {
	for try := 1; ; try++ {
		msg, err := o.stream.GetLastMsgForSubject(ctx, subject)
		switch {
		case err == nil:
			return msg.Data, nil
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			return nil, err
		case try == missingPieceTry:
			return nil, fmt.Errorf("it is not there: %w", ErrTorn)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(missingPieceWait):
		}
	}
}

// Write makes parts the newest generation of the object called name, whole or not at all, and returns those that it
// has then, this one first.
func (o *Objects) Write(ctx context.Context, name string, at map[string]uint64, parts ...[]byte) ([]Generation, error) {
	m, revision, err := o.read(ctx, name)
	if err != nil {
		return nil, err
	}
	g := Generation{Number: 1, Written: time.Now().UTC(), At: at, ID: rand.Text(), PieceBytes: o.pieceBytes()}
	if len(m.Generations) > 0 {
		g.Number = m.Generations[0].Number + 1
	}
	for _, data := range parts {
		g.Parts = append(g.Parts, Part{Bytes: len(data), CRC: crc32.Checksum(data, castagnoli)})
	}
	m.Generations = append([]Generation{g}, m.Generations[:min(len(m.Generations), keptGenerations-1)]...)
	err = o.put(ctx, name, g, parts)
	if err == nil {
		err = o.putManifest(ctx, name, m, revision)
	}
	if err != nil {
		return nil, fmt.Errorf("write object %s of %s, generation %d: %w", name, o.name, g.Number, err)
	}
	if err := o.clean(ctx, name, m); err != nil {
		return nil, err
	}
	return m.Generations, nil
}

// DropAfter takes from an object the generations above a number, that its reader could make nothing of: else the next
// Write would keep one of them and not what was read.
func (o *Objects) DropAfter(ctx context.Context, name string, number uint64) error {
	m, revision, err := o.read(ctx, name)
	if err != nil {
		return err
	}
	n := 0
	for n < len(m.Generations) && m.Generations[n].Number > number {
		n++
	}
	if n == 0 {
		return nil // another has
	}
	dropped := m.Generations[:n]
	m.Generations = m.Generations[n:]
	if err := o.putManifest(ctx, name, m, revision); err != nil {
		return fmt.Errorf("drop the generations after %d of object %s of %s: %w", number, name, o.name, err)
	}
	for _, g := range dropped {
		if err := o.remove(ctx, name, g.ID); err != nil {
			return err
		}
	}
	return nil
}

// pieceBytes is how large a piece may be for the server to take it.
func (o *Objects) pieceBytes() int {
	return max(1, min(mostPiece, int(o.log.conn.MaxPayload())-payloadRoom))
}

// put sends the pieces of a generation and waits until the server has them all.
func (o *Objects) put(ctx context.Context, name string, g Generation, parts [][]byte) error {
	var flying []jetstream.PubAckFuture
	land := func(leave int) error {
		for len(flying) > leave {
			select {
			case <-flying[0].Ok():
			case err := <-flying[0].Err():
				return err
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pieceTime):
				return fmt.Errorf("no answer from the log in %v", pieceTime)
			}
			flying = flying[1:]
		}
		return nil
	}
	for i, data := range parts {
		for n := 0; n*g.PieceBytes < len(data); n++ {
			if err := o.step("piece"); err != nil {
				return err
			}
			b := data[n*g.PieceBytes : min((n+1)*g.PieceBytes, len(data))]
			f, err := o.log.js.PublishMsgAsync(&nats.Msg{Subject: o.piece(name, g.ID, i, n), Data: b})
			if err != nil {
				return fmt.Errorf("piece %d of part %d: %w", n, i, err)
			}
			flying = append(flying, f)
			if err := land(piecesInFlight - 1); err != nil {
				return err
			}
		}
	}
	return land(0)
}

func (o *Objects) putManifest(ctx context.Context, name string, m manifest, after uint64) error {
	if err := o.step("manifest"); err != nil {
		return err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pieceTime)
	defer cancel()
	_, err = o.log.js.PublishMsg(ctx, &nats.Msg{Subject: o.manifestOf(name), Data: b}, jetstream.WithExpectLastSequencePerSubject(after))
	if otherSequence(err) {
		return ErrChanged
	}
	return err
}

// clean removes what no generation has: pieces of those that are too old, of writes that were cut off, and what a
// version before generations wrote.
func (o *Objects) clean(ctx context.Context, name string, m manifest) error {
	if err := o.step("clean"); err != nil {
		return err
	}
	loose, err := o.loose(ctx, name, m)
	if err != nil {
		return err
	}
	for _, id := range loose {
		if err := o.remove(ctx, name, id); err != nil {
			return err
		}
	}
	if m.Generations[0].Number == 1 {
		return o.Forget(ctx, name)
	}
	return nil
}

// remove removes the pieces of a generation.
func (o *Objects) remove(ctx context.Context, name, id string) error {
	if err := o.stream.Purge(ctx, jetstream.WithPurgeSubject(o.piecesOf(name)+id+".>")); err != nil {
		return fmt.Errorf("remove old pieces of object %s of %s: %w", name, o.name, err)
	}
	return nil
}

// Get returns the object called name, and false if there is none, or none that is whole. A newest generation that is
// not is told of, and the one before it returned.
func (o *Objects) Get(ctx context.Context, name string) ([]byte, bool, error) {
	all, err := o.Generations(ctx, name)
	if err != nil {
		return nil, false, err
	}
	for _, g := range all {
		b, err := o.Read(ctx, name, g, 0)
		if err == nil {
			return b, true, nil
		}
		if !errors.Is(err, ErrTorn) {
			return nil, false, err
		}
		o.log.cfg.Log.Error("an object is not whole; the one before it is taken, if there is one", "name", name, "objects", o.name, "generation", g.Number, "written", g.Written, "error", err)
	}
	if len(all) > 0 {
		return nil, false, nil
	}
	return o.before(ctx, name)
}

// Put replaces the object called name, whole or not at all.
func (o *Objects) Put(ctx context.Context, name string, value []byte) error {
	_, err := o.Write(ctx, name, nil, value)
	return err
}
