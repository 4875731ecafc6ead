package accounts

import (
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/pquerna/otp/totp"
)

// stepOf is how long a code of a second factor counts (RFC 6238).
const stepOf = 30 * time.Second

// newTOTP makes a second factor.
func newTOTP(name string) (secret, url string, err error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "Panormus", AccountName: name})
	if err != nil {
		return "", "", fmt.Errorf("make a second factor: %w", err)
	}
	return key.Secret(), key.URL(), nil
}

// totpStep is the step of which code is, 0 for none: the one that is now, or one beside it, if it comes
// after last.
func totpStep(secret, code string, last int64, now time.Time) int64 {
	found := int64(0)
	for d := -1; d <= 1; d++ {
		at := now.Add(time.Duration(d) * stepOf)
		want, err := totp.GenerateCode(secret, at)
		step := at.Unix() / int64(stepOf/time.Second)
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && step > last {
			found = step
		}
	}
	return found
}
