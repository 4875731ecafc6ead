// Package notify tells people and other systems of events: by webhook, by e-mail and over MQTT.
//
//	events on the log --> one Queue a receiver: routes, groups, outbox --> Sender --> the receiver
//	                                                   |
//	                                                   +--> dead letters, which can be replayed
//
// A queue reads the log itself, at its own pace: a receiver that is away, slow or wrong delays no
// other. What it holds is bounded; at the bound it stops reading, and the log keeps the rest. It does
// not hold the log's janitor, though: events that were purged before a queue came to them are counted
// as missed and said aloud, because a receiver that nobody mends must not stop the rules.
//
// A queue's state (its place in the log, episodes that were told, messages on their way) is one object,
// replaced whole before a message is first sent; which of its messages went since is noted beside it. A
// message's id is made of what it tells, so a queue that was killed between sending and noting sends the
// same message under the same id, once more: a receiver that drops ids it knows sees every message once.
package notify
