package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// A Mark is an entry as it was noted outside of the log.
type Mark struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
	Time string `json:"time"`
}

// An Anchor is a file with the Mark of the newest entry, apart from the log: it shows that the log's end was cut
// off, or that all of it was made anew, which the chain alone cannot. It never goes back: once the log is not what
// the anchor says, the anchor stays as it is, for whoever verifies. It belongs to one Journal.
type Anchor struct {
	file  string
	log   *slog.Logger
	last  Mark
	stuck bool // the log is not what last says
}

// OpenAnchor reads an anchor, which need not be there yet, and compares the log with it.
func OpenAnchor(ctx context.Context, file string, ledger Ledger, log *slog.Logger) (*Anchor, error) {
	a := &Anchor{file: file, log: log}
	var err error
	if a.last, err = ReadAnchor(file); err != nil {
		return nil, err
	}
	last, err := ledger.Last(ctx)
	if err != nil {
		return nil, err
	}
	switch b, ok, err := get(ctx, ledger, a.last.Seq, last); {
	case err != nil:
		return nil, err
	case a.last.Seq > 0 && (!ok || b != a.last.Hash):
		a.stop(last)
	}
	return a, nil
}

// get is the hash of an entry, not ok where there is none.
func get(ctx context.Context, ledger Ledger, seq, last uint64) (hash string, ok bool, err error) {
	if seq == 0 || seq > last {
		return "", false, nil
	}
	b, ok, err := ledger.Get(ctx, seq)
	var e Entry
	if err != nil || !ok || json.Unmarshal(b, &e) != nil {
		return "", false, err
	}
	return e.Hash, true, nil
}

// ReadAnchor reads the mark of a file; the zero one where there is none.
func ReadAnchor(file string) (Mark, error) {
	var m Mark
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("anchor of the audit log: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil || len(m.Hash) != len(start) || m.Seq == 0 {
		return m, fmt.Errorf("anchor of the audit log: %s holds no seq and hash; it was written as {\"seq\":…,\"hash\":…}", file)
	}
	return m, nil
}

func (a *Anchor) stop(seq uint64) {
	a.stuck = true
	a.log.Error("the audit log is not what its anchor says: entries were cut off or made anew; the anchor stays until it is removed",
		"anchor", a.file, "anchored", a.last.Seq, "entries", seq)
}

// note moves the anchor to an entry that was kept. That it cannot be written keeps nothing from being done.
func (a *Anchor) note(ctx context.Context, ledger Ledger, e *Entry) {
	if a.stuck {
		return
	}
	if e.Seq <= a.last.Seq {
		a.stop(e.Seq)
		return
	}
	if a.last.Seq > 0 && e.Prev != a.last.Hash { // others wrote between, or it is another log
		hash, _, err := get(ctx, ledger, a.last.Seq, e.Seq)
		if err != nil {
			a.log.Error("the anchor of the audit log stays behind", "error", err)
			return
		}
		if hash != a.last.Hash {
			a.stop(e.Seq)
			return
		}
	}
	m := Mark{Seq: e.Seq, Hash: e.Hash, Time: e.Time}
	if err := m.write(a.file); err != nil {
		a.log.Error("the anchor of the audit log cannot be written", "error", err)
		return
	}
	a.last = m
}

// write replaces the file whole.
func (m Mark) write(file string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".anchor-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
