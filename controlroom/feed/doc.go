// Package feed shows the live city over a websocket: /ws/v1/feed. FEED.md, a folder up, draws the
// frames.
//
//	live.State --Collect--> Hub --what matches--> group --frames--> client, client, client
//
// Subscriptions with the same topic, filter, rate and encoding are one group. A group numbers its
// frames, encodes each once, when the first client wants it, and holds the numbers of what changed
// for a while. A client holds nothing but its place in each of its groups: one that falls behind gets
// what changed since its place in one frame, with last values, so that memory is bounded by assets
// and not by slow clients. Events are kept in a ring and never merged: a client that the ring has
// overtaken is closed with 1013, as is one that takes too long to take a frame.
//
// The Hub has one goroutine; each client has two, one that reads and one that writes. A new frame of a
// state group is written to all of its clients in one go by a round, of which there is one a frame, so that
// the last of them gets it right after the first; the rest is left to the clients' own goroutines. A client
// that does not read blocks only itself.
package feed
