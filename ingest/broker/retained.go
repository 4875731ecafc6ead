package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A Shelf keeps retained messages when the process is gone; *log.KV is one. Keys are hexadecimal.
type Shelf interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	// Watch tells of every entry held, then calls synced, then tells of changes until ctx ends.
	Watch(ctx context.Context, change func(key string, value []byte), synced func()) error
}

const (
	// shelveEvery is how often what is new goes to the shelf, and so how much of it a crash may lose. A topic
	// that changes more often is written once.
	shelveEvery = 100 * time.Millisecond
	// shelveMost is how many are written at a time; others wait.
	shelveMost = 500
	// maxShelved is the largest payload that is kept when the process is gone, and maxShelf of all together.
	maxShelved = 64 << 10
	maxShelf   = 256 << 20
)

// A shelver writes retained messages to a shelf, behind those who publish them: they do not wait for it.
type shelver struct {
	broker *Broker
	shelf  Shelf

	mu    sync.Mutex
	dirty map[string][]byte // by key; nil: to be removed
	sizes map[string]int    // of what is on the shelf, or about to be
	bytes int
	hand  int           // being written
	left  atomic.Uint64 // messages that were not taken
}

func newShelver(b *Broker, shelf Shelf) *shelver {
	return &shelver{broker: b, shelf: shelf, dirty: map[string][]byte{}, sizes: map[string]int{}}
}

func shelfKey(topic string) string {
	sum := sha256.Sum256([]byte(topic))
	return hex.EncodeToString(sum[:])
}

// load gives the broker what the shelf holds, as far as it fits. What cannot be read is removed.
func (s *shelver) load(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	synced, now := false, time.Now().Unix()
	err := s.shelf.Watch(ctx, func(key string, value []byte) {
		if synced || value == nil {
			return
		}
		var m storage.Message
		if err := json.Unmarshal(value, &m); err != nil || shelfKey(m.TopicName) != key || len(m.Payload) == 0 || s.broker.cfg.Pump.Personal([]byte(m.TopicName)) {
			s.dirty[key] = nil
			return
		}
		pk := m.ToPacket()
		if e := m.Properties.MessageExpiryInterval; e > 0 {
			pk.ProtocolVersion, pk.Expiry = 5, m.Created+int64(e)
		}
		if pk.Expiry > 0 && pk.Expiry < now || s.broker.server.Topics.Retained.Len() >= s.broker.cfg.MaxRetained {
			s.dirty[key] = nil
			return
		}
		s.broker.server.Topics.RetainMessage(pk)
		s.sizes[key] = len(value)
		s.bytes += len(value)
	}, func() {
		synced = true
		cancel()
	})
	if !synced {
		return fmt.Errorf("read retained messages: %w", err)
	}
	atomic.StoreInt64(&s.broker.server.Info.Retained, int64(s.broker.server.Topics.Retained.Len()))
	return nil
}

// retained notes a message that was retained, or that one was removed where it has no payload. What cameras
// tell is not kept: it may be about people, and is stored as their purpose allows and nowhere else.
func (s *shelver) retained(pk packets.Packet) {
	key := shelfKey(pk.TopicName)
	if len(pk.Payload) == 0 {
		s.note(key, nil)
		return
	}
	if s.broker.cfg.Pump.Personal([]byte(pk.TopicName)) || len(pk.Payload) > maxShelved {
		s.left.Add(1)
		s.note(key, nil) // the older one is true no more
		return
	}
	p := pk.Properties
	value, err := json.Marshal(storage.Message{
		T: storage.RetainedKey, FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: pk.FixedHeader.Qos, Retain: true}, TopicName: pk.TopicName,
		Payload: pk.Payload, Created: pk.Created, Properties: storage.MessageProperties{
			PayloadFormat: p.PayloadFormat, PayloadFormatFlag: p.PayloadFormatFlag, MessageExpiryInterval: p.MessageExpiryInterval, ContentType: p.ContentType,
			ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData, User: p.User,
		},
	})
	if err != nil {
		panic("BUG: a message that JSON cannot say: " + err.Error())
	}
	s.note(key, value)
}

func (s *shelver) note(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, there := s.sizes[key]
	if value != nil && s.bytes-old+len(value) > maxShelf {
		s.left.Add(1)
		value = nil
	}
	if value == nil {
		if !there {
			return
		}
		delete(s.sizes, key)
		s.bytes -= old
	} else {
		s.sizes[key] = len(value)
		s.bytes += len(value) - old
	}
	s.dirty[key] = value
}

// run writes until stop closes, and then what is left, for 2 s at most.
func (s *shelver) run(stop <-chan struct{}) {
	tick := time.NewTicker(shelveEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			ctx, cancel := context.WithTimeout(context.Background(), drain/2)
			defer cancel()
			for s.write(ctx) {
			}
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		s.write(ctx)
		cancel()
	}
}

// pending is how many are yet to be written.
func (s *shelver) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dirty) + s.hand
}

// write writes some of what is new and reports whether there may be more that the shelf takes now.
func (s *shelver) write(ctx context.Context) bool {
	s.mu.Lock()
	batch := make(map[string][]byte, min(shelveMost, len(s.dirty)))
	for key, value := range s.dirty {
		if len(batch) == shelveMost {
			break
		}
		batch[key] = value
		delete(s.dirty, key)
	}
	more := len(s.dirty) > 0
	s.hand = len(batch)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hand = 0
	}()
	for key, value := range batch {
		var err error
		if value == nil {
			err = s.shelf.Delete(ctx, key)
		} else {
			err = s.shelf.Put(ctx, key, value)
		}
		if err == nil {
			delete(batch, key)
			continue
		}
		if ctx.Err() == nil {
			s.broker.cfg.Logger.Warn("retained messages could not be kept; trying again", "error", err)
		}
		s.mu.Lock()
		for key, value := range batch { // what is newer stands
			if _, newer := s.dirty[key]; !newer {
				s.dirty[key] = value
			}
		}
		s.mu.Unlock()
		return false
	}
	return more
}
