package accounts

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Parameters of new hashes: OWASP's for argon2id. They stand in every hash, so that they can be raised.
const (
	hashMemory  = 19 << 10 // KiB
	hashTime    = 2
	hashThreads = 1
	hashSalt    = 16
	hashBytes   = 32
)

// Bounds of passwords, in bytes.
const (
	MinPassword = 12
	MaxPassword = 256
)

// hashing bounds how many passwords are looked at at a time: each takes hashMemory.
var hashing = make(chan struct{}, 2)

// withHash runs f when there is room for one more.
func withHash(ctx context.Context, f func()) error {
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
		f()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hashPassword is what is kept of a password, in the PHC format.
func hashPassword(ctx context.Context, password string) (hash string, err error) {
	if n := len(password); n < MinPassword || n > MaxPassword {
		return "", fmt.Errorf("%w: a password of %d bytes, want %d to %d", ErrInvalid, n, MinPassword, MaxPassword)
	}
	salt := make([]byte, hashSalt)
	_, _ = rand.Read(salt) // it never fails
	err = withHash(ctx, func() {
		sum := argon2.IDKey([]byte(password), salt, hashTime, hashMemory, hashThreads, hashBytes)
		hash = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashThreads,
			base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
	})
	return hash, err
}

var errHash = errors.New("no argon2id hash")

// checkPassword reports whether hash is that of password, in time that does not depend on what differs.
func checkPassword(ctx context.Context, hash, password string) (ok bool, err error) {
	var version, memory, time, threads int
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, errHash
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &threads); err != nil || memory < 8 || memory > 256<<10 || time < 1 || time > 16 || threads < 1 || threads > 16 {
		return false, errHash
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, errHash
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) < 16 || len(want) > 64 {
		return false, errHash
	}
	err = withHash(ctx, func() {
		got := argon2.IDKey([]byte(password), salt, uint32(time), uint32(memory), uint8(threads), uint32(len(want)))
		ok = subtle.ConstantTimeCompare(got, want) == 1
	})
	return ok, err
}
