package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// A Sealer encrypts what is kept under a name, so that only who has its key opens it, under that name alone;
// *privacy.Master is one. Every process of a city has the same key.
type Sealer interface {
	Wrap(name string, secret []byte) []byte
	Unwrap(name string, wrapped []byte) ([]byte, error)
}

// unopened stands for a second factor that this process has not got the key for: no code is its.
const unopened = "!"

// keptUser is a user as the bucket has it: the second factor lies there sealed.
func (b *Book) keptUser(u User) ([]byte, error) {
	if b.cfg.Seal != nil && u.TOTP != "" {
		if u.TOTP != unopened {
			u.Sealed = b.cfg.Seal.Wrap(userKey+u.Name, []byte(u.TOTP))
		}
		u.TOTP = ""
	}
	return json.Marshal(u)
}

// readUser reads what keptUser wrote, or an entry from before second factors were sealed.
func (b *Book) readUser(value []byte) (User, error) {
	var u User
	if err := json.Unmarshal(value, &u); err != nil || u.Sealed == nil {
		return u, err
	}
	u.TOTP = unopened
	if b.cfg.Seal == nil {
		return u, nil
	}
	secret, err := b.cfg.Seal.Unwrap(userKey+u.Name, u.Sealed)
	if err != nil {
		b.cfg.Log.Error("a second factor cannot be opened, and its user cannot log in", "user", u.Name, "error", err)
		return u, nil
	}
	u.TOTP = string(secret)
	return u, nil
}

// sealOld seals second factors that lie there as they are.
func (b *Book) sealOld(ctx context.Context) error {
	if b.cfg.Seal == nil {
		return nil
	}
	for _, old := range b.Users() {
		if old.TOTP == "" || old.Sealed != nil {
			continue
		}
		err := b.alter(ctx, userKey+old.Name, func() ([]byte, error) {
			u, ok := b.user(old.Name)
			if !ok || u.TOTP == "" || u.Sealed != nil {
				return nil, errDone
			}
			return b.keptUser(u)
		})
		if errors.Is(err, errDone) {
			continue
		}
		if err != nil {
			return fmt.Errorf("seal the second factor of %s: %w", old.Name, err)
		}
		b.cfg.Log.Info("a second factor was sealed", "user", old.Name)
	}
	return nil
}

// errDone says that another process was faster.
var errDone = errors.New("sealed already")
