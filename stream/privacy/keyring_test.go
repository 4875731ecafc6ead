package privacy

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

var quiet = slog.New(slog.DiscardHandler)

func testMaster(t testing.TB, fill byte) *Master {
	t.Helper()
	m, err := NewMaster(bytes.Repeat([]byte{fill}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func threeDays(string) time.Duration { return 72 * time.Hour }

// start runs a keyring and waits until it is ready.
func start(t testing.TB, k *Keyring) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() { done <- k.Run(ctx, func() { once.Do(func() { close(ready) }) }) }()
	<-ready
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func secrets(t testing.TB, l *streamlog.Log) *streamlog.Secrets {
	t.Helper()
	s, err := l.Secrets(context.Background(), "keys")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func onDisk(t *testing.T, dir string, b []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		found = found || bytes.Contains(data, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// After its time a key is nowhere: not on the disk, not in a process that had it, and no process, not
// even a new one, makes the hash of that day again.
func TestKeysOfAPastDayAreGone(t *testing.T) {
	dir := t.TempDir()
	l := logtest.Open(t, dir, nil)
	safe := secrets(t, l)
	day := time.Date(2026, 11, 20, 15, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	now := day
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	move := func(to time.Time) { mu.Lock(); now = to; mu.Unlock() }
	open := func() *Keyring {
		k := NewKeyring(testMaster(t, 1), safe, threeDays, quiet)
		k.now = clock
		return k
	}
	a, b := open(), open()
	journal := &acts{}
	a.Journal, b.Journal = journal, journal
	start(t, a)
	start(t, b)
	key, err := a.Plate("traffic", day)
	if err != nil || len(key) != keySize {
		t.Fatalf("%x, %v", key, err)
	}
	if other, err := b.Plate("traffic", day.Add(-14*time.Hour)); err != nil || !bytes.Equal(key, other) {
		t.Fatalf("another process has %x, %v; want the same key all day", other, err)
	}
	for _, at := range []time.Time{day.AddDate(0, 0, 1), day.AddDate(0, 0, -1)} {
		if other, err := a.Plate("traffic", at); err != nil || bytes.Equal(key, other) {
			t.Errorf("%v: %v, or the same key on another day", at, err)
		}
	}
	if other, err := a.Plate("tolls", day); err != nil || bytes.Equal(key, other) {
		t.Errorf("%v, or the same key for another purpose", err)
	}
	sealed, err := a.Seal("traffic", day, "AB123CD")
	if err != nil {
		t.Fatal(err)
	}
	if plate, err := b.Open("traffic", day, sealed); err != nil || plate != "AB123CD" {
		t.Fatalf("%q, %v", plate, err)
	}
	wrapped, _, err := safe.Entry(t.Context(), "2026-11-20/traffic")
	if err != nil || !onDisk(t, dir, wrapped) {
		t.Fatalf("%v, or the wrapped key is not on the disk: the test would not see it go", err)
	}
	if onDisk(t, dir, key) {
		t.Fatal("the key is on the disk in clear")
	}

	// Its age counts from the plate: one of 15:00 cannot be hashed at 15:01, three days later...
	move(day.Add(72*time.Hour + time.Minute))
	a.keep(t.Context())
	if _, err := a.Plate("traffic", day); !errors.Is(err, ErrDestroyed) {
		t.Errorf("%v, want ErrDestroyed", err)
	}
	if _, err := b.Open("traffic", day, sealed); !errors.Is(err, ErrDestroyed) {
		t.Errorf("%v, want ErrDestroyed", err)
	}
	// ...but one of 23:00 can.
	if same, err := a.Plate("traffic", day.Add(8*time.Hour)); err != nil || !bytes.Equal(same, key) {
		t.Errorf("%x, %v; want the key until its last plate is of age", same, err)
	}
	move(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC))
	a.keep(t.Context())
	if onDisk(t, dir, wrapped) {
		t.Error("the wrapped key is still on the disk")
	}
	if got := journal.actions(); len(got) == 0 || journal.all[0].Action != "key.destroyed" {
		t.Errorf("audit log %v, want that keys were destroyed", got)
	}
	a.learn("2026-11-20/traffic", wrapped) // news of the key that comes late
	// A retention that grows afterwards, or a clock that goes back, brings nothing back.
	for name, k := range map[string]*Keyring{"the process that destroyed it": a, "a new process": open()} {
		k.retention = func(string) time.Duration { return 1000 * time.Hour }
		move(day)
		if _, err := k.Plate("traffic", day); !errors.Is(err, ErrDestroyed) {
			t.Errorf("%s: %v, want ErrDestroyed", name, err)
		}
		if _, err := k.Open("traffic", day, sealed); !errors.Is(err, ErrDestroyed) {
			t.Errorf("%s opens: %v, want ErrDestroyed", name, err)
		}
	}
	// The other process learns of it by itself.
	for (*b.keys.Load())[dayOf("traffic", day)].hash != nil {
		time.Sleep(time.Millisecond)
	}
}

// A process that was killed between mark and erasure leaves work that the next start does.
func TestErasureIsFinished(t *testing.T) {
	dir := t.TempDir()
	l := logtest.Open(t, dir, nil)
	safe := secrets(t, l)
	k := NewKeyring(testMaster(t, 1), safe, threeDays, quiet)
	at := time.Now()
	if _, err := k.Plate("traffic", at); err != nil {
		t.Fatal(err)
	}
	name := dayOf("traffic", at).String()
	wrapped, revision, err := safe.Entry(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := safe.Swap(t.Context(), name, []byte{destroyedMark}, revision); err != nil {
		t.Fatal(err)
	}
	if !onDisk(t, dir, wrapped) {
		t.Fatal("nothing is left to erase: this test would not see it")
	}
	next := NewKeyring(testMaster(t, 1), safe, threeDays, quiet)
	start(t, next)
	if onDisk(t, dir, wrapped) {
		t.Error("the wrapped key is still on the disk")
	}
}

func TestProcessesAgreeOnOneKey(t *testing.T) {
	safe := secrets(t, logtest.New(t, nil))
	at := time.Now()
	keys := make([][]byte, 16)
	var wg sync.WaitGroup
	for i := range keys {
		k := NewKeyring(testMaster(t, 1), safe, threeDays, quiet)
		wg.Go(func() {
			key, err := k.Plate("traffic", at)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	for _, k := range keys {
		if !bytes.Equal(k, keys[0]) {
			t.Fatal("two processes have two keys")
		}
	}
}

func TestAnotherMasterKey(t *testing.T) {
	safe := secrets(t, logtest.New(t, nil))
	at := time.Now()
	k := NewKeyring(testMaster(t, 1), safe, threeDays, quiet)
	if _, err := k.Plate("traffic", at); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	other := NewKeyring(testMaster(t, 2), safe, threeDays, slog.New(slog.NewTextHandler(&said, nil)))
	if _, err := other.Plate("traffic", at); err == nil || errors.Is(err, ErrDestroyed) {
		t.Errorf("%v, want that it is not of this master key", err)
	}
	if !strings.Contains(said.String(), "privacy.key_file") {
		t.Errorf("said %q, want what to do", said.String())
	}
	if _, err := other.Plate("tolls", at); err != nil {
		t.Errorf("a key of its own: %v", err)
	}
	if n, first, err := other.Unreadable(); n != 1 || first != dayOf("traffic", at).String() || err == nil {
		t.Errorf("%d unreadable, first %q, %v; want that of traffic", n, first, err)
	}
	if n, first, err := k.Unreadable(); n != 0 || first != "" || err != nil {
		t.Errorf("%d unreadable by its own master key, first %q, %v", n, first, err)
	}
}

func TestSealedIsOfItsPurposeAndDay(t *testing.T) {
	k := NewKeyring(testMaster(t, 1), newVault(), threeDays, quiet)
	at := time.Now().Truncate(24 * time.Hour)
	sealed, err := k.Seal("traffic", at, "AB123CD")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := k.Seal("traffic", at, "AB123CD")
	if bytes.Equal(sealed, again) {
		t.Error("sealed twice is the same: its nonce is not random")
	}
	for _, n := range []int{0, 1, 12, len(sealed) - 1} {
		if _, err := k.Open("traffic", at, sealed[:n]); err == nil {
			t.Errorf("the first %d bytes opened", n)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.Open("traffic", at, bad); err == nil || strings.Contains(err.Error(), "AB123CD") {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if _, err := k.Seal("tolls", at, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open("tolls", at, sealed); err == nil {
		t.Error("opened under another purpose")
	}
	if _, err := k.Open("nobody's", at, sealed); !errors.Is(err, ErrDestroyed) {
		t.Errorf("%v, want ErrDestroyed where there is no key", err)
	}
}

// vault is a Safe in memory.
type vault struct {
	mu     sync.Mutex
	values map[string][]byte
	rev    map[string]uint64
	seq    uint64
	swaps  int
	away   error
	watch  chan string
}

func newVault() *vault {
	return &vault{values: map[string][]byte{}, rev: map[string]uint64{}, watch: make(chan string, 1000)}
}

func (v *vault) Entry(_ context.Context, key string) ([]byte, uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.values[key], v.rev[key], v.away
}

func (v *vault) Swap(_ context.Context, key string, value []byte, revision uint64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.away != nil {
		return v.away
	}
	if v.rev[key] != revision {
		return streamlog.ErrChanged
	}
	v.seq++
	v.swaps++
	v.values[key], v.rev[key] = value, v.seq
	v.watch <- key
	return nil
}

func (v *vault) Erase(context.Context, string) error { return nil }

func (v *vault) Watch(ctx context.Context, change func(string, []byte), synced func()) error {
	synced()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case key := <-v.watch:
			value, _, _ := v.Entry(ctx, key)
			change(key, value)
		}
	}
}

// By itself, a running keyring has tomorrow's key before midnight and destroys the old ones.
func TestKeysComeAndGoWithTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		k := NewKeyring(testMaster(t, 1), v, threeDays, quiet)
		stop := start(t, k)
		defer stop()
		first := time.Now() // midnight, 1 January 2000
		if _, err := k.Plate("traffic", first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		v.mu.Lock()
		if v.values["2000-01-01/traffic"] == nil || v.values["2000-01-02/traffic"] == nil || len(v.values) != 2 {
			t.Errorf("%d keys, want today's and tomorrow's", len(v.values))
		}
		v.away = errors.New("the bucket is away")
		v.mu.Unlock()
		time.Sleep(time.Until(first.AddDate(0, 0, 1)))
		if _, err := k.Plate("traffic", time.Now()); err != nil {
			t.Errorf("the first plate of the next day: %v; want no question to the bucket", err)
		}
		v.mu.Lock()
		v.away = nil
		v.mu.Unlock()
		time.Sleep(72*time.Hour - time.Minute)
		synctest.Wait()
		if value, _, _ := v.Entry(t.Context(), "2000-01-01/traffic"); value[0] == destroyedMark {
			t.Error("destroyed too early")
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if value, _, _ := v.Entry(t.Context(), "2000-01-01/traffic"); !bytes.Equal(value, []byte{destroyedMark}) {
			t.Errorf("%d bytes are left of a key of age", len(value))
		}
		if _, err := k.Plate("traffic", first); !errors.Is(err, ErrDestroyed) {
			t.Errorf("%v, want ErrDestroyed", err)
		}
	})
}

func TestPlatesOfTheFutureAndTheBucketAway(t *testing.T) {
	v := newVault()
	k := NewKeyring(testMaster(t, 1), v, threeDays, quiet)
	if _, err := k.Plate("traffic", time.Now().Add(49*time.Hour)); err == nil || v.swaps != 0 {
		t.Errorf("%v, %d keys made; want none of the day after tomorrow", err, v.swaps)
	}
	if _, err := k.Plate(strings.Repeat("x", 129), time.Now()); err == nil || v.swaps != 0 {
		t.Errorf("%v, %d keys made; want none of such a purpose", err, v.swaps)
	}
	v.away = errors.New("away")
	if _, err := k.Plate("traffic", time.Now()); !errors.Is(err, v.away) {
		t.Errorf("%v, want that the bucket is away", err)
	}
	v.away = nil
	if _, err := k.Plate("traffic", time.Now()); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

func TestMasterFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "keys", "master.key")
	if _, err := LoadMaster(file); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v, want that it is not there", err)
	}
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			m, err := MakeMaster(file)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = m.ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("ids %v, want one key for all", ids)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v; want mode 0600", info.Mode(), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("%d files, want the key alone", len(left))
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o644: false, 0o604: false, 0o660: false, 0o666: false} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMaster(file); (err == nil) != want {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	os.Chmod(file, 0o600)
	for _, content := range []string{"", "00", string(good[:62]), string(good) + "00", strings.Repeat("z", 64), strings.Repeat("0", 2000)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMaster(file); err == nil || len(content) > 8 && strings.Contains(err.Error(), content[:8]) {
			t.Errorf("%d bytes: %v; want a complaint that repeats nothing", len(content), err)
		}
	}
	if _, err := LoadMaster(dir); err == nil {
		t.Error("a folder was taken for a key")
	}
}

func BenchmarkGrantPlate(b *testing.B) {
	k := NewKeyring(testMaster(b, 1), newVault(), threeDays, quiet)
	for _, plates := range []string{PlatesHash, PlatesSealed} {
		b.Run(plates, func(b *testing.B) {
			policy := DefaultPolicy("traffic")
			policy.Plates = plates
			g := &Grant{policy: policy, keys: k}
			now := time.Now().UnixMilli()
			b.ReportAllocs()
			for b.Loop() {
				hash, sealed, err := g.Plate(now, "AB 123 CD")
				if err != nil || len(hash) != 64 || (sealed != "") != (plates == PlatesSealed) {
					b.Fatalf("%q, %d bytes, %v", hash, len(sealed), err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "plates/s")
		})
	}
}
