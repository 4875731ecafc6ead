package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// A Broken is where the chain of entries is not whole.
type Broken struct {
	Seq  uint64 // the first entry at fault
	What string
}

func (b *Broken) Error() string { return fmt.Sprintf("entry %d %s", b.Seq, b.What) }

// A Verifier checks a chain entry by entry.
type Verifier struct {
	// Noted is a head that was noted once and must be in the chain; may be empty.
	Noted string
	// Anchor is an entry that was noted outside of the log and must be in the chain as it was; the zero one is
	// none.
	Anchor Mark

	count uint64
	head  string
	found bool
}

// Count is how many entries are whole, Head the hash of the last of them.
func (v *Verifier) Count() uint64 { return v.count }

// Head is the hash of the last whole entry, zeros before the first.
func (v *Verifier) Head() string {
	if v.count == 0 {
		return start
	}
	return v.head
}

// Add checks the next entry. After a *Broken nothing can be said of those behind it.
func (v *Verifier) Add(e Entry) error {
	want := v.count + 1
	if e.Seq != want {
		if e.Seq > want {
			return &Broken{want, fmt.Sprintf("is missing: the next one is %d", e.Seq)}
		}
		return &Broken{want, fmt.Sprintf("says that it is number %d", e.Seq)}
	}
	if e.Prev != v.Head() {
		return &Broken{want, fmt.Sprintf("follows %.12s…, but the one before is %.12s…: one of them is not as it was", e.Prev, v.Head())}
	}
	sum, err := e.sum()
	if err != nil {
		return &Broken{want, "cannot be hashed: " + err.Error()}
	}
	if sum != e.Hash {
		return &Broken{want, fmt.Sprintf("was changed: its hash is %.12s…, and it says %.12s…", sum, e.Hash)}
	}
	if e.Seq == v.Anchor.Seq && e.Hash != v.Anchor.Hash {
		return &Broken{want, fmt.Sprintf("is another than the one that was anchored at %s: the log was made anew up to there", v.Anchor.Time)}
	}
	v.count, v.head = want, e.Hash
	v.found = v.found || e.Hash == v.Noted
	return nil
}

// End checks what can only be told at the end: that all entries were seen, and the noted head.
func (v *Verifier) End(last uint64) error {
	if v.count < last {
		return &Broken{v.count + 1, fmt.Sprintf("is missing, and all up to %d", last)}
	}
	if v.count < v.Anchor.Seq {
		return &Broken{v.count + 1, fmt.Sprintf("is missing, and all up to %d, which was anchored at %s: the end of the log was cut off", v.Anchor.Seq, v.Anchor.Time)}
	}
	if v.Noted != "" && v.Noted != start && !v.found {
		return &Broken{v.count + 1, fmt.Sprintf("and others may be missing: no entry has the noted head %.12s…", v.Noted)}
	}
	return nil
}

// Verify walks a ledger from its first entry to its last. It returns a *Broken where the chain is not
// whole, and what is whole in v.
func Verify(ctx context.Context, ledger Ledger, v *Verifier) error {
	last, err := ledger.Last(ctx)
	if err != nil {
		return err
	}
	for seq := uint64(1); seq <= last; seq++ {
		b, ok, err := ledger.Get(ctx, seq)
		if err != nil {
			return err
		}
		if !ok {
			return &Broken{seq, "is missing"}
		}
		var e Entry
		if json.Unmarshal(b, &e) != nil {
			return &Broken{seq, "cannot be read"}
		}
		// What does not come out as it went in holds something that is not hashed.
		if again, err := e.encode(); err != nil || !bytes.Equal(again, b) {
			return &Broken{seq, "is not in the form that entries are written in"}
		}
		if err := v.Add(e); err != nil {
			return err
		}
	}
	return v.End(last)
}
