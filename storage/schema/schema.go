// Package schema holds the numbered migrations of the database. A file is never changed once it
// was released: the next change is the next number.
package schema

import "embed"

// Files are the migrations, 0001_name.sql and on. Statements end with a semicolon at a line's end,
// and each may be run again after it has run.
//
//go:embed *.sql
var Files embed.FS
