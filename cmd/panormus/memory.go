package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
)

// memoryLimit is where the collector begins to work harder; with what the embedded database is
// given it keeps the whole under 2 GiB. Where that is too near to what is in use, see keepRoom.
// GOMEMLIMIT, where set, stands instead of both.
const memoryLimit = 800 << 20

// Bounds of moving the limit. Each move stops the process for an instant.
const (
	roomEvery = time.Second
	roomStep  = 64 << 20
)

// keepRoom leaves the collector half as much room again as is in use: 100,000 devices with as many open alarms
// are 620 MB, and to keep those below memoryLimit the collector took two fifths of the processor, and whoever asked
// for something waited for it. It goes no further than half of what the machine has, and back when less is in
// use. It ends with ctx.
func keepRoom(ctx context.Context) error {
	machine := machineMemory()
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
	}
	tick := time.NewTicker(roomEvery)
	defer tick.Stop()
	for limit := int64(memoryLimit); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(samples)
		v := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
		if next := nextLimit(limit, v(0), v(1)-v(2)-v(3)-v(4), machine); next != limit {
			limit = next
			debug.SetMemoryLimit(limit)
		}
	}
}

// nextLimit is the limit after one, with so many bytes of live objects and so many that are none, on a machine.
func nextLimit(now, live, beside, machine int64) int64 {
	want := (live + live/2 + beside + roomStep - 1) / roomStep * roomStep
	want = max(memoryLimit, min(want, machine/2/roomStep*roomStep))
	if want < now && now-want <= roomStep { // what is in use goes up and down
		return now
	}
	return want
}

// machineMemory is how many bytes this process may hope for: the machine's, or its container's.
func machineMemory() int64 {
	var st syscall.Sysinfo_t
	all := int64(0)
	if err := syscall.Sysinfo(&st); err == nil {
		all = int64(min(uint64(st.Totalram)*uint64(st.Unit), math.MaxInt64))
	}
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64); err == nil {
			all = min(all, n)
		}
	}
	return all
}
