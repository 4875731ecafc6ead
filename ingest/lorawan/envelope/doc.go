// Package envelope reads what LoRaWAN networks, gateways and their bridges send around a frame and
// makes one Message of it, whoever sent it:
//
//	ChirpStack v4 events, JSON or protobuf       Parser.ChirpStack
//	The Things Stack v3                          Parser.TheThings
//	ChirpStack gateway bridge, JSON or protobuf  Parser.Bridge
//	Semtech UDP packet forwarder, version 2      ParseDatagram, Parser.Semtech
//	LoRa Basics Station                          Parser.Station
//
// The first two bring decrypted payloads, the others raw frames for package frame. The parsers are
// pure, keep to bounds, allocate next to nothing and refuse with a *frame.Reject. Members and fields
// that are not known are skipped, so that a newer server is no error; what is read must be right.
package envelope
