package devices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// memory is a Store in memory: what it was told, in order, to every watcher.
type memory struct {
	mu       sync.Mutex
	held     map[string][]byte
	watchers []chan [2]string
	refuse   error
}

func newMemory() *memory { return &memory{held: map[string][]byte{}} }

func (m *memory) tell(key, value string) {
	for _, w := range m.watchers {
		w <- [2]string{key, value}
	}
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return m.refuse
	}
	m.held[key] = value
	m.tell(key, string(value))
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, key)
	m.tell(key, "")
	return nil
}

func (m *memory) Watch(ctx context.Context, change func(string, []byte), synced func()) error {
	w := make(chan [2]string, 1000)
	m.mu.Lock()
	for k, v := range m.held {
		change(k, v)
	}
	m.watchers = append(m.watchers, w)
	m.mu.Unlock()
	synced()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-w:
			var value []byte
			if c[1] != "" {
				value = []byte(c[1])
			}
			change(c[0], value)
		}
	}
}

// started returns a registry that runs over store until the test ends.
func started(t *testing.T, store Store) *Registry {
	r := NewRegistry(store, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	ready := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx, func() { close(ready) }) })
	t.Cleanup(func() { stop(); wg.Wait() })
	<-ready
	return r
}

func ptr(f float64) *float64 { return &f }

func TestChangeReachesEveryWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		a, b := started(t, store), started(t, store)
		if err := a.PutProfile(t.Context(), Profile{ID: "lamp", Metrics: map[string]Metric{"power_w": {Unit: "W", Max: ptr(400)}}}); err != nil {
			t.Fatal(err)
		}
		if err := a.PutDevice(t.Context(), Device{ID: "pole-7", Domain: "lighting", Profile: "lamp"}); err != nil {
			t.Fatal(err)
		}
		if got := a.Lookup("pole-7"); got == nil || got.Metrics["power_w"].Unit != "W" || got.Status != Claimed {
			t.Errorf("where it was put: %+v, want the claimed lamp with its profile", got)
		}
		synctest.Wait()
		if got := b.Lookup("pole-7"); got == nil || got.Metrics["power_w"].InRange(401) {
			t.Errorf("elsewhere: %+v, want the lamp with its profile's range", got)
		}
		before := b.Version()
		if err := a.PutProfile(t.Context(), Profile{ID: "lamp", Metrics: map[string]Metric{"power_w": {Unit: "kW"}}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := b.Lookup("pole-7"); got.Metrics["power_w"].Unit != "kW" || b.Version() == before {
			t.Errorf("after the profile changed: %+v, want kW and a new version", got)
		}
		if err := a.DeleteDevice(t.Context(), "pole-7"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if b.Lookup("pole-7") != nil || b.Len() != 0 || a.Len() != 0 {
			t.Errorf("after the removal: %v, %d and %d devices, want none", b.Lookup("pole-7"), a.Len(), b.Len())
		}
		if err := a.DeleteDevice(t.Context(), "pole-7"); !errors.Is(err, ErrNotFound) {
			t.Errorf("removed twice: %v, want ErrNotFound", err)
		}
	})
}

func TestFirstSight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		a, b := started(t, store), started(t, store)
		for range 3 {
			if got := a.Sight("waste", "bin-1"); got.Status != Unclaimed || got.Domain != "waste" {
				t.Errorf("%+v, want an unclaimed bin", got)
			}
		}
		synctest.Wait()
		if got := b.Lookup("bin-1"); got == nil || got.Status != Unclaimed {
			t.Errorf("elsewhere: %+v, want the unclaimed bin", got)
		}
		if err := b.PutDevice(t.Context(), Device{ID: "bin-1", Domain: "waste", Name: "Bin 1"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := a.Sight("waste", "bin-1"); got.Status != Claimed || got.Name != "Bin 1" || a.Len() != 1 {
			t.Errorf("seen after it was claimed: %+v of %d, want Bin 1 of 1", got, a.Len())
		}
	})
}

func TestSecretsAreWriteOnly(t *testing.T) {
	r := started(t, newMemory())
	d := Device{ID: "m", Domain: "water", Secret: "s3", LoRaWAN: &LoRaWAN{DevEUI: "0102030405060708", AppSKey: strings.Repeat("5a", 16)}}
	if err := r.PutDevice(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	public := r.Lookup("m").Public()
	b, err := json.Marshal(public)
	if err != nil || strings.Contains(string(b), "s3") || strings.Contains(string(b), "5a5a") || !strings.Contains(string(b), "0102030405060708") {
		t.Errorf("public form %s, %v; want the EUI and no key or secret", b, err)
	}
	if got := r.LookupDevEUI("0102030405060708"); got == nil || got.ID != "m" {
		t.Errorf("by its DevEUI: %v, want m", got)
	}
	public.Name = "Meter"
	if err := r.PutDevice(t.Context(), public); err != nil {
		t.Fatal(err)
	}
	if got := r.Lookup("m"); !got.HasSecret([]byte("s3")) || got.Secret != "" || got.LoRaWAN.AppSKey != strings.Repeat("5a", 16) || got.Name != "Meter" {
		t.Errorf("put back without its keys: %+v, want them kept", got)
	}
}

func TestRefusedWriteChangesNothing(t *testing.T) {
	store := newMemory()
	r := started(t, store)
	store.refuse = errors.New("disk is full")
	if err := r.PutDevice(t.Context(), Device{ID: "x", Domain: "water"}); err == nil || r.Lookup("x") != nil {
		t.Errorf("%v, %v; want the error and no device", err, r.Lookup("x"))
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want string // part of the error; empty: accepted
	}{
		{"id", CheckID("pole-7/è"), "'/'"},
		{"good id", CheckID("palo:7.è(b)"), ""},
		{"longest id", CheckID(strings.Repeat("x", 128)), ""},
		{"too long id", CheckID(strings.Repeat("x", 129)), "129 bytes, want 1 to 128"},
		{"no id", CheckID(""), "0 bytes"},
		{"space", CheckID("a b"), "' '"},
		{"control", CheckID("a\x00b"), `'\x00'`},
		{"not UTF-8", CheckID("a\xff"), "UTF-8"},
		{"domain", CheckDomain("Lighting"), "'L'"},
		{"good domain", CheckDomain("air_quality-2"), ""},
		{"long domain", CheckDomain(strings.Repeat("a", 33)), "33 bytes"},
		{"lat alone", Device{ID: "a", Domain: "b", Lat: ptr(1)}.Check(), "both or neither"},
		{"lat", Device{ID: "a", Domain: "b", Lat: ptr(91), Lon: ptr(0)}.Check(), "91 degrees"},
		{"homography", Device{ID: "a", Domain: "b", Camera: &Camera{Homography: []float64{1}}}.Check(), "1 numbers, want 9 or 16"},
		{"radio", Device{ID: "a", Domain: "b", LoRaWAN: &LoRaWAN{DevEUI: "0004A30B001C0530", DevAddr: "00bcb929", MACVersion: "1.0.3", NwkSKey: strings.Repeat("0a", 16)}}.Check(), ""},
		{"DevEUI", Device{ID: "a", Domain: "b", LoRaWAN: &LoRaWAN{DevEUI: "0004-A30B"}}.Check(), `lorawan.dev_eui: "0004-A30B", want 16 hexadecimal digits`},
		{"radio key", Device{ID: "a", Domain: "b", LoRaWAN: &LoRaWAN{AppSKey: "c0ffee"}}.Check(), "lorawan.app_s_key: found 6 characters, want 32 hexadecimal digits"},
		{"MAC version", Device{ID: "a", Domain: "b", LoRaWAN: &LoRaWAN{MACVersion: "2"}}.Check(), `mac_version: "2", want one such as 1.0.3`},
		{"range", Profile{ID: "p", Metrics: map[string]Metric{"x": {Min: ptr(2), Max: ptr(1)}}}.Check(), "min 2 above max 1"},
	} {
		if tc.want == "" && tc.err != nil || tc.want != "" && (tc.err == nil || !strings.Contains(tc.err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.name, tc.err, tc.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]string{`"15m"`: "15m0s", `90`: "1m30s", `""`: "0s"} {
		var d Duration
		if err := json.Unmarshal([]byte(in), &d); err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(d); err != nil || string(b) != `"`+want+`"` {
			t.Errorf("%s became %s, %v; want %q", in, b, err, want)
		}
	}
	var d Duration
	if err := json.Unmarshal([]byte(`"soon"`), &d); err == nil {
		t.Error("soon was taken for a duration")
	}
}

const square = `{"type":"Feature","properties":{"id":"z1","name":"Kalsa","kind":"district"},
 "geometry":{"type":"Polygon","coordinates":[[[13,38],[14,38],[14,39],[13,39],[13,38]]]}}`

func TestZone(t *testing.T) {
	z, err := ParseZone([]byte(square))
	if err != nil {
		t.Fatal(err)
	}
	if !z.Contains(38.5, 13.5) || z.Contains(38.5, 14.5) || z.Contains(13.5, 38.5) {
		t.Error("the square does not hold what is in it, or holds what is not")
	}
	b, err := json.Marshal(z)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseZone(b)
	if err != nil || again.ID != "z1" || again.Name != "Kalsa" || again.Kind != "district" || !again.Contains(38.1, 13.1) {
		t.Errorf("%s, %v; want the same zone", b, err)
	}
	for _, bad := range []string{
		`{}`, `{"type":"Feature","properties":{"id":"z"},"geometry":null}`,
		strings.Replace(square, `"id":"z1"`, `"id":"a b"`, 1),
		`{"type":"Feature","properties":{"id":"z"},"geometry":{"type":"Point","coordinates":[13,38]}}`,
	} {
		if z, err := ParseZone([]byte(bad)); err == nil {
			t.Errorf("%s was taken for a zone: %+v", bad, z)
		}
	}
}

func TestDeviceIsPutInItsZone(t *testing.T) {
	r := started(t, newMemory())
	z, err := ParseZone([]byte(square))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.PutZone(t.Context(), z); err != nil {
		t.Fatal(err)
	}
	if err := r.PutDevice(t.Context(), Device{ID: "in", Domain: "waste", Lat: ptr(38.2), Lon: ptr(13.2)}); err != nil {
		t.Fatal(err)
	}
	if got := r.Lookup("in").Zone; got != "z1" {
		t.Errorf("zone %q, want z1 by its position", got)
	}
}

func FuzzParseZone(f *testing.F) {
	f.Add([]byte(square))
	f.Fuzz(func(t *testing.T, b []byte) {
		if z, err := ParseZone(b); err == nil {
			z.Contains(38, 13)
			if _, err := json.Marshal(z); err != nil {
				t.Errorf("a zone that parses cannot be written: %v", err)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	r := NewRegistry(newMemory(), slog.New(slog.DiscardHandler))
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("pole-%d", i)
		r.apply(deviceKey+ids[i], fmt.Appendf(nil, `{"id":%q,"domain":"lighting"}`, ids[i]))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if r.Lookup(ids[i%len(ids)]) == nil {
				b.Error("not found")
			}
		}
	})
}
