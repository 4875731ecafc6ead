// Package auth decides who may ask: whether the listeners need protection, whether a request came
// by a name that is ours, from a page that is ours, from somebody who has a token. It is applied in
// one place, before API, feed and page.
//
// Tokens are the least that is real: a file of names and hashes, each allowed everything. They are
// secrets of high entropy (see NewToken), so one round of SHA-256 hides them well enough; people's
// passwords do not belong there.
package auth
