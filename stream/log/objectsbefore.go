package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Versions before generations kept an object as the client library does. It is read until it is written anew.

// before is an object of those versions, and false if there is none, or none that is whole: the library removes the
// pieces of one whose writing it gave up for a slow answer, though it may be there, and whoever waits for them waits
// for ever. That is logged; who kept its state there begins without.
func (o *Objects) before(ctx context.Context, name string) ([]byte, bool, error) {
	if o.older == nil {
		return nil, false, nil
	}
	info, err := o.older.GetInfo(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, false, nil
	}
	var b []byte
	if err == nil {
		var pieces uint64
		pieces, err = o.piecesBefore(ctx, info.NUID)
		if err == nil && pieces < uint64(info.Chunks) {
			o.log.cfg.Log.Error("an object lacks pieces and is taken for none", "name", name, "objects", o.name, "pieces", pieces, "want", info.Chunks, "written", info.ModTime)
			return nil, false, nil
		}
	}
	if err == nil {
		b, err = o.older.GetBytes(ctx, name)
	}
	if err != nil {
		return nil, false, fmt.Errorf("get %s from objects %s: %w", name, o.name, err)
	}
	return b, true, nil
}

// piecesBefore is how many there are of an object.
func (o *Objects) piecesBefore(ctx context.Context, nuid string) (n uint64, err error) {
	s, err := o.log.js.Stream(ctx, "OBJ_panormus_"+o.name)
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("$O.panormus_"+o.name+".C."+nuid))
	if err != nil {
		return 0, err
	}
	for _, of := range info.State.Subjects {
		n += of
	}
	return n, nil
}

// Forget removes what a version before generations wrote under name; nothing is no error.
func (o *Objects) Forget(ctx context.Context, name string) error {
	if o.older == nil {
		return nil
	}
	err := o.older.Delete(ctx, name)
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("remove %s from objects %s: %w", name, o.name, err)
	}
	return nil
}
