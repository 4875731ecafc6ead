package main

import "testing"

// TestNextLimit: the collector has room where much is in use, and no more than the machine bears.
func TestNextLimit(t *testing.T) {
	const mb = 1 << 20
	for _, tc := range []struct {
		name                             string
		now, live, beside, machine, want int64
	}{
		{"a small city keeps the limit", 800 * mb, 300 * mb, 100 * mb, 16384 * mb, 800 * mb},
		{"a large one has half as much again", 800 * mb, 620 * mb, 94 * mb, 16384 * mb, 1024 * mb},
		{"whole steps", 800 * mb, 620 * mb, 95 * mb, 16384 * mb, 1088 * mb},
		{"not more than half of the machine", 800 * mb, 4000 * mb, 100 * mb, 4096 * mb, 2048 * mb},
		{"a small machine has the limit that it had", 800 * mb, 620 * mb, 100 * mb, 1024 * mb, 800 * mb},
		{"nothing known of the machine", 800 * mb, 620 * mb, 100 * mb, 0, 800 * mb},
		{"a little less in use changes nothing", 1088 * mb, 620 * mb, 94 * mb, 16384 * mb, 1088 * mb},
		{"much less does", 1088 * mb, 560 * mb, 94 * mb, 16384 * mb, 960 * mb},
		{"and nothing in use goes back", 1088 * mb, 50 * mb, 94 * mb, 16384 * mb, 800 * mb},
	} {
		if got := nextLimit(tc.now, tc.live, tc.beside, tc.machine); got != tc.want {
			t.Errorf("%s: nextLimit(%d, %d, %d, %d MB) = %d MB, want %d", tc.name, tc.now/mb, tc.live/mb, tc.beside/mb, tc.machine/mb, got/mb, tc.want/mb)
		}
	}
}
