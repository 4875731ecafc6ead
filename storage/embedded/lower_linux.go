package embedded

import (
	"fmt"
	"syscall"
)

// niceness is how far the child steps back behind this process: what it stores and merges can wait some
// milliseconds, frames and acknowledgements cannot. It takes idle time as ever, and a tenth of a share under full
// load; what then waits for it is the writer's lag. Linux compares niceness within a session or control group,
// which parent and child have in common; anybody may raise his own.
const niceness = 10

// lower has the child, first of a process group of its own, run after this process. Its threads take it over from
// those that start them.
func lower(pid int) error {
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0) // the kernel says 20 less the niceness
	if err == nil {
		err = syscall.Setpriority(syscall.PRIO_PGRP, pid, min(20-own+niceness, 19))
	}
	if err != nil {
		return fmt.Errorf("set the niceness of process group %d: %w", pid, err)
	}
	return nil
}
