package login

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"panormus/controlroom/auth"
	"panormus/stream/privacy"
)

// A liar is a provider that signs whatever it is told to.
type liar struct {
	url string
	key *rsa.PrivateKey
	say func(claims map[string]any) string // the id_token
	// nonce is what the login asked for.
	nonce string
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// signed is a token under a header, signed as sign does.
func signed(header, claims map[string]any, sign func([]byte) []byte) string {
	text := encoded(header) + "." + encoded(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(text)))
}

func (l *liar) rs256(key *rsa.PrivateKey) func([]byte) []byte {
	return func(b []byte) []byte {
		sum := sha256.Sum256(b)
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return sig
	}
}

func newLiar(t *testing.T) *liar {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{key: key}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": l.url, "authorization_endpoint": l.url + "/authorize", "token_endpoint": l.url + "/token", "jwks_uri": l.url + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "kid": "k", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now().Unix()
		claims := map[string]any{"iss": l.url, "aud": "panormus", "sub": "1", "iat": now, "exp": now + 600, "nonce": l.nonce, "groups": []string{"admins"}, "email": "rosalia@comune.example"}
		answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "expires_in": 600, "id_token": l.say(claims)})
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	l.url = srv.URL
	return l
}

// TestForgedTokens has a provider answer with tokens that are not what they should be; the whole one lets in.
func TestForgedTokens(t *testing.T) {
	l := newLiar(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&l.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(secret []byte) func([]byte) []byte {
		return func(b []byte) []byte {
			m := hmac.New(sha256.New, secret)
			m.Write(b)
			return m.Sum(nil)
		}
	}
	rs := map[string]any{"alg": "RS256", "kid": "k"}
	with := func(header map[string]any, sign func([]byte) []byte, changes ...any) func(map[string]any) string {
		return func(claims map[string]any) string {
			for i := 0; i+1 < len(changes); i += 2 {
				claims[changes[i].(string)] = changes[i+1]
			}
			return signed(header, claims, sign)
		}
	}
	nothing := func([]byte) []byte { return nil }
	good := l.rs256(l.key)
	for name, say := range map[string]func(map[string]any) string{
		"whole":                        with(rs, good),
		"alg none":                     with(map[string]any{"alg": "none"}, nothing),
		"alg None":                     with(map[string]any{"alg": "None", "kid": "k"}, nothing),
		"no signature":                 with(rs, nothing),
		"the public key as a secret":   with(map[string]any{"alg": "HS256", "kid": "k"}, hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))),
		"the client's secret":          with(map[string]any{"alg": "HS256", "kid": "k"}, hs256([]byte("hush hush"))),
		"another's key":                with(rs, l.rs256(stranger)),
		"a key of its own in it":       with(map[string]any{"alg": "RS256", "jwk": map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(stranger.N.Bytes()), "e": "AQAB"}}, l.rs256(stranger)),
		"a key elsewhere":              with(map[string]any{"alg": "RS256", "kid": "k", "jku": "https://attacker.example/keys"}, l.rs256(stranger)),
		"run out":                      with(rs, good, "exp", time.Now().Add(-time.Hour).Unix()),
		"not yet":                      with(rs, good, "nbf", time.Now().Add(time.Hour).Unix()),
		"no end":                       with(rs, good, "exp", nil),
		"another audience":             with(rs, good, "aud", "another"),
		"other audiences":              with(rs, good, "aud", []string{"another", "third"}),
		"another issuer":               with(rs, good, "iss", "https://attacker.example"),
		"another login's nonce":        with(rs, good, "nonce", auth.Secret()),
		"no nonce":                     with(rs, good, "nonce", ""),
		"an access token in its place": func(map[string]any) string { return "x" },
		"claims that were changed": func(c map[string]any) string {
			a := strings.Split(signed(rs, c, good), ".")
			c["sub"] = "2"
			return a[0] + "." + encoded(c) + "." + a[2]
		},
		"no token":                      func(map[string]any) string { return "" },
		"roles that are no list of any": with(rs, good, "groups", map[string]any{}),
	} {
		t.Run(name, func(t *testing.T) {
			l.say = say
			o := &OIDC{Issuer: l.url, ClientID: "panormus", ClientSecret: "hush hush", Name: "Comune", Roles: []RoleOf{{Value: "admins", Grant: auth.Grant{Role: auth.Admin}}}}
			var err error
			if o.Seal, err = privacy.NewMaster(bytes.Repeat([]byte{7}, 32)); err != nil {
				t.Fatal(err)
			}
			r := newRoom(t, func(d *Desk) { d.OIDC = o })
			begin := func() url.Values {
				resp, _ := r.do("GET", "/login/oidc", nil)
				to, err := url.Parse(resp.Header.Get("Location"))
				if err != nil || resp.StatusCode != 303 {
					t.Fatalf("%s %v", resp.Status, err)
				}
				l.nonce = to.Query().Get("nonce")
				return url.Values{"state": {to.Query().Get("state")}, "code": {"c"}}
			}
			resp, body := r.do("GET", "/login/callback?"+begin().Encode(), nil)
			if in := cookieOf(resp) != nil && resp.StatusCode == 303; in != (name == "whole") {
				t.Errorf("let in: %v; %s %.300s", in, resp.Status, body)
			}
			if name != "whole" {
				return
			}
			q := begin()
			q.Set("iss", "https://attacker.example") // two providers mixed up
			if resp, _ := r.do("GET", "/login/callback?"+q.Encode(), nil); resp.StatusCode != 400 {
				t.Errorf("an answer of another provider: %s", resp.Status)
			}
			q = begin()
			q.Set("iss", l.url)
			if resp, _ := r.do("GET", "/login/callback?"+q.Encode(), nil); resp.StatusCode != 303 {
				t.Errorf("an answer that says whose it is: %s", resp.Status)
			}
		})
	}
}
