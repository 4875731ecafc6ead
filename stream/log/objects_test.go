package log

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// outsideLog is a log on a server of its own that takes messages of so many bytes, and what it says.
func outsideLog(t *testing.T, payload int32) (*Log, *bytes.Buffer) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: payload,
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	said := &bytes.Buffer{}
	l, err := connectTo(Config{URL: s.ClientURL(), Log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	t.Cleanup(func() { l.Close() })
	if err != nil {
		t.Fatal(err)
	}
	return l, said
}

// outsideObjects are objects on a server of its own that takes messages of 16 KiB, and what is said of them.
func outsideObjects(t *testing.T) (context.Context, *Log, *Objects, *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	l, said := outsideLog(t, 16<<10)
	o, err := l.Objects(ctx, "checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	return ctx, l, o, said
}

var errCutOff = errors.New("cut off")

// An object whose writing is cut off at any message is what it was before, over a server that takes small messages
// too; the next write removes what lies about, and keeps the generation before.
func TestObjectsCutOff(t *testing.T) {
	ctx, _, o, said := outsideObjects(t)
	value := func(n int) [][]byte {
		return [][]byte{bytes.Repeat([]byte{byte(n)}, 30_000), {}, bytes.Repeat([]byte{byte(n), 1}, 20_000)}
	}
	wrote, cuts := 0, 0
	for step := 0; ; step++ {
		wrote++
		left := step
		o.Before = func(string) error {
			if left--; left < 0 {
				return errCutOff
			}
			return nil
		}
		_, err := o.Write(ctx, "a", map[string]uint64{"seq": uint64(wrote)}, value(wrote)...)
		o.Before = nil
		if err == nil {
			break
		}
		if !errors.Is(err, errCutOff) {
			t.Fatal(err)
		}
		want := wrote - 1
		all, err := o.Generations(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		if len(all) > 0 && all[0].At["seq"] == uint64(wrote) { // after the manifest
			want = wrote
		} else if cuts++; step > 0 && !strings.Contains(said.String(), "was cut off") {
			t.Errorf("step %d: it is not said, but %q", step, said)
		}
		said.Reset()
		if want > 0 {
			sameParts(t, o, "a", all, 0, uint64(want), value(want))
		}
		wrote++ // and whole
		if all, err = o.Write(ctx, "a", map[string]uint64{"seq": uint64(wrote)}, value(wrote)...); err != nil {
			t.Fatal(err)
		}
		sameParts(t, o, "a", all, 0, uint64(wrote), value(wrote))
		if want > 0 {
			sameParts(t, o, "a", all, 1, uint64(want), value(want))
		}
		if loose, err := o.loose(ctx, "a", manifest{all}); err != nil || len(loose) > 0 {
			t.Errorf("step %d: %q lie about, %v", step, loose, err)
		}
	}
	if cuts < 7 { // before each of six pieces and before the manifest
		t.Errorf("%d cuts, want one before every message", cuts)
	}
	_, err := o.Write(ctx, "b", nil, []byte("of another"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := o.Generations(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	sameParts(t, o, "a", all, 0, uint64(wrote), value(wrote))
}

func sameParts(t *testing.T, o *Objects, name string, all []Generation, i int, at uint64, want [][]byte) {
	t.Helper()
	if len(all) <= i || all[i].At["seq"] != at || len(all[i].Parts) != len(want) {
		t.Fatalf("generations %+v, want one of %d", all, at)
	}
	for p := range want {
		if b, err := o.Read(t.Context(), name, all[i], p); err != nil || !bytes.Equal(b, want[p]) {
			t.Errorf("part %d of %d: %d bytes, %v; want %d others", p, at, len(b), err, len(want[p]))
		}
	}
}

// Of an object with a piece that is gone, or not what was written, the generation before is taken, and if that is so too
// there is none; nobody waits for it, it is said, and it can be written again.
func TestTornObject(t *testing.T) {
	ctx, l, o, said := outsideObjects(t)
	for name, tear := range map[string]func(subject string) error{
		"gone":  func(subject string) error { return o.stream.Purge(ctx, jetstream.WithPurgeSubject(subject)) },
		"short": func(subject string) error { _, err := l.js.Publish(ctx, subject, []byte("x")); return err },
		"other": func(subject string) error { _, err := l.js.Publish(ctx, subject, make([]byte, 12<<10)); return err },
	} {
		for n := range 2 {
			if err := o.Put(ctx, name, bytes.Repeat([]byte{byte(n + 1)}, 30_000)); err != nil {
				t.Fatal(err)
			}
		}
		all, err := o.Generations(ctx, name)
		if err != nil || len(all) != 2 || all[0].PieceBytes != 12<<10 {
			t.Fatalf("%+v, %v", all, err)
		}
		for i, want := range []int{1, 0} {
			if err := tear(o.piece(name, all[i].ID, 0, 1)); err != nil {
				t.Fatal(err)
			}
			b, ok, err := o.Get(ctx, name)
			if err != nil || ok != (want > 0) || ok && b[0] != byte(want) {
				t.Errorf("%s: %d bytes, %v, %v; want those of %d", name, len(b), ok, err, want)
			}
			if !strings.Contains(said.String(), "an object is not whole") {
				t.Errorf("%s: it is not said, but %q", name, said)
			}
			said.Reset()
		}
		if err := o.Put(ctx, name, []byte("again")); err != nil {
			t.Fatal(err)
		}
		if b, ok, err := o.Get(ctx, name); string(b) != "again" || !ok || err != nil {
			t.Errorf("%s, written again: %q, %v, %v", name, b, ok, err)
		}
	}
}

// A generation that is dropped is not kept beside the next; the one before it is.
func TestDropGenerations(t *testing.T) {
	ctx, _, o, said := outsideObjects(t)
	said.Reset()
	for n := range 2 {
		if _, err := o.Write(ctx, "a", map[string]uint64{"seq": uint64(n + 1)}, []byte{byte(n + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // once more does nothing
		if err := o.DropAfter(ctx, "a", 1); err != nil {
			t.Fatal(err)
		}
	}
	if b, ok, err := o.Get(ctx, "a"); len(b) != 1 || b[0] != 1 || !ok || err != nil || said.Len() > 0 {
		t.Errorf("%v, %v, %v, want the first; said %q", b, ok, err, said)
	}
	all, err := o.Write(ctx, "a", map[string]uint64{"seq": 3}, []byte{3})
	if err != nil {
		t.Fatal(err)
	}
	sameParts(t, o, "a", all, 0, 3, [][]byte{{3}})
	sameParts(t, o, "a", all, 1, 1, [][]byte{{1}})
}

// Of two that write an object at once one does, and the other is told.
func TestObjectWrittenByTwo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, _ := outsideLog(t, 1<<20)
	o, err := l.Objects(ctx, "checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.Objects(ctx, "checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	o.Before = func(step string) error {
		if step == "manifest" {
			return other.Put(ctx, "a", []byte("faster"))
		}
		return nil
	}
	if err := o.Put(ctx, "a", []byte("slower")); !errors.Is(err, ErrChanged) {
		t.Errorf("%v, want it told", err)
	}
	if b, ok, err := o.Get(ctx, "a"); string(b) != "faster" || !ok || err != nil {
		t.Errorf("%q, %v, %v", b, ok, err)
	}
}

// What a version before generations wrote is read until it is written anew; one that is torn is none.
func TestObjectBeforeGenerations(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, said := outsideLog(t, 1<<20)
	old, err := l.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "panormus_checkpoints", Compression: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a/01", "torn"} {
		if _, err := old.PutBytes(ctx, name, bytes.Repeat([]byte(name), 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := old.GetInfo(ctx, "torn")
	if err != nil || info.Chunks < 2 {
		t.Fatalf("%+v, %v; want an object of several pieces", info, err)
	}
	s, err := l.js.Stream(ctx, "OBJ_panormus_checkpoints")
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject("$O.panormus_checkpoints.C."+info.NUID), jetstream.WithPurgeKeep(1))
	}
	if err != nil {
		t.Fatal(err)
	}
	o, err := l.Objects(ctx, "checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	if b, ok, err := o.Get(ctx, "torn"); ok || err != nil || !strings.Contains(said.String(), "an object lacks pieces") {
		t.Errorf("%d bytes, %v, %v, %q; want none, and it said", len(b), ok, err, said)
	}
	if b, ok, err := o.Get(ctx, "a/01"); len(b) != 400_000 || !ok || err != nil {
		t.Errorf("%d bytes, %v, %v", len(b), ok, err)
	}
	if err := o.Put(ctx, "a/01", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if _, err := old.GetInfo(ctx, "a/01"); !errors.Is(err, jetstream.ErrObjectNotFound) {
		t.Errorf("%v, want it gone", err)
	}
	if b, ok, err := o.Get(ctx, "a/01"); string(b) != "new" || !ok || err != nil {
		t.Errorf("%q, %v, %v", b, ok, err)
	}
}
