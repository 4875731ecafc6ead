// Package ingest takes what devices say off the wire, makes observations of it and puts them on
// the log.
//
//	source --Envelope--> Session --decoder--> Decoded --> lane of the partition --batch--> log
//	   ^                    |                                      |
//	   |                    +--> dead letter ------------batch---> log
//	   +------------------------- Acker <--------------------------+
//
// A source (folders broker, mqtt) moves bytes and acknowledgements and knows no meaning; a decoder
// (folders telemetry, lorawan) is a pure function from an Input to a Decoded and knows no network.
// The Pump joins them: it routes by topic, checks clocks and ranges, batches by partition and
// acknowledges a message only once the log holds it.
//
// What it promises: an acknowledged message is on the log, in observations or, with its reason, in
// rejected. A message that comes again (its sender having lost the acknowledgement) is recognised
// by its fingerprint and not stored again, as far back as the table of fingerprints reaches. When
// the log does not take batches nothing is dropped: Session.Handle blocks, so the sender waits.
package ingest
