package feed

import "encoding/binary"

// The kinds of binary frames and the version of their layout, which FEED.md draws.
const (
	binaryVersion  = 1
	binarySnapshot = 1
	binaryMore     = 2
	binaryDelta    = 3
)

// binaryHead writes what comes before the body of a delta.
func binaryHead(kind byte, id string, seq uint64) []byte {
	dst := []byte{binaryVersion, kind, byte(len(id))}
	dst = append(dst, id...)
	return binary.LittleEndian.AppendUint64(dst, seq)
}

// binarySnapshotHead writes what comes before the body of a page of a snapshot.
func binarySnapshotHead(id, epoch string, seq uint64, more bool) []byte {
	kind := byte(binarySnapshot)
	if more {
		kind = binaryMore
	}
	dst := append(binaryHead(kind, id, seq), byte(len(epoch)))
	return append(dst, epoch...)
}
