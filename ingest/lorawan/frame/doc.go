// Package frame reads LoRaWAN frames off the air: it parses them, checks their message integrity
// code, rebuilds the 32-bit frame counter, tells repetitions and counter resets, and decrypts.
//
//	PHYPayload --Parse--> Frame --Table.Open--> Opened: device, counter, outcome, plain payload
//	                                  |
//	                                  +-- candidates by DevAddr, each a Session and its State
//
// Data frames of LoRaWAN 1.0.x and 1.1 (LoRaWAN 1.1 specification, sections 4.3 and 4.4, with the
// errata on FOpts encryption) go through ciphers kept per session: opening one allocates nothing.
// Join and rejoin requests are parsed and reported; nothing is answered, which is a network
// server's job. The package knows no network and no clock.
//
// What it cannot read is a *Reject with a Reason that labels a metric. Errors never hold keys.
package frame
