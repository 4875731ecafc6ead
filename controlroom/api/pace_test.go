package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"panormus/controlroom/live"
	"panormus/devices"
	"panormus/stream/rules"
)

// A body that dribbles comes to its end, one that keeps the pace does not, whatever its length, and what is
// done with it once it is there may take its time.
func TestBodiesHaveAPace(t *testing.T) {
	registry := devices.NewRegistry(&memory{}, nil)
	began := make(chan struct{})
	a := newAPI(Config{State: live.New(registry, nil, nil), Registry: registry, Rules: &rules.Store{Bucket: &memory{}},
		Backtest: func(ctx context.Context, r *rules.Rule, from, to time.Time, _ *Within) (*rules.BacktestResult, error) {
			close(began)
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(600 * time.Millisecond): // thrice the grace: the deadline must be gone
				return &rules.BacktestResult{Rule: r, From: from, To: to}, nil
			}
		}})
	a.pace = pace{Grace: 200 * time.Millisecond, Second: 1}
	srv := httptest.NewServer(a.outermost(http.HandlerFunc(a.route)))
	defer srv.Close()
	open := func(text string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := fmt.Fprint(conn, text); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	answer := func(conn net.Conn, want int) (closed bool) {
		t.Helper()
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		var body map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != want {
			t.Errorf("%s %v %v, want %d", resp.Status, body, err, want)
		}
		if want == 408 && !strings.Contains(fmt.Sprint(body["detail"]), "too slowly") {
			t.Errorf("%v", body)
		}
		return resp.Close
	}
	const head = " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
	t.Run("lasting work", func(t *testing.T) {
		const body = `{"from":"2026-03-01T00:00:00Z","to":"2026-03-02T00:00:00Z","rule":{"when":"temp > 30"}}`
		conn := open("POST /api/v1/rules/x/backtest" + fmt.Sprintf(head, len(body)) + body)
		<-began
		answer(conn, 200)
	})
	// The first bytes buy ten seconds, in which the rest comes after the grace.
	t.Run("slow", func(t *testing.T) {
		const first, rest = `{"devices":[{"id":"a","domain":"waste"},`, `{"id":"b","domain":"waste"}]}`
		conn := open("POST /api/v1/devices" + fmt.Sprintf(head, len(first)+len(rest)) + first)
		time.Sleep(2 * a.pace.Grace)
		fmt.Fprint(conn, rest)
		answer(conn, 200)
	})
	for _, what := range []string{"POST /api/v1/devices", "PUT /api/v1/devices/a", "POST /api/v1/rules/check"} {
		t.Run("dribbling "+what, func(t *testing.T) {
			if !answer(open(what+fmt.Sprintf(head, 1000)), 408) {
				t.Error("the connection stays open")
			}
		})
	}
	// Nobody reads the body of a GET, and nobody waits for it for ever.
	t.Run("of nobody", func(t *testing.T) {
		conn := open("GET /status" + fmt.Sprintf(head, 1000))
		r := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		if _, err := r.Peek(1 << 10); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%v, want the connection to be closed", err)
		}
	})
}
