package embedded

import (
	"fmt"
	"os"
	"path/filepath"
)

// Check reports whether what cfg names is there to be started: the program and its library. It
// starts nothing.
func Check(cfg Config) error {
	binary, err := findBinary(cfg.Binary)
	if err != nil {
		return err
	}
	library := cfg.Library
	if library == "" {
		library = os.Getenv("PANORMUS_LIBCHDB")
	}
	if library == "" {
		library = filepath.Join(filepath.Dir(binary), "libchdb.so")
	}
	if _, err := os.Stat(library); err != nil {
		return fmt.Errorf("find libchdb.so: %w; `make build` puts it beside chdbd", err)
	}
	return nil
}
