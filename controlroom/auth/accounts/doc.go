// Package accounts keeps who is let in: local users, tokens and sessions, in buckets of the log that every
// process watches, so that a change counts everywhere at once. It is the auth.Authenticator of a control
// room. What is kept of a password is argon2id's, of tokens and sessions their SHA-256: they have 256
// random bits. Second factors (TOTP) have to be known as they are: they lie there sealed.
//
// Sessions end when they are idle for too long, after a day's work in any case, when their user's password
// changes or the user is disabled. Wrong passwords are throttled by name and by address.
package accounts
