// Package batch is the currency of the log: columnar batches, one schema a kind, as Arrow IPC
// streams. FORMAT.md in the folder above draws the bytes.
//
// A batch is built once, where its rows arise, and read by every consumer of the log; reading
// copies no column. Batches are values of one goroutine: nothing here locks.
package batch
