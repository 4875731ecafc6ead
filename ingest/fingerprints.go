package ingest

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// ways is how many fingerprints share a bucket: one cache line.
const ways = 8

// A printTable remembers the fingerprints of the messages seen last: a new one replaces the oldest
// of its bucket. It belongs to whoever holds its lane's lock.
type printTable struct {
	buckets [][ways]uint64
}

func newPrintTable(entries int) *printTable {
	n := 1
	for n*ways < entries {
		n *= 2
	}
	return &printTable{buckets: make([][ways]uint64, n)}
}

func (t *printTable) bucket(f uint64) *[ways]uint64 {
	return &t.buckets[f>>16&uint64(len(t.buckets)-1)]
}

// has reports whether f was added and not replaced since.
func (t *printTable) has(f uint64) bool {
	b := t.bucket(f)
	for i := range b {
		if b[i] == f {
			return true
		}
	}
	return false
}

func (t *printTable) add(f uint64) {
	b := t.bucket(f)
	copy(b[1:], b[:ways-1])
	b[0] = f
}

// addOld adds f as older than all others, or not at all.
func (t *printTable) addOld(f uint64) {
	b := t.bucket(f)
	for i := range b {
		if b[i] == f {
			return
		}
		if b[i] == 0 {
			b[i] = f
			return
		}
	}
}

// printOf is the fingerprint of a message that says when it was measured: the same again is no
// news, however it is sent. The functions are part of the log's format: fingerprints are kept
// there.
func printOf(topic string, payload []byte) uint64 {
	return mix(xxhash.Sum64String(topic), xxhash.Sum64(payload))
}

// printOfDelivery is the fingerprint of a message without a time: the same content may be news, the
// same delivery is not.
func printOfDelivery(client string, packetID uint16, topic string, payload []byte) uint64 {
	var id [2]byte
	binary.LittleEndian.PutUint16(id[:], packetID)
	return mix(mix(xxhash.Sum64String(client), xxhash.Sum64(id[:])), printOf(topic, payload))
}

// printOfReplay is the fingerprint of a message without a time that came from the dead letter.
func printOfReplay(received int64, topic string, payload []byte) uint64 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(received))
	return mix(xxhash.Sum64(at[:]), printOf(topic, payload))
}

// mix joins two hashes into one; it is never 0, which stands for an empty place.
func mix(a, b uint64) uint64 {
	h := (a^0x9e3779b97f4a7c15)*0xbf58476d1ce4e5b9 ^ b
	h ^= h >> 32
	h *= 0x94d049bb133111eb
	h ^= h >> 29
	return max(h, 1)
}
