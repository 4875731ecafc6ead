package storage

import "context"

// HoursByPage is Hours with pages of another size.
func HoursByPage(db *DB, ctx context.Context, q HoursQuery, page int, each func(Hour) error) error {
	return db.hours(ctx, q, page, each)
}

// RowByRow has the past be read as from a server that is reached by the native protocol.
func (db *DB) RowByRow(is bool) { db.http = !is }
