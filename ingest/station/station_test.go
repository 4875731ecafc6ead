package station

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
)

// inbox tells the test what it is told.
type inbox struct{ ch chan string }

func (i inbox) Message(m *envelope.Message, _ int64) {
	i.ch <- fmt.Sprintf("%s %s %x", m.Kind, m.Gateway, m.Payload.Raw)
}

func (i inbox) Refused(_ []byte, why *frame.Reject, _ int64) {
	i.ch <- "refused " + string(why.Reason)
}
func (i inbox) Closed() { i.ch <- "closed" }

// start serves gateways 1 and 2, at most max of them, until the test ends.
func start(t *testing.T, max int) (s *Server, url string, got chan string) {
	t.Helper()
	got = make(chan string, 100)
	s = New(Config{Receiver: func(frame.EUI) Receiver { return inbox{got} }, Allow: []frame.EUI{1, 2}, MaxGateways: max})
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		srv.Close()
	})
	return s, "ws" + strings.TrimPrefix(srv.URL, "http"), got
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(time.Minute))
	return ws
}

func send(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, ws *websocket.Conn) map[string]any {
	t.Helper()
	_, b, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func expect(t *testing.T, got chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case g := <-got:
			if g != w {
				t.Fatalf("received %q, want %q", g, w)
			}
		case <-time.After(time.Minute):
			t.Fatalf("received nothing, want %q", w)
		}
	}
}

func TestDiscovery(t *testing.T) {
	_, url, _ := start(t, 0)
	for _, tc := range []struct{ question, router, uri, err string }{
		{`{"router":"::1"}`, "0:0:0:1", url + "/lns/router/0000000000000001", ""},
		{`{"router":"00-00-00-00-00-00-00-02"}`, "0:0:0:2", url + "/lns/router/0000000000000002", ""},
		{`{"router":2}`, "0:0:0:2", url + "/lns/router/0000000000000002", ""},
		{`{"router":3}`, "0:0:0:3", "", "gateway 0000000000000003 is not let in"},
		{`{"router":"x"}`, "", "", `router "\"x\"", want an EUI`},
		{`{}`, "", "", `want {"router": EUI}`},
		{`not JSON`, "", "", `want {"router": EUI}`},
	} {
		ws := dial(t, url+"/lns/router-info")
		send(t, ws, tc.question)
		got := receive(t, ws)
		uri, _ := got["uri"].(string)
		text, _ := got["error"].(string)
		if got["router"] != tc.router || uri != tc.uri || text != tc.err {
			t.Errorf("%s: %v, want %+v", tc.question, got, tc)
		}
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("%s: then %v, want a close", tc.question, err)
		}
	}
}

func TestConnection(t *testing.T) {
	s, url, got := start(t, 0)
	ws := dial(t, url+"/router/0000000000000001")
	send(t, ws, `{"msgtype":"version","station":"2.0.6","firmware":"f","package":"p","model":"m","protocol":2,"features":"gps"}`)
	config := receive(t, ws)
	if config["msgtype"] != "router_config" || config["region"] != "EU863" || len(config["DRs"].([]any)) != 16 {
		t.Errorf("router_config %v", config)
	}
	chip := config["sx1301_conf"].([]any)[0].(map[string]any)
	heard := map[float64]bool{}
	for i := range 8 {
		ch := chip[fmt.Sprint("chan_multiSF_", i)].(map[string]any)
		centre := chip[fmt.Sprint("radio_", ch["radio"])].(map[string]any)["freq"].(float64)
		heard[(centre+ch["if"].(float64))/1e6] = ch["enable"] == true
	}
	for _, mhz := range []float64{867.1, 867.3, 867.5, 867.7, 867.9, 868.1, 868.3, 868.5} {
		if !heard[mhz] {
			t.Errorf("%v MHz is not listened to: %v", mhz, heard)
		}
	}
	const up = `"upinfo":{"rctx":0,"xtime":40532396751946753,"rssi":-57,"snr":9}}`
	send(t, ws, `{"msgtype":"updf","MHdr":64,"DevAddr":-2,"FCtrl":0,"FCnt":1,"FOpts":"","FPort":-1,"FRMPayload":"","MIC":-1,"DR":5,"Freq":868100000,`+up)
	send(t, ws, `{"msgtype":"jreq","MHdr":0,"JoinEui":"::1","DevEui":"::2","DevNonce":3,"MIC":4,"DR":5,"Freq":868100000,`+up)
	send(t, ws, `{"msgtype":"updf"}`)
	send(t, ws, `garbage`)
	send(t, ws, `{"msgtype":"something new"}`)
	before := time.Now()
	send(t, ws, `{"msgtype":"timesync","txtime":40532396751946753}`)
	sync := receive(t, ws)
	if sync["msgtype"] != "timesync" || fmt.Sprintf("%.0f", sync["txtime"]) != "40532396751946752" { // as float64 here
		t.Errorf("timesync %v", sync)
	}
	if gps := sync["gpstime"].(float64); gps < float64(envelope.GPSMicros(before.UnixMilli()))-1e3 || gps > float64(envelope.GPSMicros(time.Now().UnixMilli()))+1e3 {
		t.Errorf("gpstime %v", gps)
	}
	expect(t, got, "stats 0000000000000001 ", "uplink 0000000000000001 40feffffff000100ffffffff",
		"uplink 0000000000000001 0001000000000000000200000000000000030004000000", "refused missing_field", "refused syntax")

	// The same gateway again: the older connection ends.
	again := dial(t, url+"/router/::1")
	expect(t, got, "closed")
	send(t, again, `{"msgtype":"timesync","txtime":1}`)
	receive(t, again)
	if stats := s.Stats(); stats.Gateways != 1 || stats.Messages != 8 || stats.Refused != 2 {
		t.Errorf("stats %+v", stats)
	}
	s.Close()
	expect(t, got, "closed")
}

func TestWhoIsTurnedAway(t *testing.T) {
	s, url, got := start(t, 1)
	for path, want := range map[string]int{
		"/router/0000000000000003": http.StatusForbidden, "/router/x": http.StatusNotFound, "/other": http.StatusNotFound,
	} {
		if _, resp, err := websocket.DefaultDialer.Dial(url+path, nil); err == nil || resp == nil || resp.StatusCode != want {
			t.Errorf("%s: %v, %v; want status %d", path, resp, err, want)
		}
	}
	if _, resp, err := websocket.DefaultDialer.Dial(url+"/router/::1", http.Header{"Origin": {"http://evil.example"}}); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a browser: %v, %v", resp, err)
	}
	one := dial(t, url+"/router/::1")
	send(t, one, `{"msgtype":"timesync","txtime":1}`)
	receive(t, one)
	two := dial(t, url+"/router/::2")
	if _, _, err := two.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
		t.Errorf("one gateway too many: %v", err)
	}
	big := `{"msgtype":"` + strings.Repeat("x", maxMessage) + `"}`
	send(t, one, big)
	expect(t, got, "closed")
	s.Close()
	late := dial(t, url+"/router/::1")
	if _, _, err := late.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
		t.Errorf("after Close: %v", err)
	}
}
