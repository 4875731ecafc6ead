package lorawan

import (
	"sync"
	"sync/atomic"
)

// A Book is the account of one node since the start of Run. Nodes that the registry knows are named
// by their id there, and so are strangers, whom it does not know. Gateways have none.
//
// A receiver that is right, was given Devices and Profiles, had heard nothing of the nodes before
// and refuses counters that go back, has Observations of the device, whatever Resets, Replays and
// Refused say, and Receptions rows of radio metadata, less what reached it too late to be taken
// for the same frame: copies leave within 75 ms of each other, but machines and networks add to that.
// One that accepts such counters has Resets more uplinks, with ResetObservations and ResetReceptions.
type Book struct {
	Device string
	// Fault is "wrong key", "stranger", "resetting" (its counter restarts), "replayed" or nothing.
	Fault string
	// Sent is how many frames the node sent, and Heard how many of them any gateway did; only those
	// are handed over.
	Sent, Heard int64
	// Uplinks are those of Heard that are to be taken in, once each, with Observations in all. A
	// gateway that heard one makes a reception.
	Uplinks, Observations, Receptions          int64
	Resets, ResetObservations, ResetReceptions int64
	// Replays is how many frames were handed over a second time, to nobody's benefit.
	Replays int64
	// Refused is how many of Heard nobody can read: of an unknown DevAddr or with a wrong MIC.
	Refused int64
}

// Stats is what Run has done so far.
type Stats struct {
	// Book has the sums of all.
	Book
	// Datagrams is how many PUSH_DATA were sent, status reports included, and Acked how many PUSH_ACK
	// came; Pulls and PullAcks likewise for PULL_DATA.
	Datagrams, Acked, Pulls, PullAcks int64
	// Published is how many MQTT messages were handed over, and PublishAcks how many acknowledged.
	Published, PublishAcks int64
	// Reports is how many gateways' statuses went out, either way.
	Reports int64
	// Errors is how many datagrams could not be sent, MQTT messages were given up and connections lost.
	Errors int64
	// Books has one entry a node, in order.
	Books []Book
}

type counters struct {
	datagrams, acked, pulls, pullAcks, published, publishAcks, reports, errors atomic.Int64
}

type books struct {
	mu   sync.Mutex
	all  []Book
	last []counterState
}

// counterState is what a receiver remembers of a node: the greatest counter that it took in.
type counterState struct {
	any  bool
	last uint32
}

// keep enters u, which is about to be handed over if anybody heard it.
func (b *books) keep(u *uplink) {
	b.mu.Lock()
	defer b.mu.Unlock()
	book, st := &b.all[u.node.index], &b.last[u.node.index]
	book.Sent++
	if len(u.heard) == 0 {
		return
	}
	book.Heard++
	receptions := int64(len(u.heard))
	switch {
	case u.node.fault == wrongKey || u.node.fault == stranger:
		book.Refused++
	case u.node.path == byGateways && st.any && u.fCnt <= st.last:
		book.Resets++
		book.ResetObservations += u.observations()
		book.ResetReceptions += receptions
	default:
		st.any, st.last = true, u.fCnt
		book.Uplinks++
		book.Observations += u.observations()
		book.Receptions += receptions
	}
}

func (b *books) replayed(nd *node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[nd.index].Replays++
}

// Stats may be called while Run runs.
func (n *Network) Stats() Stats {
	c := &n.counters
	s := Stats{
		Datagrams: c.datagrams.Load(), Acked: c.acked.Load(), Pulls: c.pulls.Load(), PullAcks: c.pullAcks.Load(),
		Published: c.published.Load(), PublishAcks: c.publishAcks.Load(), Reports: c.reports.Load(), Errors: c.errors.Load(),
	}
	n.books.mu.Lock()
	defer n.books.mu.Unlock()
	s.Books = append(s.Books, n.books.all...)
	for i := range s.Books {
		s.add(&s.Books[i])
	}
	return s
}

func (b *Book) add(o *Book) {
	b.Sent += o.Sent
	b.Heard += o.Heard
	b.Uplinks += o.Uplinks
	b.Observations += o.Observations
	b.Receptions += o.Receptions
	b.Resets += o.Resets
	b.ResetObservations += o.ResetObservations
	b.ResetReceptions += o.ResetReceptions
	b.Replays += o.Replays
	b.Refused += o.Refused
}
