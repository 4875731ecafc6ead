// Package lorawan turns what LoRaWAN networks tell into observations and radio metadata. It holds
// the meaning; package envelope reads the bytes.
//
//	ChirpStack, The Things Stack --Network--> observations, uplinks
//	bridge, UDP, Basics Station --gather--> frames --package raw--> observations, uplinks
//	                                   \--> what gateways tell of themselves --Network--> observations
//
// Payloads are decoded by Codecs, by the profile of the device; where it has none, by what the
// network's own codec made of them. A payload that cannot be decoded is an *ingest.Reject, so that
// it is kept and can be replayed when its codec is mended.
package lorawan
