package accounts

import (
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/pquerna/otp/totp"
)

const (
	stepOf     = 30 * time.Second // a code of a second factor is for (RFC 6238)
	beside     = 1                // steps before and after that are taken, for clocks that are wrong
	remembered = 15 * time.Minute // that a code was used
)

// newTOTP makes a second factor.
func newTOTP(name string) (secret, url string, err error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "Panormus", AccountName: name})
	if err != nil {
		return "", "", fmt.Errorf("make a second factor: %w", err)
	}
	return key.Secret(), key.URL(), nil
}

// totpStep is the step of which code is, 0 for none: the one that is now, or one beside it.
func totpStep(secret, code string, now time.Time) int64 {
	found := int64(0)
	for d := -beside; d <= beside; d++ {
		at := now.Add(time.Duration(d) * stepOf)
		want, err := totp.GenerateCode(secret, at)
		step := at.Unix() / int64(stepOf/time.Second)
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			found = step
		}
	}
	return found
}
