package privacy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const keySize = 32 // bytes: AES-256, and the block that HMAC-SHA256 takes whole

// A Master is the key that wraps all others. It lies in a file, apart from the database and the log:
// who has these without the file has nothing. It is safe for concurrent use.
type Master struct {
	aead cipher.AEAD
	id   string
}

// NewMaster makes one of 32 random bytes.
func NewMaster(key []byte) (*Master, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("master key: %d bytes, want %d", len(key), keySize)
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	// Names the key in complaints, and says nothing of it.
	h := sha256.Sum256(append([]byte("panormus master key\x00"), key...))
	return &Master{aead: aead, id: hex.EncodeToString(h[:4])}, nil
}

// ID is a name to tell one master key from another by.
func (m *Master) ID() string { return m.id }

// LoadMaster reads a master key: a file of 64 hexadecimal digits that others cannot read.
func LoadMaster(file string) (*Master, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("master key: %s is no regular file", file)
	}
	// A group that may read is how secrets are mounted into containers.
	if mode := info.Mode().Perm(); mode&0o037 != 0 {
		return nil, fmt.Errorf("master key: %s has mode %04o, want 0600: others could read or replace it", file, mode)
	}
	if info.Size() > 1024 {
		return nil, fmt.Errorf("master key: %s has %d bytes, want %d hexadecimal digits", file, info.Size(), 2*keySize)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != keySize {
		// What is there is not repeated: it may be most of a key.
		return nil, fmt.Errorf("master key: %s does not hold %d hexadecimal digits", file, 2*keySize)
	}
	return NewMaster(key)
}

// MakeMaster is LoadMaster that makes the file where there is none. Processes that start together
// get the same key.
func MakeMaster(file string) (*Master, error) {
	m, err := LoadMaster(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	key := make([]byte, keySize)
	rand.Read(key)
	f, err := os.CreateTemp(dir, ".master-*") // of mode 0600
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("master key: write %s: %w", f.Name(), err)
	}
	// Linked, not renamed: of two processes the first one's stays.
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return LoadMaster(file)
}

// Wrap encrypts what is kept under a name; it can be opened under this name only.
func (m *Master) Wrap(name string, secret []byte) []byte { return sealed(m.aead, name, secret) }

// Unwrap opens what Wrap made.
func (m *Master) Unwrap(name string, wrapped []byte) ([]byte, error) {
	b, err := opened(m.aead, name, wrapped)
	if err != nil {
		return nil, fmt.Errorf("%s: not of this master key (%s): %w", name, m.id, err)
	}
	return b, nil
}

// sealVersion begins whatever is sealed: version, nonce of 12 bytes, AES-256-GCM with its tag.
const sealVersion = 1

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealed encrypts secret. The name it is kept under and the version are authenticated.
func sealed(aead cipher.AEAD, name string, secret []byte) []byte {
	n := aead.NonceSize()
	out := make([]byte, 1+n, 1+n+len(secret)+aead.Overhead())
	out[0] = sealVersion
	rand.Read(out[1:])
	return aead.Seal(out, out[1:1+n], secret, additional(name))
}

func opened(aead cipher.AEAD, name string, b []byte) ([]byte, error) {
	n := aead.NonceSize()
	switch {
	case len(b) < 1+n+aead.Overhead():
		return nil, fmt.Errorf("%d bytes, want at least %d", len(b), 1+n+aead.Overhead())
	case b[0] != sealVersion:
		return nil, fmt.Errorf("sealed in version %d, want %d", b[0], sealVersion)
	}
	return aead.Open(nil, b[1:1+n], b[1+n:], additional(name))
}

func additional(name string) []byte { return append([]byte(name), '|', '0'+sealVersion) }
