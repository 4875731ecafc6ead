// Package embedded runs the database as a child process: it starts chdbd, waits until it answers,
// starts it again with growing pauses when it dies, and stops it cleanly.
//
// A Server has two addresses. The private socket, by Dial, takes everything and is open to the
// directory's owner alone. Addr, a loopback address, takes reading statements only; it is bound
// once and stays the same over restarts of the child.
//
// The child ends with its parent in whatever way that dies, and a lock in the data directory keeps
// a second one out, so that a killed parent leaves nothing behind that could harm its successor.
package embedded
