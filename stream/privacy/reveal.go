package privacy

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"panormus/stream/audit"
	streamlog "panormus/stream/log"
)

// Answers of Reveals beside ErrNotFound. Their texts are for whoever asked.
var (
	ErrForbidden = errors.New("not allowed")
	ErrConflict  = errors.New("not possible now")
)

// States of a reveal.
const (
	RevealPending  = "pending"
	RevealApproved = "approved"
	RevealRefused  = "refused"
	RevealExpired  = "expired" // nobody decided in time, or the time to look is over
)

// A Reveal is somebody's wish to see a plate in clear. It never holds the plate.
type Reveal struct {
	ID        string     `json:"id"`
	State     string     `json:"state" enum:"pending,approved,refused,expired"`
	Requester string     `json:"requester"`
	Reason    string     `json:"reason"`
	Case      string     `json:"case"`
	PlateHash string     `json:"plate_hash"`
	Camera    string     `json:"camera"`
	Time      time.Time  `json:"time" doc:"when the camera read it"`
	Purpose   string     `json:"purpose"`
	Requested time.Time  `json:"requested"`
	Decider   string     `json:"decider,omitempty" doc:"who approved or refused"`
	Decided   *time.Time `json:"decided,omitempty"`
	Expires   time.Time  `json:"expires" doc:"until when it can be decided, or once approved, looked at"`
}

// A SealedPlate is a row of the table of sealed plates.
type SealedPlate struct {
	Time                  time.Time
	Camera, Purpose, Hash string
	Sealed                []byte
}

// A PlateQuery names a sealed plate: by its hash, or by the camera and the millisecond.
type PlateQuery struct {
	Hash   string
	Camera string
	Time   time.Time
}

// Plates finds sealed plates; one of many that fit, and false where there is none.
type Plates interface {
	SealedPlate(ctx context.Context, q PlateQuery) (SealedPlate, bool, error)
}

// Journal is where acts are written before they take effect; *audit.Journal is one.
type Journal interface {
	Append(ctx context.Context, e audit.Entry) error
}

// Times of reveals.
const (
	DefaultRevealFor = 15 * time.Minute
	MaxRevealFor     = 24 * time.Hour
	revealDecide     = 24 * time.Hour      // a request that nobody decided is over
	revealKeep       = 30 * 24 * time.Hour // then its entry is erased; the audit log has what happened
	maxPending       = 20                  // of one requester
)

// Bounds of texts of a request, in bytes.
const (
	MinReason = 10
	MaxReason = 1000
	MaxCase   = 100
)

// Reveals let a plate be seen when a second person agrees, by the one who asked, for a limited time.
// Each step, and each look, is in the audit log before it takes effect. Methods may be called from any
// goroutine; Run must run.
type Reveals struct {
	Safe    Safe
	Plates  Plates
	Keys    *Keyring
	Journal Journal
	For     time.Duration // 0 for DefaultRevealFor
	Log     *slog.Logger

	mu  sync.Mutex
	all map[string]Reveal
}

// Run follows the bucket until ctx ends and erases what is long over.
func (r *Reveals) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.Safe.Watch(ctx, r.learn, ready) }()
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			r.sweep(ctx)
		}
	}
}

func (r *Reveals) learn(id string, value []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string]Reveal{}
	}
	var v Reveal
	if len(value) == 0 {
		delete(r.all, id)
	} else if err := json.Unmarshal(value, &v); err != nil {
		r.Log.Error("a reveal cannot be read", "id", id, "error", err)
	} else {
		r.all[id] = v
	}
}

func (r *Reveals) sweep(ctx context.Context) {
	r.mu.Lock()
	var over []string
	for id, v := range r.all {
		if time.Since(v.Expires) > revealKeep {
			over = append(over, id)
		}
	}
	r.mu.Unlock()
	for _, id := range over {
		_, revision, err := r.Safe.Entry(ctx, id)
		if err == nil {
			err = r.Safe.Swap(ctx, id, nil, revision)
		}
		if err == nil {
			err = r.Safe.Erase(ctx, id)
		}
		if err != nil && !errors.Is(err, streamlog.ErrChanged) && ctx.Err() == nil {
			r.Log.Warn("erasing an old reveal; it is tried again", "id", id, "error", err)
		}
	}
}

// All returns the reveals, newest first.
func (r *Reveals) All() []Reveal {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Reveal, 0, len(r.all))
	for _, v := range r.all {
		out = append(out, v.at(time.Now()))
	}
	slices.SortFunc(out, func(a, b Reveal) int {
		return cmp.Or(b.Requested.Compare(a.Requested), strings.Compare(a.ID, b.ID))
	})
	return out
}

// at is the reveal as it stands at a time.
func (v Reveal) at(now time.Time) Reveal {
	if !now.Before(v.Expires) && (v.State == RevealPending || v.State == RevealApproved) {
		v.State = RevealExpired
	}
	return v
}

// Request asks to see a plate.
func (r *Reveals) Request(ctx context.Context, by, reason, caseNumber string, q PlateQuery) (Reveal, error) {
	pending := 0
	for _, v := range r.All() {
		if v.State == RevealPending && v.Requester == by {
			pending++
		}
	}
	if pending >= maxPending {
		return Reveal{}, fmt.Errorf("%w: %d requests of %s wait for a decision, want at most %d", ErrConflict, pending, by, maxPending)
	}
	plate, ok, err := r.Plates.SealedPlate(ctx, q)
	if err != nil {
		return Reveal{}, err
	}
	if !ok {
		return Reveal{}, fmt.Errorf("no sealed plate of that hash, or camera and time: %w", ErrNotFound)
	}
	if _, err := r.Keys.Open(plate.Purpose, plate.Time, plate.Sealed); err != nil {
		return Reveal{}, fmt.Errorf("%w: %w", ErrConflict, err)
	}
	var id [10]byte
	rand.Read(id[:])
	now := time.Now().UTC().Truncate(time.Millisecond)
	v := Reveal{
		ID: hex.EncodeToString(id[:]), State: RevealPending, Requester: by, Reason: reason, Case: caseNumber, PlateHash: plate.Hash, Camera: plate.Camera,
		Time: plate.Time, Purpose: plate.Purpose, Requested: now, Expires: now.Add(revealDecide),
	}
	return v, r.write(ctx, v, 0, by, "reveal.requested")
}

// Approve lets the requester look, for a limited time; Refuse does not. Only somebody else than the
// requester may decide.
func (r *Reveals) Approve(ctx context.Context, id, by string) (Reveal, error) {
	return r.decide(ctx, id, by, RevealApproved)
}

// Refuse is Approve's contrary.
func (r *Reveals) Refuse(ctx context.Context, id, by string) (Reveal, error) {
	return r.decide(ctx, id, by, RevealRefused)
}

func (r *Reveals) decide(ctx context.Context, id, by, state string) (Reveal, error) {
	v, revision, err := r.read(ctx, id)
	if err != nil {
		return v, err
	}
	if v.Requester == by {
		if err := r.note(ctx, v, by, "reveal.denied"); err != nil {
			return v, err
		}
		return v, fmt.Errorf("%w: %s asked for it, and another person must decide", ErrForbidden, by)
	}
	if v.State != RevealPending {
		return v, fmt.Errorf("%w: the reveal is %s, want one that is pending", ErrConflict, v.State)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	v.State, v.Decider, v.Decided = state, by, &now
	if state == RevealApproved {
		v.Expires = now.Add(cmp.Or(r.For, DefaultRevealFor))
	}
	return v, r.write(ctx, v, revision, by, "reveal."+state)
}

// Look returns a reveal and, where by is who asked, it is approved and the time is not over, the
// plate.
func (r *Reveals) Look(ctx context.Context, id, by string) (Reveal, string, error) {
	v, _, err := r.read(ctx, id)
	if err != nil || v.State != RevealApproved || v.Requester != by {
		return v, "", err
	}
	row, ok, err := r.Plates.SealedPlate(ctx, PlateQuery{Camera: v.Camera, Time: v.Time, Hash: v.PlateHash})
	if err != nil {
		return v, "", err
	}
	if !ok {
		return v, "", fmt.Errorf("%w: the plate is not kept anymore", ErrConflict)
	}
	plate, err := r.Keys.Open(row.Purpose, row.Time, row.Sealed)
	if err != nil {
		return v, "", fmt.Errorf("%w: %w", ErrConflict, err)
	}
	if err := r.note(ctx, v, by, "reveal.seen"); err != nil {
		return v, "", err
	}
	return v, plate, nil
}

func (r *Reveals) read(ctx context.Context, id string) (Reveal, uint64, error) {
	b, revision, err := r.Safe.Entry(ctx, id)
	if err != nil {
		return Reveal{}, 0, err
	}
	if len(b) == 0 {
		return Reveal{}, 0, fmt.Errorf("reveal %.40q: %w", id, ErrNotFound)
	}
	var v Reveal
	if err := json.Unmarshal(b, &v); err != nil {
		return v, 0, fmt.Errorf("reveal %s: %w", id, err)
	}
	return v.at(time.Now()), revision, nil
}

// write notes the act and then does it.
func (r *Reveals) write(ctx context.Context, v Reveal, revision uint64, by, action string) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("reveal %s: %w", v.ID, err)
	}
	if err := r.note(ctx, v, by, action); err != nil {
		return err
	}
	err = r.Safe.Swap(ctx, v.ID, b, revision)
	if errors.Is(err, streamlog.ErrChanged) {
		return fmt.Errorf("%w: somebody else decided meanwhile", ErrConflict)
	}
	if err == nil {
		r.learn(v.ID, b)
	}
	return err
}

func (r *Reveals) note(ctx context.Context, v Reveal, by, action string) error {
	return r.Journal.Append(ctx, audit.Entry{Actor: by, Action: action, Object: "reveal/" + v.ID, Reason: v.Reason, Case: v.Case, Detail: map[string]string{
		"plate_hash": v.PlateHash[:min(12, len(v.PlateHash))], "camera": v.Camera, "time": v.Time.UTC().Format(time.RFC3339Nano), "purpose": v.Purpose,
	}})
}
