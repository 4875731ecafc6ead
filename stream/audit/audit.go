// Package audit keeps the audit log: who did what with people's data, and why. Entries are chained by
// SHA-256, each over the one before, and lie in a ledger that the log's server lets nobody shorten.
// Whoever gets at the files all the same breaks the chain where they change it; that somebody cut its
// end, or made all of it anew, shows in an Anchor, and in a head noted elsewhere. Entries hold ids and beginnings of
// hashes, nothing personal but the name of who acted.
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	streamlog "panormus/stream/log"
)

// An Entry is one act. Its JSON, in this order and without blanks, is what is hashed.
type Entry struct {
	Seq    uint64            `json:"seq" doc:"from 1, without gaps"`
	Time   string            `json:"time" doc:"RFC 3339, UTC, milliseconds"`
	Actor  string            `json:"actor" doc:"who: the name of a token, \"local\" where none is asked for, or \"panormus\" itself"`
	Action string            `json:"action" doc:"what, such as reveal.approved"`
	Object string            `json:"object" doc:"to what"`
	Reason string            `json:"reason,omitempty"`
	Case   string            `json:"case,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
	Prev   string            `json:"prev" doc:"hash of the entry before; 64 zeros before the first"`
	Hash   string            `json:"hash,omitempty" doc:"SHA-256 of the bytes of prev and the JSON of the other members"`
}

// start is the hash before the first entry.
var start = strings.Repeat("0", 2*sha256.Size)

// layout of Entry.Time.
const layout = "2006-01-02T15:04:05.000Z"

// maxText bounds each text of an entry, in bytes.
const maxText = 2048

// encode is the canonical form.
func (e *Entry) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode an audit entry: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// sum is the hash that e should have.
func (e *Entry) sum() (string, error) {
	prev, err := hex.DecodeString(e.Prev)
	if err != nil || len(prev) != sha256.Size {
		return "", fmt.Errorf("prev is no hash")
	}
	bare := *e
	bare.Hash = ""
	b, err := bare.encode()
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(append(prev, b...))
	return hex.EncodeToString(h[:]), nil
}

// A Ledger keeps entries for ever; *log.Ledger is one.
type Ledger interface {
	// Append adds data behind the entry of sequence after, or returns log.ErrChanged where it is not
	// the last one.
	Append(ctx context.Context, after uint64, data []byte) error
	Last(ctx context.Context) (uint64, error)
	Get(ctx context.Context, seq uint64) ([]byte, bool, error)
}

// A Journal writes and reads the audit log. It is safe for concurrent use, and several processes may
// write to one ledger.
type Journal struct {
	// Anchor notes each entry of this journal outside of the log; nil: none does.
	Anchor *Anchor

	ledger  Ledger
	writing sync.Mutex
	seq     uint64 // of the last entry, as far as is known
	head    string // its hash; empty: not known
}

// New makes a journal over a ledger.
func New(ledger Ledger) *Journal { return &Journal{ledger: ledger} }

// Append writes an act of now. When it returns nil the entry is kept; whoever acts does so only then.
// Seq, Time, Prev and Hash are set here.
func (j *Journal) Append(ctx context.Context, e Entry) error {
	e.Time = time.Now().UTC().Format(layout)
	for _, text := range []*string{&e.Actor, &e.Action, &e.Object, &e.Reason, &e.Case} {
		if *text = strings.ToValidUTF8(*text, "?"); len(*text) > maxText {
			return fmt.Errorf("audit %s: a text of %d bytes, want at most %d", e.Action, len(*text), maxText)
		}
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	for {
		if j.head == "" {
			if err := j.catchUp(ctx); err != nil {
				return err
			}
		}
		e.Seq, e.Prev, e.Hash = j.seq+1, j.head, ""
		hash, err := e.sum()
		if err != nil {
			return err
		}
		e.Hash = hash
		b, err := e.encode()
		if err != nil {
			return err
		}
		err = j.ledger.Append(ctx, j.seq, b)
		if err == nil {
			j.seq, j.head = e.Seq, e.Hash
			if j.Anchor != nil {
				j.Anchor.note(ctx, j.ledger, &e)
			}
			return nil
		}
		j.head = ""
		if !errors.Is(err, streamlog.ErrChanged) {
			return fmt.Errorf("audit %s: %w", e.Action, err)
		}
	}
}

// catchUp reads the last entry.
func (j *Journal) catchUp(ctx context.Context) error {
	last, err := j.ledger.Last(ctx)
	if err != nil {
		return err
	}
	if last == 0 {
		j.seq, j.head = 0, start
		return nil
	}
	b, ok, err := j.ledger.Get(ctx, last)
	if err != nil {
		return err
	}
	var e Entry
	if !ok || json.Unmarshal(b, &e) != nil || len(e.Hash) != len(start) {
		// The chain goes on over what is broken; verify tells of it.
		h := sha256.Sum256(b)
		e.Hash = hex.EncodeToString(h[:])
	}
	j.seq, j.head = last, e.Hash
	return nil
}

// Head is the sequence and the hash of the last entry; 0 and zeros where there is none.
func (j *Journal) Head(ctx context.Context) (uint64, string, error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.catchUp(ctx); err != nil {
		return 0, "", err
	}
	return j.seq, j.head, nil
}

// Read returns up to limit entries from sequence from on, and the sequence to go on at, 0 at the end.
// What is there and cannot be read comes as an entry with nothing but its sequence; what is missing
// does not come. Both break the chain for whoever verifies it.
func (j *Journal) Read(ctx context.Context, from uint64, limit int) (entries []Entry, next uint64, err error) {
	last, err := j.ledger.Last(ctx)
	if err != nil {
		return nil, 0, err
	}
	for seq := max(from, 1); seq <= last; seq++ {
		if len(entries) == limit {
			return entries, seq, nil
		}
		b, ok, err := j.ledger.Get(ctx, seq)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			continue
		}
		var e Entry
		if json.Unmarshal(b, &e) != nil {
			e = Entry{Seq: seq}
		}
		entries = append(entries, e)
	}
	return entries, 0, nil
}

// Since finds the sequence of the first entry at or after a time; it is one past the last where all
// are older.
func (j *Journal) Since(ctx context.Context, at time.Time) (uint64, error) {
	last, err := j.ledger.Last(ctx)
	if err != nil {
		return 0, err
	}
	from := at.UTC().Format(layout)
	i := sort.Search(int(last), func(i int) bool {
		b, ok, e := j.ledger.Get(ctx, uint64(i)+1)
		if e != nil {
			err = e
		}
		var entry Entry
		return ok && json.Unmarshal(b, &entry) == nil && entry.Time >= from
	})
	return uint64(i) + 1, err
}
