package auth

import (
	"bufio"
	"context"
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
)

// Tokens are who may ask. It is safe for concurrent use.
type Tokens struct {
	names  []string
	hashes [][sha256.Size]byte
}

// ReadTokens reads lines of `name:sha256:hexadecimal`; empty lines and those beginning with # are
// passed over.
func ReadTokens(r io.Reader) (*Tokens, error) {
	t := &Tokens{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":sha256:")
		raw, err := hex.DecodeString(hash)
		if !ok || name == "" || err != nil || len(raw) != sha256.Size {
			// The line is not repeated: somebody may have put the token itself there.
			return nil, fmt.Errorf("tokens: line %d, want name:sha256: and 64 hexadecimal digits", n)
		}
		t.names = append(t.names, name)
		t.hashes = append(t.hashes, [sha256.Size]byte(raw))
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

// NewToken makes a token of 256 random bits, and the line that the file needs for it.
func NewToken(name string) (token, line string, err error) {
	if name == "" || strings.ContainsAny(name, ":\n") {
		return "", "", fmt.Errorf("name %q, want one without colons", name)
	}
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", "", fmt.Errorf("make a token: %w", err)
	}
	token = base64.RawURLEncoding.EncodeToString(b[:])
	hash := sha256.Sum256([]byte(token))
	return token, name + ":sha256:" + hex.EncodeToString(hash[:]), nil
}

// Of returns the name of whoever asks: by `Authorization: Bearer token`, or by HTTP Basic with the
// token as password, where the name must be the token's. Every token is compared, in constant time.
func (t *Tokens) Of(r *http.Request) (string, bool) {
	claimed, token, basic := r.BasicAuth()
	if !basic {
		scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", false
		}
		token = strings.TrimSpace(rest)
	}
	hash := sha256.Sum256([]byte(token))
	found := -1
	for i := range t.hashes {
		if subtle.ConstantTimeCompare(hash[:], t.hashes[i][:]) == 1 {
			found = i
		}
	}
	if found < 0 || basic && t.names[found] != claimed {
		return "", false
	}
	return t.names[found], true
}

type nameKey struct{}

func withName(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, nameKey{}, name)
}

// Name is who asks, "" where nobody had to say.
func Name(ctx context.Context) string {
	name, _ := ctx.Value(nameKey{}).(string)
	return name
}
