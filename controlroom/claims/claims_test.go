package claims

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"panormus/devices"
	"panormus/stream/audit"
)

// memory is a store for two books, as a bucket for two processes: what it is told, all watchers are.
type memory struct {
	mu      sync.Mutex
	held    map[string][]byte
	watches []func(string, []byte)
	refuse  error
}

func (m *memory) set(key string, value []byte) {
	if value == nil {
		delete(m.held, key)
	} else {
		m.held[key] = value
	}
	for _, w := range m.watches {
		w(key, value)
	}
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return m.refuse
	}
	m.set(key, value)
	return nil
}

func (m *memory) Create(_ context.Context, key string, value []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.held[key]; there || m.refuse != nil {
		return false, m.refuse
	}
	m.held[key] = value // the news of it is late
	return true, nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(key, nil)
	return nil
}

func (m *memory) Watch(ctx context.Context, change func(string, []byte), synced func()) error {
	m.mu.Lock()
	for k, v := range m.held {
		change(k, v)
	}
	m.watches = append(m.watches, change)
	m.mu.Unlock()
	synced()
	<-ctx.Done()
	return ctx.Err()
}

func open(t *testing.T, m *memory, r Registry) *Book {
	t.Helper()
	b := New(m, r, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(ctx, func() { close(ready) })
	}()
	<-ready
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return b
}

func newBook(t *testing.T) (*Book, *memory, *devices.Registry) {
	t.Helper()
	m := &memory{held: map[string][]byte{}}
	r := devices.NewRegistry(&memory{held: map[string][]byte{}}, slog.New(slog.DiscardHandler))
	return open(t, m, r), m, r
}

func TestRedeem(t *testing.T) {
	b, m, r := newBook(t)
	made, codes, err := b.Make(t.Context(), Claim{Domain: "lighting", Profile: "lamp", Zone: "kalsa", By: "vito", Tags: map[string]string{"lot": "7"}}, 3)
	if err != nil || len(codes) != 3 || len(codes[0]) != 23 {
		t.Fatalf("%v, %v", codes, err)
	}
	for k, v := range m.held {
		for _, code := range codes {
			if strings.Contains(k+string(v), code) || strings.Contains(k+string(v), strings.ReplaceAll(code, "-", "")) {
				t.Errorf("a code is kept: %s %s", k, v)
			}
		}
	}
	lat, lon := 38.11, 13.36
	var noted string
	got, err := b.Redeem(t.Context(), Redemption{Code: codes[0], Device: "SN-1", Name: "Lamp", Lat: &lat, Lon: &lon, Remote: "10.0.0.1:1"}, func(c Claim, device string) error {
		noted = c.ID + " " + device
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d := r.Lookup("SN-1")
	if d == nil || d.Domain != "lighting" || d.Profile != "lamp" || d.Zone != "kalsa" || d.Tags["lot"] != "7" || *d.Lat != lat || d.Name != "Lamp" || d.Status != devices.Claimed ||
		!d.HasSecret([]byte(got.Secret)) || got.Device.Secret != "" || noted != made[0].ID+" SN-1" {
		t.Errorf("%+v, noted %q; want the lamp as it was told, with its secret", d, noted)
	}
	// However it is typed; and a name is made up where none is told.
	typed := strings.ToLower(strings.NewReplacer("-", " ", "0", "o", "1", "l").Replace(codes[1]))
	if got, err = b.Redeem(t.Context(), Redemption{Code: typed}, nil); err != nil || got.Device.ID != "lighting-"+made[1].ID {
		t.Errorf("%q: %+v, %v", typed, got, err)
	}
	for _, code := range []string{codes[0], codes[1], "", "x", "ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ", strings.Repeat("A", 5000), codes[2] + "A", "\x00", "c:" + made[2].ID} {
		if _, err := b.Redeem(t.Context(), Redemption{Code: code, Remote: "10.0.0.2:1"}, nil); !errors.Is(err, ErrCode) {
			t.Errorf("%.40q: %v, want ErrCode", code, err)
		}
	}
	// Somebody else's device is not touched, and the code is good afterwards.
	before := r.Lookup("SN-1")
	if _, err := b.Redeem(t.Context(), Redemption{Code: codes[2], Device: "SN-1"}, nil); !errors.Is(err, ErrConflict) || r.Lookup("SN-1") != before {
		t.Errorf("%v, want a conflict and nothing changed", err)
	}
	one := 38.0
	for _, bad := range []Redemption{{Device: "a b"}, {Device: "+"}, {Device: "a/b"}, {Lat: &one}, {Name: strings.Repeat("x", 257)}, {Device: "\x00"}} {
		bad.Code = codes[2]
		if _, err := b.Redeem(t.Context(), bad, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", bad, err)
		}
	}
	if _, err := b.Redeem(t.Context(), Redemption{Code: codes[2]}, func(Claim, string) error { return errors.New("no log") }); err == nil || len(r.All()) != 2 {
		t.Errorf("what cannot be noted is done: %v", err)
	}
	// A device that only published is nobody's yet.
	r.Sight("lighting", "SN-2")
	if _, err := b.Redeem(t.Context(), Redemption{Code: codes[2], Device: "SN-2"}, nil); err != nil || r.Lookup("SN-2").Status != devices.Claimed {
		t.Errorf("%v, want SN-2 claimed", err)
	}
	// After a restart all are used up still.
	again := open(t, m, r)
	if _, err := again.Redeem(t.Context(), Redemption{Code: codes[0], Device: "SN-9"}, nil); !errors.Is(err, ErrCode) {
		t.Errorf("after a restart: %v, want ErrCode", err)
	}
	if all, uses := again.All(); len(all) != 3 || uses[made[0].ID].Device != "SN-1" {
		t.Errorf("%v, %v; want three, used", all, uses)
	}
}

func TestRedeemForADevice(t *testing.T) {
	b, _, r := newBook(t)
	put := func(d devices.Device) {
		t.Helper()
		if err := r.PutDevice(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	code := func(device string) string {
		t.Helper()
		_, codes, err := b.Make(t.Context(), Claim{Device: device, Domain: map[bool]string{true: "", false: "water"}[r.Lookup(device) != nil]}, 1)
		if err != nil {
			t.Fatal(err)
		}
		return codes[0]
	}
	put(devices.Device{ID: "pole-1", Domain: "lighting", Name: "Pole", Secret: "old", LoRaWAN: &devices.LoRaWAN{DevEUI: "0102030405060708", AppSKey: strings.Repeat("5a", 16)}})
	got, err := b.Redeem(t.Context(), Redemption{Code: code("pole-1")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Lookup("pole-1"); d.HasSecret([]byte("old")) || !d.HasSecret([]byte(got.Secret)) || d.Name != "Pole" || d.LoRaWAN.AppSKey != strings.Repeat("5a", 16) || d.Domain != "lighting" {
		t.Errorf("%+v, want another secret and all else as before", d.Device)
	}
	if _, err := b.Redeem(t.Context(), Redemption{Code: code("pole-1"), Device: "pole-2"}, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("for another device: %v", err)
	}
	if got, err := b.Redeem(t.Context(), Redemption{Code: code("new")}, nil); err != nil || got.Device.ID != "new" || got.Device.Domain != "water" {
		t.Errorf("%+v, %v; want the new device", got, err)
	}
	for _, d := range []devices.Device{{ID: "off", Domain: "water", Status: devices.Disabled}, {ID: "cert", Domain: "water", Certificate: strings.Repeat("0", 64)}} {
		put(d)
		if _, err := b.Redeem(t.Context(), Redemption{Code: code(d.ID)}, nil); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v, want a conflict", d.ID, err)
		}
	}
}

// Two processes redeem one code at the same moment: one of them does.
func TestRedeemedOnce(t *testing.T) {
	a, m, r := newBook(t)
	b := open(t, m, r)
	_, codes, err := a.Make(t.Context(), Claim{Domain: "water"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	won := make(chan string, 20)
	for i := range 20 {
		wg.Go(func() {
			got, err := []*Book{a, b}[i%2].Redeem(t.Context(), Redemption{Code: codes[0], Device: fmt.Sprint("d", i), Remote: fmt.Sprintf("10.0.0.%d:1", i)}, nil)
			if err == nil {
				won <- got.Device.ID
			} else if !errors.Is(err, ErrCode) {
				t.Errorf("%v, want ErrCode", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || r.Len() != 1 {
		t.Errorf("%d redeemed it and %d devices are there, want one", len(won), r.Len())
	}
}

func TestExpiryAndBounds(t *testing.T) {
	b, m, _ := newBook(t)
	for want, f := range map[string]func() (Claim, int){
		"count: 0":        func() (Claim, int) { return Claim{Domain: "water"}, 0 },
		"count: 1001":     func() (Claim, int) { return Claim{Domain: "water"}, 1001 },
		"for one device":  func() (Claim, int) { return Claim{Domain: "water", Device: "x"}, 2 },
		"domain":          func() (Claim, int) { return Claim{Domain: "Wat er"}, 1 },
		"expires":         func() (Claim, int) { return Claim{Domain: "water", Expires: time.Now().Add(-time.Second)}, 1 },
		"within 366 days": func() (Claim, int) { return Claim{Domain: "water", Expires: time.Now().Add(MaxExpiry + time.Hour)}, 1 },
		"note":            func() (Claim, int) { return Claim{Domain: "water", Note: strings.Repeat("x", 501)}, 1 },
	} {
		c, n := f()
		if _, _, err := b.Make(t.Context(), c, n); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	_, codes, err := b.Make(t.Context(), Claim{Domain: "water", Expires: time.Now().Add(time.Hour)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	hash := hashOf(codes[0])
	b.mu.Lock()
	c := b.claims[hash]
	c.Expires = time.Now().Add(-time.Minute)
	b.claims[hash] = c
	b.mu.Unlock()
	if _, err := b.Redeem(t.Context(), Redemption{Code: codes[0]}, nil); !errors.Is(err, ErrCode) {
		t.Errorf("run out: %v, want ErrCode", err)
	}
	b.mu.Lock()
	c.Expires = time.Now().Add(-kept - time.Hour)
	b.claims[hash] = c
	b.mu.Unlock()
	b.sweep(t.Context())
	if all, _ := b.All(); len(all) != 0 || len(m.held) != 0 {
		t.Errorf("%v, want what was over long ago forgotten", all)
	}
	if err := b.Delete(t.Context(), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}

// Whoever guesses at codes has to wait, right ones or wrong.
func TestGuesses(t *testing.T) {
	b, _, _ := newBook(t)
	_, codes, err := b.Make(t.Context(), Claim{Domain: "water"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		try := func(code, remote string) error {
			_, err := b.Redeem(t.Context(), Redemption{Code: code, Remote: remote}, nil)
			return err
		}
		expires := b.claims[hashOf(codes[0])].Expires
		time.Sleep(time.Until(expires) - time.Hour) // the bubble's clock begins elsewhere
		for range freely + 1 {
			if err := try("x", "10.0.0.9:1"); !errors.Is(err, ErrCode) {
				t.Errorf("%v, want ErrCode", err)
			}
		}
		if _, waits := errors.AsType[Wait](try(codes[0], "10.0.0.9:2")); !waits {
			t.Error("a right code is looked at during the pause")
		}
		if err := try(codes[0], "10.0.0.10:1"); err != nil {
			t.Errorf("from another address: %v", err)
		}
		time.Sleep(1001 * time.Millisecond)
		if err := try(codes[1], "10.0.0.9:1"); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

type journal struct {
	mu  sync.Mutex
	all []audit.Entry
}

func (j *journal) Append(_ context.Context, e audit.Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, e)
	return nil
}

func TestPage(t *testing.T) {
	b, _, r := newBook(t)
	j := &journal{}
	d := &Desk{Book: b, Journal: j, Broker: func(host string) *Endpoint { return &Endpoint{Host: host, Port: 8883, TLS: true} }, Log: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	for pattern, h := range d.Routes() {
		mux.Handle(pattern, h)
	}
	srv := httptest.NewServer(mux)
	defer srv.Close()
	_, codes, err := b.Make(t.Context(), Claim{Domain: "lighting"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(language string, form url.Values) (int, string, http.Header) {
		t.Helper()
		method, body := http.MethodGet, ""
		if form != nil {
			method, body = http.MethodPost, form.Encode()
		}
		req, err := http.NewRequest(method, srv.URL+Path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept-Language", language)
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text), resp.Header
	}
	for language, want := range map[string]string{"it-IT": "Nuovo dispositivo", "en": "New device", "de": "Nuovo dispositivo"} {
		if code, body, h := ask(language, nil); code != 200 || !strings.Contains(body, want) || h.Get("Cache-Control") != "no-store" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v", language, code, h)
		}
	}
	code, body, _ := ask("en", url.Values{"code": {"<script>alert(1)</script>"}, "device": {`"><img src=x>`}, "lat": {"38,11"}, "lon": {"13.36"}})
	if code != 404 || strings.Contains(body, "<script>alert") || strings.Contains(body, "<img") || !strings.Contains(body, `role="alert"`) || !strings.Contains(body, `value="38,11"`) {
		t.Errorf("a wrong code: %d %s", code, body)
	}
	if code, _, _ := ask("en", url.Values{"code": {codes[0]}, "lat": {"north"}}); code != 422 {
		t.Errorf("a bad place: %d, want 422", code)
	}
	if code, _, _ := ask("en", url.Values{"code": {codes[0]}, "lat": {"38"}}); code != 422 {
		t.Errorf("half a place: %d, want 422", code)
	}
	if code, _, _ := ask("en", url.Values{"code": {strings.Repeat("x", 20_000)}}); code != 400 {
		t.Errorf("a long form: %d, want 400", code)
	}
	code, body, _ = ask("it", url.Values{"code": {codes[0]}, "device": {"SN-1"}, "lat": {"38,11"}, "lon": {"13.36"}})
	_, secret, _ := strings.Cut(body, "<dt>Segreto</dt><dd>")
	secret, _, _ = strings.Cut(secret, "<")
	if a := r.Lookup("SN-1"); code != 200 || a == nil || !a.HasSecret([]byte(secret)) || *a.Lat != 38.11 || !strings.Contains(body, "127.0.0.1") || !strings.Contains(body, ":8883 (TLS)") || !strings.Contains(body, "city/lighting/SN-1/telemetry") {
		t.Errorf("%d %s", code, body)
	}
	if code, _, _ := ask("it", url.Values{"code": {codes[1]}, "device": {"SN-1"}}); code != 409 {
		t.Errorf("a device that is there: %d, want 409", code)
	}
	if len(j.all) != 1 || j.all[0].Action != "claim.redeemed" || j.all[0].Object != "device/SN-1" || strings.Contains(fmt.Sprint(j.all), secret) || strings.Contains(fmt.Sprint(j.all), codes[0]) {
		t.Errorf("%+v, want one entry without code and secret", j.all)
	}
	// In clear from another machine no secret is told.
	w := httptest.NewRecorder()
	asked := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(url.Values{"code": {codes[1]}}.Encode()))
	asked.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	mux.ServeHTTP(w, asked.WithContext(context.WithValue(asked.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}))))
	if w.Code != 403 || r.Len() != 1 {
		t.Errorf("in clear: %d, want 403", w.Code)
	}
}
