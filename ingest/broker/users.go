package broker

import (
	"bufio"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Users are names with hashed passwords, as mosquitto_passwd writes them.
type Users struct {
	hashes map[string]passwordHash

	mu    sync.Mutex // one hash at a time: guessing must not take the machine
	known map[string][sha256.Size]byte
	salt  [16]byte
}

type passwordHash struct {
	iterations int
	salt, hash []byte
}

// LoadUsers reads a file of lines name:hash, the hash as of mosquitto_passwd (PBKDF2 with SHA-512)
// or HashPassword. Empty lines and those that begin with # are skipped.
func LoadUsers(path string) (*Users, error) {
	u := newUsers()
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read MQTT users: %w", err)
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("read MQTT users: %s:%d: no name and hash with a colon between", path, n)
		}
		if u.hashes[name], err = parseHash(hash); err != nil {
			return nil, fmt.Errorf("read MQTT users: %s:%d: user %q: %w", path, n, name, err)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("read MQTT users: %w", err)
	}
	return u, nil
}

func newUsers() *Users {
	u := &Users{hashes: map[string]passwordHash{}, known: map[string][sha256.Size]byte{}}
	_, _ = rand.Read(u.salt[:]) // it never fails
	return u
}

func parseHash(s string) (h passwordHash, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "7" {
		return h, fmt.Errorf("hash, want $7$iterations$salt$hash as mosquitto_passwd writes it")
	}
	if h.iterations, err = strconv.Atoi(parts[2]); err != nil || h.iterations < 1 || h.iterations > 1_000_000 {
		return h, fmt.Errorf("iterations %q, want 1 to 1000000", parts[2])
	}
	if h.salt, err = base64.StdEncoding.DecodeString(parts[3]); err != nil {
		return h, fmt.Errorf("salt: %w", err)
	}
	if h.hash, err = base64.StdEncoding.DecodeString(parts[4]); err != nil || len(h.hash) < 32 {
		return h, fmt.Errorf("hash of %d bytes, want base64 of at least 32", len(h.hash))
	}
	return h, nil
}

func (h passwordHash) matches(password []byte) bool {
	got, err := pbkdf2.Key(sha512.New, string(password), h.salt, h.iterations, len(h.hash))
	return err == nil && subtle.ConstantTimeCompare(got, h.hash) == 1
}

// nobody is hashed against when the name is unknown, so that the time tells nothing.
var nobody = passwordHash{iterations: hashIterations, salt: make([]byte, 12), hash: make([]byte, sha512.Size)}

// knows reports whether the user has this password.
func (u *Users) knows(user string, password []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	h, ok := u.hashes[user]
	if !ok {
		h = nobody
	}
	// The right password costs its hash once: ten thousand devices may come back at once.
	sum := sha256.Sum256(append(u.salt[:len(u.salt):len(u.salt)], password...))
	if k, have := u.known[user]; have && subtle.ConstantTimeCompare(k[:], sum[:]) == 1 {
		return true
	}
	if !h.matches(password) || !ok {
		return false
	}
	u.known[user] = sum
	return true
}

const hashIterations = 20_000

// HashPassword returns the hash of a password as LoadUsers reads it.
func HashPassword(password string) (string, error) {
	salt := make([]byte, 12)
	rand.Read(salt)
	hash, err := pbkdf2.Key(sha512.New, password, salt, hashIterations, sha512.Size)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	enc := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("$7$%d$%s$%s", hashIterations, enc(salt), enc(hash)), nil
}
