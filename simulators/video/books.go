package video

import (
	"maps"
	"sync"
	"sync/atomic"
)

// A Book is the account of one camera since the start of Run or Play.
//
// A receiver that is right and was given Devices has Rows of the camera, whatever Repeated and
// Refused say: so many of each kind, by the words of the table detections. What it infers of them
// comes near Persons, Riders, Vehicles, In and Out: it sees pictures and no truth.
type Book struct {
	Camera string
	Format string
	// Fault is "lawless", "garbled", "lossy", "tampered", "forgetful" or nothing.
	Fault string
	// Messages is how many the camera sent, and Frames how many of those are pictures.
	Messages, Frames int64
	Rows             map[string]int64
	// Repeated is how many messages were sent a second time, byte for byte, and Cleared how many
	// retained states were deleted. Neither is news.
	Repeated, Cleared int64
	// NoPurpose and Garbage are what is to be refused: for want of a lawful ground, or because nobody
	// can read it.
	NoPurpose, Garbage int64
	// Persons, Riders and Vehicles are the different ones that were in a picture; riders are not among
	// the persons, nor their bicycles among the vehicles.
	Persons, Riders, Vehicles int64
	// In and Out are those of all three that crossed the line one way and the other; WrongWay are
	// vehicles among them.
	In, Out, WrongWay, Loiterers int64
	// Plates is how many plates were read.
	Plates int64
}

// Stats is what Run has done so far.
type Stats struct {
	// Published is how many MQTT messages were handed over, and Acked how many acknowledged; Pushed is
	// how many were pushed over HTTP and taken.
	Published, Acked, Pushed int64
	// Errors is how many messages were given up and connections lost.
	Errors int64
	// Books has one entry a camera, in order.
	Books []Book
}

type counters struct {
	published, acked, pushed, errors atomic.Int64
}

type books struct {
	mu            sync.Mutex
	all           []Book
	plates, names map[string]struct{}
}

// Stats may be called while Run runs.
func (s *System) Stats() Stats {
	c := &s.counters
	st := Stats{Published: c.published.Load(), Acked: c.acked.Load(), Pushed: c.pushed.Load(), Errors: c.errors.Load()}
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	st.Books = make([]Book, len(s.books.all))
	for i, b := range s.books.all {
		b.Rows = maps.Clone(b.Rows)
		st.Books[i] = b
	}
	return st
}

// keep enters a message that is about to be handed over.
func (b *Book) keep(m *message, lawful bool) {
	b.Messages++
	if m.frame {
		b.Frames++
	}
	switch {
	case m.garbage:
		b.Garbage++
	case len(m.payload) == 0:
		b.Cleared++
	case !lawful:
		b.NoPurpose++
	case m.repeated:
		b.Repeated++
	default:
		for what, n := range m.rows {
			b.Rows[what] += int64(n)
		}
		b.Plates += int64(m.rows[plateRead])
	}
}

// saw counts an object that is in a picture for the first time.
func (b *Book) saw(o *object) {
	switch {
	case o.class == person:
		b.Persons++
	case o.class == bicycle:
		b.Riders++
	default:
		b.Vehicles++
	}
}

func (b *Book) crossed(k *known) {
	if k.right {
		b.In++
	} else {
		b.Out++
	}
	if k.wrongWay {
		b.WrongWay++
	}
}
