package auth

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Tokens are a file's tokens. It is safe for concurrent use.
type Tokens struct {
	// Unnamed are those that name no role, and are therefore an admin's: from before there were roles.
	Unnamed []string

	names  []string
	hashes [][sha256.Size]byte
	grants []Grant
}

// ReadTokens reads lines of `name:sha256:hexadecimal`, after which words of ParseGrant may stand; a line
// without them is an admin's. Empty lines and those beginning with # are passed over.
func ReadTokens(r io.Reader) (*Tokens, error) {
	t := &Tokens{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, ok := strings.Cut(line, ":sha256:")
		words := strings.Fields(rest)
		if !ok || name == "" || len(words) == 0 {
			// The line is not repeated: somebody may have put the token itself there.
			return nil, fmt.Errorf("tokens: line %d, want name:sha256: and 64 hexadecimal digits", n)
		}
		raw, err := hex.DecodeString(words[0])
		if err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("tokens: line %d, want name:sha256: and 64 hexadecimal digits", n)
		}
		g := Grant{Role: Admin}
		if len(words) == 1 {
			t.Unnamed = append(t.Unnamed, name)
		} else if g, err = ParseGrant(words[1:]); err != nil {
			return nil, fmt.Errorf("tokens: line %d: %w", n, err)
		}
		t.names = append(t.names, name)
		t.hashes = append(t.hashes, [sha256.Size]byte(raw))
		t.grants = append(t.grants, g)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	if len(t.names) == 0 {
		return nil, fmt.Errorf("tokens: none, want at least one line name:sha256:…")
	}
	return t, nil
}

// LoadTokens reads a file of tokens.
func LoadTokens(file string) (*Tokens, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open tokens: %w", err)
	}
	defer f.Close()
	t, err := ReadTokens(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// ParseGrant reads words such as role=operator areas=lighting,waste@centro expires=2027-01-31: role,
// areas, rules, cameras, share, expires, lists with commas between. It checks the grant.
func ParseGrant(words []string) (Grant, error) {
	g, s := Grant{}, Scope{}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok || value == "" {
			return g, fmt.Errorf("%.60q, want role=, areas=, rules=, cameras=, share= or expires= and a value", word)
		}
		list := strings.Split(value, ",")
		switch key {
		case "role":
			g.Role = Role(value)
		case "areas":
			for _, v := range list {
				a, err := ParsePlace(v)
				if err != nil {
					return g, err
				}
				s.Areas = append(s.Areas, a)
			}
		case "rules":
			s.Rules = list
		case "cameras":
			s.Cameras = list
		case "share":
			s.Share = list
		case "expires":
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				if at, err = time.Parse(time.DateOnly, value); err != nil {
					return g, fmt.Errorf("expires=%.40q, want a day such as 2027-01-31, or RFC 3339", value)
				}
			}
			g.Expires = at.UTC()
		default:
			return g, fmt.Errorf("%.60q, want role=, areas=, rules=, cameras=, share= or expires= and a value", word)
		}
	}
	if !s.empty() || len(s.Share) > 0 {
		g.Scope = &s
	}
	return g, g.Check()
}

// NewToken makes a token of 256 random bits, and the line that the file needs for it.
func NewToken(name string) (token, line string, err error) {
	if name == "" || strings.ContainsAny(name, ":\n") {
		return "", "", fmt.Errorf("name %q, want one without colons", name)
	}
	token = Secret()
	return token, name + ":sha256:" + hex.EncodeToString(Digest(token)), nil
}

// Secret makes one of 256 random bits.
func Secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Digest is what is kept of a Secret: with 256 random bits in it one round of SHA-256 hides it.
func Digest(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Presented is the token that a request shows: by `Authorization: Bearer token`, or by HTTP Basic with
// the token as password, where the name must be the token's.
func Presented(r *http.Request) (claimed, token string, ok bool) {
	claimed, token, basic := r.BasicAuth()
	if basic {
		return claimed, token, token != ""
	}
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", "", false
	}
	token = strings.TrimSpace(rest)
	return "", token, token != ""
}

// ViaToken is Principal.Via of tokens.
const ViaToken = "token"

// Authenticate implements Authenticator. Every token is compared, in constant time.
func (t *Tokens) Authenticate(r *http.Request) (Principal, bool) {
	claimed, token, ok := Presented(r)
	if !ok {
		return Principal{}, false
	}
	hash, found := Digest(token), -1
	for i := range t.hashes {
		if subtle.ConstantTimeCompare(hash, t.hashes[i][:]) == 1 {
			found = i
		}
	}
	if found < 0 || claimed != "" && t.names[found] != claimed || !t.grants[found].Valid(time.Now()) {
		return Principal{}, false
	}
	return Principal{Name: t.names[found], Grant: t.grants[found], Via: ViaToken}, true
}

// Still implements Authenticator: a file's tokens end by their time alone.
func (t *Tokens) Still(p *Principal) bool {
	for i, name := range t.names {
		if name == p.Name && t.grants[i].Equal(p.Grant) {
			return p.Valid(time.Now())
		}
	}
	return false
}
