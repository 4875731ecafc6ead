// Package devices holds the city's words: what is out there (devices, profiles, zones) and the
// registry that every worker asks while it decodes, judges and draws.
//
// The registry is a cache over a watched key-value store: a change made on one worker reaches all
// others without polling. Look-ups take no lock and may be made on the hot path from any goroutine.
// The package knows no network and no storage library; the store it is given is an interface.
package devices
