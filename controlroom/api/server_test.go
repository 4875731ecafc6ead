package api

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"panormus/controlroom/auth"
	"panormus/controlroom/feed"
	"panormus/controlroom/live"
	"panormus/devices"
)

// TestFeedBehindTheGuard opens the feed over a real connection, through everything that stands
// before it, by hand: only the feed itself knows the websocket library.
func TestFeedBehindTheGuard(t *testing.T) {
	state := live.New(nil, nil, nil)
	hub := feed.New(feed.Config{State: state, AllowOrigin: auth.SameOrigin, Heartbeat: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hub.Run(ctx)
	}()
	srv := httptest.NewServer(New(Config{State: state, Registry: devices.NewRegistry(&memory{}, nil), Feed: hub}))
	defer srv.Close()
	defer func() {
		cancel()
		<-done
	}()
	open := func(host, origin string) (*http.Response, net.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "GET /ws/v1/feed HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host, origin)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp, conn, r
	}
	here := srv.Listener.Addr().String()
	resp, conn, r := open(here, "http://"+here)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s, want 101", resp.Status)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	head := make([]byte, 2)
	if _, err := r.Read(head); err != nil || head[0] != 0x81 {
		t.Fatalf("% x, %v; want a text frame", head, err)
	}
	body := make([]byte, head[1])
	if _, err := r.Read(body); err != nil || !strings.Contains(string(body), "heartbeat") {
		t.Errorf("%q, %v; want a heartbeat", body, err)
	}
	for _, tc := range []struct {
		host, origin string
		status       int
	}{{here, "http://attacker.example", 403}, {"attacker.example", "http://attacker.example", 421}, {here, "null", 403}} {
		if resp, _, _ := open(tc.host, tc.origin); resp.StatusCode != tc.status || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("host %s, origin %s: %s, want a problem %d", tc.host, tc.origin, resp.Status, tc.status)
		}
	}
}

func TestBodyTooLarge(t *testing.T) {
	s := newSite(t, nil)
	w := s.ask("PUT", "/api/v1/devices/a", `{"domain":"waste","name":"`+strings.Repeat("x", maxBody)+`"}`)
	wantProblem(t, w, "/api/v1/devices/a", 413, "1048576")
}
