// Package claims has codes by which devices are let in where they are installed. Whoever has a code, an
// installer with a phone or the device itself, redeems it once: the device is entered into the registry, at the
// place where it hangs, and its secret is told, once. Of codes hashes are kept, in a bucket of the log that every
// process watches; that a code is redeemed once holds between processes too.
package claims
