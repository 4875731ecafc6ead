package lorawan

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"panormus/devices"
	"panormus/ingest/lorawan/frame"
)

// A Bucket keeps small values durably.
type Bucket interface {
	Get(ctx context.Context, key string) ([]byte, bool, error)
	Put(ctx context.Context, key string, value []byte) error
}

// Sessions keep a frame.Table and Codecs in step with the registry, and the frame counters in a
// Bucket, so that a restart neither takes a replay in nor refuses a fresh frame.
//
// What is written is what the table said at least one interval ago, after all that was in the pump
// then has reached the log: a frame that is lost with the process is not held to have come. What
// came later is read from the uplinks of the log at the next start, see CatchUp.
type Sessions struct {
	Table    *frame.Table
	Codecs   *Codecs
	Registry *devices.Registry
	Bucket   Bucket
	Log      *slog.Logger

	mu       sync.Mutex
	kept     map[string]kept // of devices that the table does not hold yet
	sums     map[string]sum  // of the keys in the table
	policies map[string]frame.Policy
	written  [keptShards][sha256.Size]byte
}

// sum tells keys apart: counters belong to them.
type sum [8]byte

type kept struct {
	sum   sum
	any   bool // of whatever keys
	state frame.State
}

// keptShards is into how many values the states are cut.
const keptShards = 256

const seqKey = "uplinks"

func shardKey(i int) string { return fmt.Sprintf("states-%02x", i) }

func sumOf(k frame.Keys) sum {
	h := sha256.Sum256(fmt.Append(nil, k.V11, k.DevAddr, k.FNwkSInt, k.SNwkSInt, k.NwkSEnc))
	return sum(h[:8])
}

// Load reads what the Bucket keeps. It returns the sequence of the uplinks from which to CatchUp,
// and false where nothing was kept yet.
func (s *Sessions) Load(ctx context.Context) (seq uint64, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.sums, s.policies = map[string]kept{}, map[string]sum{}, map[string]frame.Policy{}
	b, ok, err := s.Bucket.Get(ctx, seqKey)
	if err != nil || !ok || len(b) != 8 {
		return 0, false, err
	}
	for i := range keptShards {
		states, _, err := s.Bucket.Get(ctx, shardKey(i))
		if err != nil {
			return 0, false, fmt.Errorf("read frame counters: %w", err)
		}
		s.read(states)
	}
	return binary.BigEndian.Uint64(b), true, nil
}

// stateSize is what frame.State takes.
var stateSize = binary.Size(frame.State{})

// read takes in one value of the Bucket, as far as it makes sense.
func (s *Sessions) read(b []byte) {
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n+len(sum{})+stateSize {
			return
		}
		id := string(b[1 : 1+n])
		b = b[1+n:]
		k := kept{sum: sum(b[:8])}
		if _, err := binary.Decode(b[8:], binary.LittleEndian, &k.state); err != nil {
			return
		}
		s.kept[id] = k
		b = b[8+stateSize:]
	}
}

// Follow makes the table and the codecs what the registry says, now and at every change.
func (s *Sessions) Follow() {
	s.Registry.Vet(s.Codecs.Check)
	s.Registry.Follow(s.changed)
	for _, p := range s.Registry.Profiles() {
		s.changed(devices.KindProfile, p.ID)
	}
	for _, a := range s.Registry.All() {
		s.changed(devices.KindDevice, a.ID)
	}
}

func (s *Sessions) changed(kind devices.Kind, id string) {
	switch kind {
	case devices.KindDevice:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.device(id)
	case devices.KindProfile:
		s.profile(id)
	}
}

// device enters a device into the table. s.mu is held.
func (s *Sessions) device(id string) {
	a := s.Registry.Lookup(id)
	var k frame.Keys
	ok := false
	if a != nil {
		var err error
		if k, ok, err = frame.KeysOf(a.LoRaWAN); err != nil {
			s.Log.Warn("a device's LoRaWAN session is not usable", "device", id, "error", err)
		}
	}
	if !ok {
		if _, had := s.sums[id]; had {
			delete(s.sums, id)
			s.Table.Remove(id)
		}
		return
	}
	var state frame.State
	keys := sumOf(k)
	if old, had := s.kept[id]; had && (old.any || old.sum == keys) {
		state = old.state
	}
	delete(s.kept, id)
	if err := s.Table.Put(id, k, s.policies[a.Profile], state); err != nil {
		s.Log.Warn("a device's LoRaWAN session is not usable", "device", id, "error", err)
		return
	}
	s.sums[id] = keys
}

// profile compiles the codec of a profile and enters its devices anew where its policy changed.
func (s *Sessions) profile(id string) {
	p := s.Registry.Profile(id)
	if err := s.Codecs.Put(id, p); err != nil {
		s.Log.Warn("a codec does not compile; the one before stays", "profile", id, "error", err)
	}
	policy := frame.Refuse
	if p != nil && p.LoRaWAN != nil {
		var err error
		if policy, err = frame.ParsePolicy(p.LoRaWAN.CounterPolicy); err != nil {
			s.Log.Warn("a profile's frame counter policy is none", "profile", id, "error", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policies[id] == policy {
		return
	}
	s.policies[id] = policy
	for _, a := range s.Registry.All() {
		if a.Profile == id && a.LoRaWAN != nil {
			s.device(a.ID)
		}
	}
}

// A Snapshot is the counters at some time.
type Snapshot struct {
	seq    uint64
	shards [keptShards][]byte
}

// Snapshot takes the counters. seq is that of the last uplinks on the log, read before.
func (s *Sessions) Snapshot(seq uint64) *Snapshot {
	snap := &Snapshot{seq: seq}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, st := range s.Table.States {
		keys, ok := s.sums[id]
		if !ok || !st.Any {
			continue
		}
		h := fnv.New32a()
		h.Write([]byte(id))
		shard := &snap.shards[h.Sum32()%keptShards]
		*shard = append(*shard, byte(len(id)))
		*shard = append(append(*shard, id...), keys[:]...)
		var err error
		if *shard, err = binary.Append(*shard, binary.LittleEndian, st); err != nil {
			panic(fmt.Sprintf("BUG: %v", err)) // a State is of fixed size
		}
	}
	return snap
}

// Save writes a snapshot, of which all frames must be on the log.
func (s *Sessions) Save(ctx context.Context, snap *Snapshot) error {
	for i, b := range snap.shards {
		h := sha256.Sum256(b)
		if h == s.written[i] {
			continue
		}
		if err := s.Bucket.Put(ctx, shardKey(i), b); err != nil {
			return fmt.Errorf("keep frame counters: %w", err)
		}
		s.written[i] = h
	}
	// Last: states ahead of the sequence do no harm, a sequence ahead of them would.
	if err := s.Bucket.Put(ctx, seqKey, binary.BigEndian.AppendUint64(nil, snap.seq)); err != nil {
		return fmt.Errorf("keep frame counters: %w", err)
	}
	return nil
}

// saveEvery is how often the counters are kept.
const saveEvery = 10 * time.Second

// Run keeps the counters until ctx ends, then once more: end the pump before. flush waits until what
// is in the pump is on the log, last returns the sequence of the last uplinks there.
func (s *Sessions) Run(ctx context.Context, flush func(context.Context) error, last func(context.Context) (uint64, error)) error {
	take := func(ctx context.Context) (*Snapshot, error) {
		seq, err := last(ctx)
		if err != nil {
			return nil, err
		}
		return s.Snapshot(seq), nil
	}
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	var before *Snapshot
	for {
		select {
		case <-tick.C:
			if before != nil {
				if err := flush(ctx); err != nil {
					continue
				}
				if err := s.Save(ctx, before); err != nil && ctx.Err() == nil {
					return err
				}
			}
			var err error
			if before, err = take(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			snap, err := take(end)
			if err != nil {
				return err
			}
			return s.Save(end, snap)
		}
	}
}
