// Package lorawan simulates Palermo's LoRaWAN: water meters, soil probes, bin and manhole sensors
// that send encrypted frames, and gateways that forward them as Semtech's packet forwarder does, as
// ChirpStack's gateway bridge does, or behind a ChirpStack that tells only its events.
//
// What a node sends in a slot of its period, and who hears it, is a function of the seed, the node
// and the slot; the slot's number is also the frame counter, so that a simulator that is started
// again goes on where it would be and not from zero. Only the pace and the books belong to Run.
//
// Radio and people are as bad as they are: frames are lost, heard by several gateways within 200 ms,
// sent again by somebody else, signed with a key that the registry does not have, of a neighbour's
// network; counters restart; some gateways know no time. The books say what a receiver that is right
// makes of it all, device by device.
//
// Load is the other half: frames as fast as asked over UDP, with books of what was acknowledged.
package lorawan
