//go:build !linux

package embedded

import "errors"

func lower(int) error { return errors.New("only done on Linux") }
