package privacy

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"panormus/stream/audit"
	streamlog "panormus/stream/log"
)

// ErrDestroyed is the answer for plates of a day whose key is gone, or of a time that the purpose
// keeps no more.
var ErrDestroyed = errors.New("the key of that day is destroyed")

// A Safe is where wrapped keys are kept; *log.Secrets is one.
type Safe interface {
	// Entry returns the value of key and its revision, 0 where there is none.
	Entry(ctx context.Context, key string) ([]byte, uint64, error)
	// Swap sets the value of key if its revision is still the one given, else it is log.ErrChanged.
	Swap(ctx context.Context, key string, value []byte, revision uint64) error
	// Erase makes the values before the newest unreadable for good.
	Erase(ctx context.Context, key string) error
	Watch(ctx context.Context, change func(key string, value []byte), synced func()) error
}

// A Keyring has the keys of plates, two for each purpose and UTC day: one of hashes, one of sealed
// plates. They are made when they are first needed, in a bucket where all processes agree on them,
// wrapped by the master key; those of the next day before it begins. When the last plate of a day has
// reached its age, the day's keys are erased everywhere and a mark remains, so that none are made
// again. Methods may be called from any goroutine; Run must run.
type Keyring struct {
	// Journal, where not nil, is told of keys that are destroyed. Set it before Run.
	Journal Journal

	master    *Master
	safe      Safe
	retention func(purpose string) time.Duration
	log       *slog.Logger
	now       func() time.Time // a test has a clock of its own

	keys   atomic.Pointer[map[dayID]*dayKey] // replaced whole, so that readers take no lock
	making sync.Mutex
}

// NewKeyring makes a keyring. retention is how long plates of a purpose can be hashed and opened.
func NewKeyring(master *Master, safe Safe, retention func(purpose string) time.Duration, log *slog.Logger) *Keyring {
	k := &Keyring{master: master, safe: safe, retention: retention, log: log, now: time.Now}
	k.keys.Store(&map[dayID]*dayKey{})
	return k
}

// A dayID names the keys of a purpose and a day; written out it is also the name of the entry.
type dayID struct {
	purpose string
	day     int64 // since 1970, UTC
}

const daySeconds = 24 * 60 * 60

func dayOf(purpose string, at time.Time) dayID {
	s := at.Unix()
	d := s / daySeconds
	if s < 0 && s%daySeconds != 0 {
		d--
	}
	return dayID{purpose, d}
}

func (id dayID) end() time.Time { return time.Unix((id.day+1)*daySeconds, 0).UTC() }

func (id dayID) date() string { return time.Unix(id.day*daySeconds, 0).UTC().Format(time.DateOnly) }

// String is what the keys are called in the bucket and authenticated under.
func (id dayID) String() string { return id.date() + "/" + id.purpose }

func parseDay(s string) (dayID, error) {
	date, purpose, ok := strings.Cut(s, "/")
	at, err := time.Parse(time.DateOnly, date)
	if !ok || err != nil {
		return dayID{}, fmt.Errorf("key %.100q, want a day and a purpose", s)
	}
	return dayOf(purpose, at), nil
}

// A dayKey is what is known of the keys of a day.
type dayKey struct {
	hash      []byte
	seal      cipher.AEAD
	destroyed bool
	erased    bool  // this process has seen to it that nothing is left
	err       error // it is there and cannot be used
}

// destroyedMark is the value of an entry whose keys are gone; wrapped keys begin with sealVersion.
const destroyedMark = 0

// Bounds of making a key.
const (
	makeTimeout = 5 * time.Second
	maxPurpose  = 128 // bytes of its id
	ahead       = 24 * time.Hour
	keepEvery   = time.Minute
)

// Run follows the bucket, makes the keys of the next day and destroys those that have come of age,
// until ctx ends. It calls ready once it knows all keys.
func (k *Keyring) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	synced := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- k.safe.Watch(ctx, k.learn, func() {
			select {
			case synced <- struct{}{}:
			default:
			}
		})
	}()
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for known := false; ; {
		select {
		case err := <-ended:
			return err
		case <-synced:
			known = true
			k.keep(ctx)
			ready()
		case <-tick.C:
			if known {
				k.keep(ctx)
			}
		}
	}
}

// learn takes in one entry of the bucket.
func (k *Keyring) learn(key string, value []byte) {
	id, err := parseDay(key)
	if err != nil {
		k.log.Error("an entry among the keys of plates is none", "error", err)
		return
	}
	k.making.Lock()
	defer k.making.Unlock()
	k.put(id, k.open(id, value))
}

// put replaces what is known of a day; nil forgets it. The caller holds k.making.
func (k *Keyring) put(id dayID, d *dayKey) {
	next := maps.Clone(*k.keys.Load())
	old := next[id]
	switch {
	case old != nil && old.destroyed:
		return // for good, whatever older news arrives
	case d == nil:
		delete(next, id)
	default:
		next[id] = d
	}
	k.keys.Store(&next)
	if d != nil && d.err != nil && (old == nil || old.err == nil) {
		k.log.Error("the key of plates cannot be read: plates of that purpose and day are refused; give every process the same privacy.key_file, or bring the lost file back",
			"purpose", id.purpose, "day", id.date(), "error", d.err)
	}
}

func (k *Keyring) open(id dayID, value []byte) *dayKey {
	if len(value) == 0 {
		return nil
	}
	if value[0] == destroyedMark {
		return &dayKey{destroyed: true}
	}
	b, err := k.master.Unwrap(id.String(), value)
	if err == nil && len(b) != 2*keySize {
		err = fmt.Errorf("keys of %d bytes, want %d", len(b), 2*keySize)
	}
	if err != nil {
		return &dayKey{err: err}
	}
	aead, err := newAEAD(b[keySize:])
	return &dayKey{hash: b[:keySize:keySize], seal: aead, err: err}
}

// Unreadable is how many days' keys are there and cannot be opened, and the first of them with why; an
// empty name where all can.
func (k *Keyring) Unreadable() (n int, first string, why error) {
	for id, d := range *k.keys.Load() {
		if d.err == nil || d.destroyed {
			continue
		}
		n++
		if name := id.String(); first == "" || name < first {
			first, why = name, d.err
		}
	}
	return n, first, why
}

// Plate implements Keys. It takes no lock but when the key is not known yet: then it asks the bucket,
// for at most some seconds.
func (k *Keyring) Plate(purpose string, at time.Time) ([]byte, error) {
	d, err := k.day(purpose, at, true)
	if err != nil {
		return nil, err
	}
	return d.hash, nil
}

// Seal implements Keys.
func (k *Keyring) Seal(purpose string, at time.Time, plate string) ([]byte, error) {
	d, err := k.day(purpose, at, true)
	if err != nil {
		return nil, err
	}
	return sealed(d.seal, dayOf(purpose, at).String(), []byte(plate)), nil
}

// Open returns the plate, read at a time, that Seal made sealed of.
func (k *Keyring) Open(purpose string, at time.Time, sealed []byte) (string, error) {
	d, err := k.day(purpose, at, false)
	if err != nil {
		return "", err
	}
	if d == nil {
		return "", ErrDestroyed // no mark either: it was sealed by another city's keys
	}
	b, err := opened(d.seal, dayOf(purpose, at).String(), sealed)
	if err != nil {
		return "", fmt.Errorf("open a plate of %s: %w", dayOf(purpose, at), err)
	}
	return string(b), nil
}

// Existing is Plate for who only compares: where no plate of that day was hashed, it returns nil.
func (k *Keyring) Existing(purpose string, at time.Time) ([]byte, error) {
	d, err := k.day(purpose, at, false)
	if err != nil || d == nil {
		return nil, err
	}
	return d.hash, nil
}

// day returns the keys of a time, made where create says so; else nil where there are none.
func (k *Keyring) day(purpose string, at time.Time, create bool) (*dayKey, error) {
	now := k.now()
	if at.Add(k.retention(purpose)).Before(now) {
		return nil, ErrDestroyed
	}
	id := dayOf(purpose, at)
	d := (*k.keys.Load())[id]
	if d == nil {
		if at.Sub(now) > ahead {
			return nil, fmt.Errorf("a plate read more than %v in the future", ahead)
		}
		ctx, cancel := context.WithTimeout(context.Background(), makeTimeout)
		defer cancel()
		var err error
		if d, err = k.fetch(ctx, id, create); err != nil {
			return nil, err
		}
	}
	switch {
	case d == nil && !create:
		return nil, nil
	case d.destroyed:
		return nil, ErrDestroyed
	case d.err != nil:
		return nil, d.err
	}
	return d, nil
}

// fetch asks the bucket for the keys of a day and makes them if there are none.
func (k *Keyring) fetch(ctx context.Context, id dayID, create bool) (*dayKey, error) {
	if id.purpose == "" || len(id.purpose) > maxPurpose {
		return nil, fmt.Errorf("purpose of %d bytes, want 1 to %d", len(id.purpose), maxPurpose)
	}
	k.making.Lock()
	defer k.making.Unlock()
	if d := (*k.keys.Load())[id]; d != nil {
		return d, nil // somebody was faster
	}
	for {
		value, revision, err := k.safe.Entry(ctx, id.String())
		if err != nil {
			return nil, fmt.Errorf("key of %s: %w", id, err)
		}
		if revision != 0 && len(value) > 0 {
			d := k.open(id, value)
			k.put(id, d)
			return d, nil
		}
		if !create {
			return nil, nil
		}
		var b [2 * keySize]byte
		rand.Read(b[:])
		value = k.master.Wrap(id.String(), b[:])
		err = k.safe.Swap(ctx, id.String(), value, revision)
		if errors.Is(err, streamlog.ErrChanged) {
			continue // another process made it
		}
		if err != nil {
			return nil, fmt.Errorf("key of %s: %w", id, err)
		}
		d := k.open(id, value)
		k.put(id, d)
		return d, nil
	}
}

// keep destroys what has come of age and makes tomorrow's keys where there are keys of today.
func (k *Keyring) keep(ctx context.Context) {
	now := k.now()
	for id, d := range *k.keys.Load() {
		var err error
		switch {
		case d.destroyed && d.erased:
		case d.destroyed, !now.Before(id.end().Add(k.retention(id.purpose))):
			err = k.destroy(ctx, id)
		case id.day == dayOf("", now).day && d.err == nil:
			tomorrow := dayID{id.purpose, id.day + 1}
			if (*k.keys.Load())[tomorrow] == nil {
				_, err = k.fetch(ctx, tomorrow, true)
			}
		}
		if err != nil && ctx.Err() == nil {
			k.log.Error("keeping the keys of plates; it is tried again", "purpose", id.purpose, "day", id.date(), "error", err)
		}
	}
}

// destroy replaces the keys of a day by the mark and erases what they were.
func (k *Keyring) destroy(ctx context.Context, id dayID) error {
	k.making.Lock()
	defer k.making.Unlock()
	k.put(id, &dayKey{destroyed: true}) // from here on nobody uses them
	for {
		value, revision, err := k.safe.Entry(ctx, id.String())
		if err != nil {
			return err
		}
		if len(value) > 0 && value[0] == destroyedMark {
			break
		}
		// Marked first: were they erased first, another process could make them anew in between.
		err = k.safe.Swap(ctx, id.String(), []byte{destroyedMark}, revision)
		if errors.Is(err, streamlog.ErrChanged) {
			continue
		}
		if err != nil {
			return err
		}
		k.log.Info("the key of plates is destroyed", "purpose", id.purpose, "day", id.date())
		k.note(ctx, id)
		break
	}
	if err := k.safe.Erase(ctx, id.String()); err != nil {
		return err
	}
	next := maps.Clone(*k.keys.Load())
	next[id] = &dayKey{destroyed: true, erased: true}
	k.keys.Store(&next)
	return nil
}

// note writes into the audit log that a key is no more. That it cannot is no reason to keep the key.
func (k *Keyring) note(ctx context.Context, id dayID) {
	if k.Journal == nil {
		return
	}
	if err := k.Journal.Append(ctx, audit.Entry{Actor: "panormus", Action: "key.destroyed", Object: "key/" + id.String()}); err != nil {
		k.log.Error("the end of a key of plates is not in the audit log", "purpose", id.purpose, "day", id.date(), "error", err)
	}
}
