// Package certs keeps the certificates of listeners and of connections to servers, and reads them anew when
// their files change or when it is told to. Connections that are there go on; those that come after get what is
// new. A renewal that is half-written, does not fit its key, or has run out changes nothing but the log and a
// metric: what was good stays.
package certs
