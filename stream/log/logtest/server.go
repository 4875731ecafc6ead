package logtest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// A Server is one that a log may be on, and that can be made to lose what it holds.
type Server struct {
	URL string
	js  jetstream.JetStream
}

// Serve starts a server, which ends with the test.
func Serve(t testing.TB) *Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	c, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	js, err := jetstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &Server{URL: s.ClientURL(), js: js}
}

// Tear loses the pieces of a generation of an object, as a power cut may.
func (s *Server) Tear(ctx context.Context, t testing.TB, objects string, g streamlog.Generation) {
	t.Helper()
	s.purge(ctx, t, "objects_"+objects, jetstream.WithPurgeSubject("panormus.objects."+objects+".piece.*."+g.ID+".>"))
}

// Thin drops what lies below a sequence, as the log may once all consumers have passed it.
func (s *Server) Thin(ctx context.Context, t testing.TB, kind batch.Kind, below uint64) {
	t.Helper()
	s.purge(ctx, t, string(kind), jetstream.WithPurgeSequence(below))
}

func (s *Server) purge(ctx context.Context, t testing.TB, stream string, what jetstream.StreamPurgeOpt) {
	t.Helper()
	all, err := s.js.Stream(ctx, "PANORMUS_"+stream)
	if err == nil {
		err = all.Purge(ctx, what)
	}
	if err != nil {
		t.Fatalf("purge %s: %v", stream, err)
	}
}
