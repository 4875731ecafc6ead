// Package codec turns the bytes of a LoRaWAN uplink into named values. A profile says how: a script
// after TS013 (JavaScript), Cayenne LPP, or a layout of fields. All three answer to Codec.
//
//	profile.codec --Compile--> Codec --Decode(Uplink)--> Result (values, warnings, normalized)
//
// A codec is pure: it sees the uplink and nothing else, no network, no file, no clock of its own
// (scripts may still call Date.now). It is safe for concurrent use.
//
// Scripts are other people's code. They run with a time limit, bounded input and output, built-in
// functions that refuse sizes no payload needs, and a watch on the memory; whichever gives way, the
// runtime is thrown away and the call fails with an *Error that names the reason. What that rests
// on, and what was measured, is in docs/decisions under codecs.
package codec
