package devices

import (
	"strings"
	"testing"
	"testing/synctest"
)

// What is kept of secrets is a hash; what was kept in clear is hashed at the start.
func TestSecretsAreHashed(t *testing.T) {
	store := newMemory()
	store.held["d:old"] = []byte(`{"id":"old","domain":"water","status":"claimed","secret":"in clear","lorawan":{"app_s_key":"k"}}`)
	store.held["d:plain"] = []byte(`{"id":"plain","domain":"water"}`)
	synctest.Test(t, func(t *testing.T) {
		r := started(t, store)
		synctest.Wait()
		long := NewSecret()
		for id, secret := range map[string]string{"short": "s3cret", "long": long} {
			if err := r.PutDevice(t.Context(), Device{ID: id, Domain: "water", Secret: secret}); err != nil {
				t.Fatal(err)
			}
		}
		f := func(id, secret string, weak bool) {
			t.Helper()
			a := r.Lookup(id)
			if a.Secret != "" || !a.Locked() || a.WeakSecret() != weak {
				t.Errorf("%s: %+v locked %v weak %v; want no secret in clear, weak %v", id, a.Device, a.Locked(), a.WeakSecret(), weak)
			}
			for range 2 { // the second time from memory
				if !a.HasSecret([]byte(secret)) || a.HasSecret([]byte(secret+"x")) || a.HasSecret(nil) {
					t.Errorf("%s: the secret is not told from others", id)
				}
			}
			if held := string(store.held["d:"+id]); strings.Contains(held, secret) || !strings.Contains(held, `"credential":"`) {
				t.Errorf("%s is kept as %s", id, held)
			}
		}
		f("old", "in clear", true)
		f("short", "s3cret", true)
		f("long", long, false)
		if a := r.Lookup("old"); a.LoRaWAN == nil || a.LoRaWAN.AppSKey != "k" {
			t.Errorf("%+v, want its keys kept", a.Device)
		}
		if a := r.Lookup("plain"); a.Locked() || a.HasSecret(nil) || a.HasSecret([]byte("")) {
			t.Error("a device without a secret has one")
		}
		before := r.Lookup("long")
		for secret, same := range map[string]bool{"": true, long: true, NewSecret(): false} {
			if err := r.PutDevice(t.Context(), Device{ID: "long", Domain: "water", Secret: secret}); err != nil {
				t.Fatal(err)
			}
			if secret == "" || same {
				if !r.Lookup("long").SameSecret(before) {
					t.Errorf("put with %q: another secret, want the same", secret)
				}
			} else if r.Lookup("long").SameSecret(before) {
				t.Error("a new secret counts as the old one")
			}
			if err := r.PutDevice(t.Context(), Device{ID: "long", Domain: "water", Secret: long}); err != nil {
				t.Fatal(err)
			}
			before = r.Lookup("long")
		}
		if err := r.PutDevice(t.Context(), Device{ID: "long", Domain: "water", Status: Disabled}); err != nil {
			t.Fatal(err)
		}
		if r.Lookup("long").HasSecret([]byte(long)) {
			t.Error("a disabled device has its secret")
		}
	})
}

func TestCertificates(t *testing.T) {
	r := started(t, newMemory())
	const print = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	if err := r.PutDevice(t.Context(), Device{ID: "a", Domain: "water", Certificate: "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF"}); err != nil {
		t.Fatal(err)
	}
	if a := r.LookupCertificate(print); a == nil || a.ID != "a" {
		t.Fatalf("%v, want a", a)
	}
	for _, wrong := range []string{"x", "00", print + "00"} {
		if err := r.PutDevice(t.Context(), Device{ID: "b", Domain: "water", Certificate: wrong}); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%q: %v, want it refused", wrong, err)
		}
	}
	if err := r.PutDevice(t.Context(), Device{ID: "a", Domain: "water"}); err != nil {
		t.Fatal(err)
	}
	if a := r.LookupCertificate(print); a != nil {
		t.Errorf("%v, want nobody once it was taken from it", a)
	}
	if err := r.PutDevice(t.Context(), Device{ID: "a", Domain: "water", Secret: strings.Repeat("x", 513)}); err == nil {
		t.Error("a secret of 513 bytes is taken")
	}
}
