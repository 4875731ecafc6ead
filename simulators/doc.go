// Package simulators is the folder of what stands in for the field: package city, a believable
// Palermo, package lorawan, its LoRaWAN nodes and gateways, package video, its cameras, and package
// load, which writes as fast as a broker takes it. They speak only the wire protocols and encode what
// they say themselves, so that they can catch our decoders out; from the rest of the project they know
// the words of package devices and no more.
package simulators
