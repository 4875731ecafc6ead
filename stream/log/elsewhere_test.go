package log

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"panormus/stream/batch"
)

// TestSmallServer: a server elsewhere that takes small messages gets batches of that size, and what is larger is
// refused at once by what to set: it would never be taken.
func TestSmallServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	to, said := outsideLog(t, 1<<20)
	if !strings.Contains(said.String(), "max_payload: 8MB") {
		t.Errorf("said %q, want what to set", said)
	}
	url := to.conn.ConnectedUrl()
	l, err := Open(ctx, Config{URL: url, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	most := l.MaxBatch()
	if most < 1<<20-4096 || most >= 1<<20 {
		t.Errorf("batches of up to %d bytes, want a little less than 1 MiB", most)
	}
	id := strings.Repeat("i", 100)
	if _, err := l.Publish(ctx, batch.KindObservations, 3, id, make([]byte, most)); err != nil {
		t.Errorf("a batch of %d bytes: %v", most, err)
	}
	if _, err := l.Publish(ctx, batch.KindObservations, 3, id, make([]byte, most+1)); err == nil || !strings.Contains(err.Error(), "max_payload: 8MB") {
		t.Errorf("one byte more: %v, want an error that says what to set", err)
	}
	if got, err := MaxPayload(url); err != nil || got != 1<<20 {
		t.Errorf("MaxPayload: %d, %v; want 1 MiB", got, err)
	}
}

// TestWritable: what has waited for a while is said, and since when, until the log takes it.
func TestWritable(t *testing.T) {
	var l Log
	l.cfg.Log = slog.New(slog.DiscardHandler)
	l.guard.blocked(l.cfg.Log, batch.KindEvents, errCutOff)
	if err := l.Writable(); err != nil {
		t.Errorf("at once: %v", err)
	}
	l.guard.stuck[batch.KindEvents].since = time.Now().Add(-2 * stuckFor)
	if err := l.Writable(); err == nil || !strings.Contains(err.Error(), "no events since") || !strings.Contains(err.Error(), errCutOff.Error()) {
		t.Errorf("after a while: %v, want since when and why", err)
	}
	l.guard.wrote(l.cfg.Log, batch.KindEvents)
	if err := l.Writable(); err != nil {
		t.Errorf("once it was written: %v", err)
	}
}

// TestSmallValue: what a bucket's server would not take is refused by its size and what to set, however it is put.
func TestSmallValue(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, _ := outsideLog(t, 1<<20)
	kv, err := l.KV(ctx, "things")
	if err != nil {
		t.Fatal(err)
	}
	large, most := make([]byte, 1<<20), make([]byte, l.MaxBatch())
	swaps := []Swap{{Key: "first", Value: []byte("small")}, {Key: "large", Value: large}, {Key: "last", Value: most}}
	kv.SwapAll(ctx, swaps)
	if swaps[0].Err != nil || swaps[2].Err != nil {
		t.Errorf("beside one that is too large: %v, %v", swaps[0].Err, swaps[2].Err)
	}
	_, swapped := kv.Swap(ctx, "large", large, 0)
	_, created := kv.Create(ctx, "large", large)
	for how, err := range map[string]error{
		"put": kv.Put(ctx, "large", large), "create": created, "swap": swapped, "swap all": swaps[1].Err, "swap whole": kv.SwapWhole(ctx, "large", large, 0),
	} {
		if err == nil || !strings.Contains(err.Error(), "large in bucket things: 1048576 bytes, want at most 104") || !strings.Contains(err.Error(), "max_payload: 8MB") {
			t.Errorf("%s: %v, want its size, the most and what to set", how, err)
		}
	}
	if err := kv.Put(ctx, "most", most); err != nil {
		t.Errorf("the most: %v", err)
	}
}

// serve starts a server, which ends with the test.
func serve(t *testing.T, dir string, port int, payload int32) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, MaxPayload: payload})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	return s
}

// TestOpenWaits: a process that starts before the log's server waits for it where it is told to, until it is to end.
func TestOpenWaits(t *testing.T) {
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = at.Close()
	said := &saidLines{lines: make(chan string, 100)}
	cfg := Config{URL: "nats://" + at.Addr().String(), MaxBytes: 64 << 20, Log: slog.New(slog.NewTextHandler(said, nil))}
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Error("opened with nobody there")
	}
	cfg.Wait = true
	ctx, stop := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	open := func(ctx context.Context) {
		l, err := Open(ctx, cfg)
		if err == nil {
			err = l.Close()
		}
		opened <- err
	}
	waits := func() {
		t.Helper()
		for deadline := time.After(time.Minute); ; {
			select {
			case line := <-said.lines:
				if strings.Contains(line, "this process waits for it") {
					return
				}
			case <-deadline:
				t.Fatal("that it waits is not told in a minute")
			}
		}
	}
	go open(ctx)
	waits()
	stop()
	if err := <-opened; err != context.Canceled {
		t.Errorf("to end while it waits: %v", err)
	}
	go open(t.Context())
	waits()
	serve(t, t.TempDir(), at.Addr().(*net.TCPAddr).Port, 8<<20)
	select {
	case err := <-opened:
		if err != nil {
			t.Errorf("with the server there: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("not open a minute after the server is there")
	}
}

// TestServerThatComesBackSmaller: what a server takes is asked for anew when it is there again.
func TestServerThatComesBackSmaller(t *testing.T) {
	dir := t.TempDir()
	first := serve(t, dir, server.RANDOM_PORT, 8<<20)
	said := &saidLines{lines: make(chan string, 100)}
	l, err := connectTo(Config{URL: first.ClientURL(), Log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.MaxBatch() < 8<<20-maxHeader {
		t.Errorf("batches of up to %d bytes at first", l.MaxBatch())
	}
	port := first.Addr().(*net.TCPAddr).Port
	first.Shutdown()
	first.WaitForShutdown()
	serve(t, dir, port, 256<<10)
	for deadline := time.After(time.Minute); ; {
		select {
		case line := <-said.lines:
			if !strings.Contains(line, "max_payload=262144") {
				continue
			}
		case <-deadline:
			t.Fatal("a server that takes less is not told of in a minute")
		}
		break
	}
	if l.MaxBatch() >= 256<<10 {
		t.Errorf("batches of up to %d bytes, want less than the server takes now", l.MaxBatch())
	}
}

// saidLines are what a logger writes.
type saidLines struct{ lines chan string }

func (s *saidLines) Write(b []byte) (int, error) {
	select {
	case s.lines <- string(b):
	default:
	}
	return len(b), nil
}

// TestServerThatTakesAndIsGone: a request that a server took and did not answer is given up, however much time there is, so
// that another attempt finds the next one.
func TestServerThatTakesAndIsGone(t *testing.T) {
	behind := serve(t, t.TempDir(), server.RANDOM_PORT, 8<<20)
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { at.Close() })
	var deaf atomic.Bool
	go func() {
		for {
			from, err := at.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", behind.Addr().String())
			if err != nil {
				_ = from.Close()
				continue
			}
			go func() { _, _ = io.Copy(from, to) }()
			go func() {
				defer to.Close()
				for b := make([]byte, 64<<10); ; {
					n, err := from.Read(b)
					if err != nil {
						return
					}
					if !deaf.Load() {
						_, _ = to.Write(b[:n])
					}
				}
			}()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	l, err := Open(ctx, Config{URL: "nats://" + at.Addr().String(), MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kv, err := l.KV(ctx, "things")
	if err != nil {
		t.Fatal(err)
	}
	l.answerTime = 10 * time.Millisecond
	deaf.Store(true)
	began := time.Now()
	for what, ask := range map[string]func() error{
		"put":           func() error { return kv.Put(ctx, "a", nil) },
		"get":           func() error { _, _, err := kv.Get(ctx, "a"); return err },
		"create":        func() error { _, err := kv.Create(ctx, "a", nil); return err },
		"delete":        func() error { return kv.Delete(ctx, "a") },
		"entry":         func() error { _, err := kv.Entry(ctx, "a"); return err },
		"swap":          func() error { _, err := kv.Swap(ctx, "a", nil, 0); return err },
		"set position":  func() error { return l.SetPosition(ctx, "c", batch.KindEvents, Position{}) },
		"last sequence": func() error { _, err := l.LastSeq(ctx, batch.KindEvents); return err },
	} {
		if err := ask(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want it given up", what, err)
		}
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("given up after %v", took)
	}
}
