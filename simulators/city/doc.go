// Package city is a simulated Palermo: street lights that follow the sun, traffic loops with rush
// hours, buses on their lines, air and noise stations, waste bins and parking areas, which publish
// JSON telemetry over real MQTT connections, faults included.
//
// Everything a device says is a function of the seed, the device and the time: there is no state to
// keep, the same seed says the same at the same time, and a city may be asked about any moment.
// Only the pace belongs to Run.
//
// The map is our own drawing: a few dozen points of coast, mountains, districts and avenues set down
// by hand, and side streets drawn by rule between them. It resembles Palermo; it is not a map of it.
package city
