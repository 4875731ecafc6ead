package privacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"panormus/devices"
	streamlog "panormus/stream/log"
)

// Bounds of lists.
const (
	MaxLists    = 100
	MaxListed   = 20_000 // plates of one list
	minPlate    = 2      // letters and digits
	maxPlate    = 16
	maxPurposes = 16
)

// A List names plates that are looked for, such as those of stolen vehicles. What is here of it may be
// shown; the plates themselves are never handed out again.
type List struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Purposes []string  `json:"purposes" doc:"of the cameras whose readings are compared"`
	Count    int       `json:"count"`
	Updated  time.Time `json:"updated"`
}

// storedList is an entry of the bucket.
type storedList struct {
	List
	Sealed []byte `json:"sealed"`
}

// Lists are the lists in force, kept sealed by the master key in a bucket that every process follows.
// Readings are compared by the hashes of their day: those of a day that is over for good match
// nothing. Methods may be called from any goroutine; Run must run.
type Lists struct {
	master   *Master
	safe     Safe
	keys     *Keyring
	policies Policies
	log      *slog.Logger

	mu      sync.Mutex
	lists   map[string]heldList
	indexes map[dayID]map[string][]string // hash -> ids of lists
}

type heldList struct {
	List
	plates []string // normal, sorted
}

// NewLists makes them; what the bucket holds is known when Run calls ready.
func NewLists(master *Master, safe Safe, keys *Keyring, policies Policies, log *slog.Logger) *Lists {
	return &Lists{master: master, safe: safe, keys: keys, policies: policies, log: log, lists: map[string]heldList{}, indexes: map[dayID]map[string][]string{}}
}

// Run follows the bucket until ctx ends.
func (l *Lists) Run(ctx context.Context, ready func()) error {
	return l.safe.Watch(ctx, l.learn, ready)
}

func (l *Lists) learn(id string, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.indexes = map[dayID]map[string][]string{}
	delete(l.lists, id)
	if len(value) == 0 {
		return
	}
	var s storedList
	var plates []string
	err := json.Unmarshal(value, &s)
	if err == nil {
		var b []byte
		if b, err = l.master.Unwrap("list/"+id, s.Sealed); err == nil {
			err = json.Unmarshal(b, &plates)
		}
	}
	if err != nil {
		l.log.Error("a list of plates cannot be read and matches nothing", "list", id, "error", err)
	}
	l.lists[id] = heldList{s.List, plates}
}

// All returns the lists, in order of id.
func (l *Lists) All() []List {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]List, 0, len(l.lists))
	for _, h := range l.lists {
		out = append(out, h.List)
	}
	slices.SortFunc(out, func(a, b List) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// List returns one.
func (l *Lists) List(id string) (List, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.lists[id]
	return h.List, ok
}

// Check makes of a list and plates as people write them what Put wants, or a *devices.FormatError that
// says where they are at fault and repeats no plate.
func (l *Lists) Check(list *List, plates []string) ([]string, error) {
	if err := devices.CheckID(list.ID); err != nil {
		return nil, fault("id", "%w", err)
	}
	if list.Title == "" || len(list.Title) > maxTitle {
		return nil, fault("title", "%d bytes, want 1 to %d", len(list.Title), maxTitle)
	}
	if n := len(list.Purposes); n == 0 || n > maxPurposes {
		return nil, fault("purposes", "%d, want 1 to %d", n, maxPurposes)
	}
	for i, id := range list.Purposes {
		p, ok := l.policies.Policy(id)
		if !ok {
			p = DefaultPolicy(id)
		}
		if where := fmt.Sprintf("purposes[%d]", i); devices.CheckID(id) != nil {
			return nil, fault(where, "%.100q is no purpose", id)
		} else if p.Plates == PlatesNone {
			return nil, fault(where, "%q keeps no plates, so there is nothing to compare", id)
		}
	}
	if len(plates) == 0 || len(plates) > MaxListed {
		return nil, fault("plates", "%d, want 1 to %d", len(plates), MaxListed)
	}
	out := make([]string, len(plates))
	for i, p := range plates {
		out[i] = Normal(p)
		if n := utf8.RuneCountInString(out[i]); n < minPlate || n > maxPlate {
			return nil, fault(fmt.Sprintf("plates[%d]", i), "%d letters and digits, want %d to %d", n, minPlate, maxPlate)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	list.Count, list.Updated = len(out), time.Now().UTC().Truncate(time.Millisecond)
	return out, nil
}

// Put enters or replaces a list with plates as Check returned them. Those it had before are erased.
func (l *Lists) Put(ctx context.Context, list List, plates []string) error {
	if l.known(list.ID) >= MaxLists {
		return fmt.Errorf("%w: %d lists are there, want at most %d", ErrConflict, MaxLists, MaxLists)
	}
	b, err := json.Marshal(plates)
	if err != nil {
		return errors.New("list: no JSON") // the error may quote a plate
	}
	stored, err := json.Marshal(storedList{List: list, Sealed: l.master.Wrap("list/"+list.ID, b)})
	if err != nil {
		return fmt.Errorf("list %s: %w", list.ID, err)
	}
	return l.replace(ctx, list.ID, stored)
}

// known is how many lists there are beside id.
func (l *Lists) known(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.lists)
	if _, ok := l.lists[id]; ok {
		n--
	}
	return n
}

// Delete erases a list.
func (l *Lists) Delete(ctx context.Context, id string) error {
	if _, ok := l.List(id); !ok {
		return fmt.Errorf("list %.100q: %w", id, ErrNotFound)
	}
	return l.replace(ctx, id, nil)
}

func (l *Lists) replace(ctx context.Context, id string, value []byte) error {
	for {
		_, revision, err := l.safe.Entry(ctx, id)
		if err != nil {
			return err
		}
		err = l.safe.Swap(ctx, id, value, revision)
		if errors.Is(err, streamlog.ErrChanged) {
			continue
		}
		if err != nil {
			return err
		}
		l.learn(id, value)
		return l.safe.Erase(ctx, id)
	}
}

// Match returns the ids of the lists that name the plate of a hash, of a camera with the purpose, read
// at a time; nil for most.
func (l *Lists) Match(purpose string, at time.Time, hash string) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lists) == 0 {
		return nil, nil
	}
	key, err := l.keys.Existing(purpose, at)
	if errors.Is(err, ErrDestroyed) {
		delete(l.indexes, dayOf(purpose, at))
		return nil, nil
	}
	if err != nil || key == nil {
		return nil, err
	}
	id := dayOf(purpose, at)
	index, ok := l.indexes[id]
	if !ok {
		index = map[string][]string{}
		for _, name := range slices.Sorted(maps.Keys(l.lists)) {
			if list := l.lists[name]; slices.Contains(list.Purposes, purpose) {
				for _, p := range list.plates {
					h := Hash(key, p)
					index[h] = append(index[h], name)
				}
			}
		}
		l.indexes[id] = index
	}
	return index[hash], nil
}
