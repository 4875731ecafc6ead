package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// saveSignals remembers every signal's handler and returns what puts them back. The kernel's
// sigaction is 32 bytes on 64-bit machines, and opaque here.
func saveSignals() (restore func()) {
	const signals = 64
	var saved [signals + 1][4]uint64
	for sig := 1; sig <= signals; sig++ {
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&saved[sig])), 8, 0, 0)
	}
	return func() {
		for sig := 1; sig <= signals; sig++ {
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&saved[sig])), 0, 8, 0, 0)
		}
	}
}
