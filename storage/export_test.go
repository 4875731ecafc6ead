package storage

import "context"

// HoursByPage is Hours with pages of another size.
func HoursByPage(db *DB, ctx context.Context, q HoursQuery, page int, each func(Hour) error) error {
	return db.hours(ctx, q, page, each)
}
