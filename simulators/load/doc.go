// Package load writes MQTT PUBLISH packets as fast as asked and keeps exact books of what the
// broker acknowledged.
//
// It speaks MQTT 3.1.1 by hand, because it shares a machine with the system it measures and a
// general client costs more a message than the broker does. A connection owns its devices, its window
// of unacknowledged messages and one packet it patches in place. A worker looks at its connections
// in turn, every few milliseconds, never waiting for any: it reads what acknowledgements have gathered,
// writes many packets at a time, and allocates nothing per message.
//
// A message is a pure function of the seed, its device, its number n (counted from 1 by device) and
// its time stamp, so nothing but those is kept of one in flight. When a connection is lost it is
// made again, under the same client id and with the session kept, and every unacknowledged message
// is sent again with DUP set, under its packet id. At QoS 0 what was in the socket then is gone,
// as the standard has it.
//
// Messages are a street light's telemetry, or frames of a camera, as Options has it.
//
// What it promises its reader: the n of a device run from 1 to Sent without gaps, no two messages of
// a device share a time stamp, and every message is either in Acked or in the report's list of
// unacknowledged ones.
package load
