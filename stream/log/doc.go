// Package log is the spine: everything that happened goes through it once, in batches, and every
// consumer reads it at its own pace and can be replayed.
//
// It is NATS JetStream, embedded in the process (no TCP port) or reached by URL; no other package
// knows that. One stream a kind of batch; observations, detections and uplinks are spread over
// partitions by a hash of the device, as subjects of one stream, so that one sequence orders all.
//
// Nothing is dropped that a registered consumer has not passed: streams refuse new batches at
// their bound, and what frees room is the janitor in Run, which purges only below the lowest
// position. While the log is full Publish blocks and says so. A consumer's position is an entry of
// the bucket "positions".
package log
