//go:build !unix

package codec

import "time"

var began = time.Now()

// cpuTime stands in for the processor time where it is not to be had.
func cpuTime() time.Duration { return time.Since(began) }
