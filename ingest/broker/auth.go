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

	mqtt "github.com/mochi-mqtt/server/v2"

	"panormus/devices"
)

// A Grant is what a client may do. The zero Grant is everything but publishing to $ topics.
type Grant struct {
	// Device, where set, limits the client to topics that have a level of this name.
	Device string
}

// An Authenticator knows who may connect. It is safe for concurrent use.
type Authenticator interface {
	Authenticate(user string, password []byte) (Grant, bool)
}

func (b *Broker) authenticate(cl *mqtt.Client, user, password []byte) bool {
	if b.cfg.Auth == nil {
		return true
	}
	g, ok := b.cfg.Auth.Authenticate(string(user), password)
	if c, is := cl.Net.Conn.(*conn); is && ok {
		c.grant = g
	}
	return ok
}

// mayUse reports whether a client may publish to topic, or subscribe to it as a filter.
func (b *Broker) mayUse(cl *mqtt.Client, topic string, write bool) bool {
	if write && strings.HasPrefix(topic, "$") {
		return false
	}
	c, ok := cl.Net.Conn.(*conn)
	if !ok || c.grant.Device == "" {
		return true
	}
	for level := range strings.SplitSeq(topic, "/") {
		if level == c.grant.Device {
			return true
		}
	}
	return false
}

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
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read MQTT users: %w", err)
	}
	defer f.Close()
	u := &Users{hashes: map[string]passwordHash{}, known: map[string][sha256.Size]byte{}}
	rand.Read(u.salt[:])
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

// Authenticate implements Authenticator.
func (u *Users) Authenticate(user string, password []byte) (Grant, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	h, ok := u.hashes[user]
	if !ok {
		h = nobody
	}
	// The right password costs its hash once: ten thousand devices may come back at once.
	sum := sha256.Sum256(append(u.salt[:len(u.salt):len(u.salt)], password...))
	if k, have := u.known[user]; have && subtle.ConstantTimeCompare(k[:], sum[:]) == 1 {
		return Grant{}, true
	}
	if !h.matches(password) || !ok {
		return Grant{}, false
	}
	u.known[user] = sum
	return Grant{}, true
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

// Secrets lets devices in by their id and the secret that the registry has of them, each to its
// own topics only, and asks Else about all others.
type Secrets struct {
	Lookup func(id string) *devices.Asset
	Else   Authenticator // nil: nobody else
}

// Authenticate implements Authenticator.
func (s Secrets) Authenticate(user string, password []byte) (Grant, bool) {
	if a := s.Lookup(user); a != nil && a.Secret != "" {
		return Grant{Device: user}, a.HasSecret(password)
	}
	if s.Else == nil {
		return Grant{}, false
	}
	return s.Else.Authenticate(user, password)
}
