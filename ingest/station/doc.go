// Package station serves gateways with LoRa Basics Station over websockets (LNS protocol 2):
// discovery, router_config, time synchronisation, and what the gateway hears. The meaning of frames
// is its Receiver's business.
//
//	/router-info            a gateway asks where to connect: here
//	/router/{EUI}           its connection: version -> router_config, updf, jreq…, timesync
//
// What it promises: one Receiver a connection, called in order from one goroutine; while it blocks
// the gateway is not read, and the gateway keeps what it hears. A gateway that connects twice keeps
// the newer connection. Connections, the size of messages and their rate are bounded; a message that
// cannot be read is told to the Receiver and costs nothing else.
package station
