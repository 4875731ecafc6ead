package storage

import (
	"fmt"
	"math"
	"testing"
)

// A centre is stored only where it is not the middle, and never lost where there is no box.
func TestOffCentre(t *testing.T) {
	nan := float32(math.NaN())
	centre := []float32{0.3, 0.3000001, 0.31, 0.3, nan, 0.29}
	low := []float32{0.2, 0.2, 0.2, nan, 0.2, 0.2}
	high := []float32{0.4, 0.4, 0.4, nan, 0.4, 0.4}
	if got, want := fmt.Sprint(offCentre(centre, low, high)), "[NaN NaN 0.31 0.3 NaN 0.29]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if centre[0] != 0.3 {
		t.Error("the batch was changed")
	}
}
