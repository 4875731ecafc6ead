package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A SealedPlate is a row of the table of encrypted plates.
type SealedPlate struct {
	Time                  time.Time
	Camera, Purpose, Hash string
	Sealed                []byte
}

// SealedPlate finds the newest plate with a hash, or, where hash is empty, the one that a camera read
// at a time, to the millisecond; both where both are given. False says that there is none, or none
// anymore.
func (db *DB) SealedPlate(ctx context.Context, hash, camera string, at time.Time) (SealedPlate, bool, error) {
	var w where
	w.equal("plate_hash", hash)
	w.equal("camera", camera)
	if !at.IsZero() {
		w.times("p.time", at.Truncate(time.Millisecond), at.Truncate(time.Millisecond).Add(time.Millisecond))
	}
	if w.sql() == "" {
		return SealedPlate{}, false, errors.New("read a sealed plate: neither hash nor camera nor time is given")
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	var p SealedPlate
	var ms int64
	var sealed string
	err := db.conn.QueryRow(ctx, "SELECT toUnixTimestamp64Milli(p.time), camera, purpose, plate_hash, sealed FROM plates AS p"+w.sql()+
		" ORDER BY p.time DESC LIMIT 1", w.args...).Scan(&ms, &p.Camera, &p.Purpose, &p.Hash, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("read a sealed plate: %w", err)
	}
	p.Time, p.Sealed = time.UnixMilli(ms).UTC(), []byte(sealed)
	return p, true, nil
}
