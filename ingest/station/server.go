package station

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

// A Receiver takes in what one gateway sends. It is called from one goroutine at a time, may block,
// and keeps nothing of its arguments.
type Receiver interface {
	// Message takes in an Uplink with the raw frame, a TxAck, or Stats with the gateway's versions;
	// received is Unix ms.
	Message(m *envelope.Message, received int64)
	// Refused tells of a message that cannot be read, for the dead letter.
	Refused(message []byte, why *frame.Reject, received int64)
	// Closed is the last call.
	Closed()
}

// Config says how a Server works. Receiver must be given.
type Config struct {
	Receiver func(gateway frame.EUI) Receiver
	// Allow lists the gateways that are let in; nil lets in any.
	Allow []frame.EUI
	// MaxGateways is how many may be connected; default 10,000.
	MaxGateways int
	// Rate is how many messages a second a gateway may send on average, default 500; faster ones
	// wait.
	Rate float64
	// Region and Router are the plan and the router_config; nil for EU868's.
	Region *radio.Region
	Router []byte
	// URI is where gateways find the Server from outside, such as wss://lns.example.org; "" for the
	// host that the gateway asked.
	URI    string
	Logger *slog.Logger
}

// Bounds of a connection.
const (
	defaultGateways = 10_000
	defaultRate     = 500
	maxMessage      = 64 << 10
	silence         = 2 * time.Minute // without a word or a pong
	pingEvery       = 30 * time.Second
	writeTimeout    = 10 * time.Second
)

// A Server is an http.Handler for gateways. It is safe for concurrent use.
type Server struct {
	cfg      Config
	allow    map[frame.EUI]bool
	upgrader websocket.Upgrader

	mu       sync.Mutex
	closed   bool
	gateways map[frame.EUI]*conn
	running  sync.WaitGroup

	messages, refused, turnedAway atomic.Uint64
}

// New makes a server.
func New(cfg Config) *Server {
	if cfg.MaxGateways <= 0 {
		cfg.MaxGateways = defaultGateways
	}
	if cfg.Rate <= 0 {
		cfg.Rate = defaultRate
	}
	if cfg.Region == nil {
		cfg.Region = &radio.EU868
	}
	if cfg.Router == nil {
		cfg.Router = EU868()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, gateways: map[frame.EUI]*conn{}}
	s.upgrader = websocket.Upgrader{
		ReadBufferSize: 4096, WriteBufferSize: 4096, HandshakeTimeout: writeTimeout,
		// Gateways are no browsers; a browser has an Origin and no business here.
		CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "" },
	}
	if cfg.Allow != nil {
		s.allow = map[frame.EUI]bool{}
		for _, eui := range cfg.Allow {
			s.allow[eui] = true
		}
	}
	return s
}

// Stats are what a Server did since it was made.
type Stats struct {
	Gateways   int    // connected
	Messages   uint64 // read
	Refused    uint64 // that could not be read
	TurnedAway uint64 // connections of gateways that are not let in
}

// Stats since the start.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Gateways: len(s.gateways), Messages: s.messages.Load(), Refused: s.refused.Load(), TurnedAway: s.turnedAway.Load()}
}

// Close ends all connections and returns when their Receivers are closed. New ones are refused.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for _, c := range s.gateways {
		c.stop()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// ServeHTTP serves /router-info and /router/{EUI}, whatever stands before them.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	if strings.HasSuffix(path, "/router-info") {
		s.discover(w, r)
		return
	}
	at := strings.LastIndex(path, "/router/")
	if at < 0 {
		http.NotFound(w, r)
		return
	}
	name := path[at+len("/router/"):]
	eui, ok := envelope.ParseStationEUI(strings.TrimPrefix(name, "router-"))
	switch {
	case !ok:
		http.Error(w, "want /router/{EUI}", http.StatusNotFound)
	case !s.letsIn(eui):
		s.turnedAway.Add(1)
		http.Error(w, "gateway "+eui.String()+" is not let in", http.StatusForbidden)
	default:
		s.connect(w, r, eui)
	}
}

func (s *Server) letsIn(eui frame.EUI) bool { return s.allow == nil || s.allow[eui] }

// discover answers the one question of a gateway that looks for its server.
func (s *Server) discover(w http.ResponseWriter, r *http.Request) {
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer ws.Close()
	ws.SetReadLimit(4096)
	_ = ws.SetReadDeadline(time.Now().Add(writeTimeout))
	_, b, err := ws.ReadMessage()
	if err != nil {
		return
	}
	_ = ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	answer := s.find(r, b)
	if err := ws.WriteMessage(websocket.TextMessage, mustJSON(answer)); err != nil {
		return
	}
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(writeTimeout))
}

// find tells a gateway where to connect.
func (s *Server) find(r *http.Request, question []byte) discovery {
	var q struct {
		Router json.RawMessage `json:"router"`
	}
	if err := json.Unmarshal(question, &q); err != nil || len(q.Router) == 0 {
		return discovery{Error: `want {"router": EUI}`}
	}
	eui, ok := routerEUI(q.Router)
	if !ok {
		return discovery{Error: fmt.Sprintf("router %.40q, want an EUI", q.Router)}
	}
	out := discovery{Router: id6(eui)}
	if !s.letsIn(eui) {
		s.turnedAway.Add(1)
		out.Error = "gateway " + eui.String() + " is not let in"
		return out
	}
	base := strings.TrimSuffix(s.cfg.URI, "/")
	if base == "" {
		scheme := "ws"
		if r.TLS != nil {
			scheme = "wss"
		}
		path := strings.TrimSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/router-info")
		base = scheme + "://" + r.Host + path
	}
	out.Muxs, out.URI = "::0", base+"/router/"+eui.String()
	return out
}

// routerEUI reads an EUI as a string or a number.
func routerEUI(raw json.RawMessage) (frame.EUI, bool) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return envelope.ParseStationEUI(text)
	}
	v, err := strconv.ParseUint(string(raw), 10, 64)
	return frame.EUI(v), err == nil
}

// conn is one gateway's connection.
type conn struct {
	ws     *websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc
	write  sync.Mutex
}

// stop makes the connection's reading end.
func (c *conn) stop() {
	c.cancel()
	_ = c.ws.SetReadDeadline(time.Unix(1, 0))
}

func (c *conn) send(b []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	return c.ws.WriteMessage(websocket.TextMessage, b)
}

// enter makes c the connection of the gateway, ending one it had.
func (s *Server) enter(eui frame.EUI, c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.gateways[eui]
	switch {
	case s.closed:
		return errors.New("the server stops")
	case old != nil:
		old.stop()
	case len(s.gateways) >= s.cfg.MaxGateways:
		return fmt.Errorf("%d gateways are connected, want at most %d", len(s.gateways), s.cfg.MaxGateways)
	}
	s.gateways[eui] = c
	s.running.Add(1)
	return nil
}

func (s *Server) leave(eui frame.EUI, c *conn) {
	s.mu.Lock()
	if s.gateways[eui] == c {
		delete(s.gateways, eui)
	}
	s.mu.Unlock()
	s.running.Done()
}

func (s *Server) connect(w http.ResponseWriter, r *http.Request, eui frame.EUI) {
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer ws.Close()
	c := &conn{ws: ws}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	defer c.cancel()
	if err := s.enter(eui, c); err != nil {
		s.turnedAway.Add(1)
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseTryAgainLater, err.Error()), time.Now().Add(writeTimeout))
		return
	}
	defer s.leave(eui, c)
	to := s.cfg.Receiver(eui)
	defer to.Closed()
	pings := make(chan struct{})
	go func() {
		defer close(pings)
		c.ping()
	}()
	defer func() { c.cancel(); <-pings }()
	if err := s.serve(c, eui, to); c.ctx.Err() == nil && !websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseAbnormalClosure) {
		s.cfg.Logger.Info("a gateway's connection ended", "gateway", eui.String(), "error", err)
	}
}

// ping keeps the connection from looking idle until it ends.
func (c *conn) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			// An error shows in the reading too.
			_ = c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
		}
	}
}

// serve reads one gateway until it goes.
func (s *Server) serve(c *conn, eui frame.EUI, to Receiver) error {
	c.ws.SetReadLimit(maxMessage)
	alive := func() error {
		if err := c.ws.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		if c.ctx.Err() != nil { // stop came in between
			return c.ws.SetReadDeadline(time.Unix(1, 0))
		}
		return nil
	}
	c.ws.SetPongHandler(func(string) error { return alive() })
	limit := rate.NewLimiter(rate.Limit(s.cfg.Rate), int(s.cfg.Rate)+1)
	var p envelope.Parser
	var m envelope.Message
	gateway := eui.String()
	for {
		if err := alive(); err != nil {
			return err
		}
		_, b, err := c.ws.ReadMessage()
		if err != nil {
			return err
		}
		if err := limit.Wait(c.ctx); err != nil {
			return err
		}
		s.messages.Add(1)
		now := time.Now().UnixMilli()
		in, err := p.Station(gateway, s.cfg.Region, b, &m)
		if err != nil {
			var reject *frame.Reject
			if !errors.As(err, &reject) {
				panic(fmt.Sprintf("BUG: Station: %v", err))
			}
			s.refused.Add(1)
			to.Refused(b, reject, now)
			continue
		}
		switch in.Type {
		case envelope.StationVersion:
			if err := c.send(s.cfg.Router); err != nil {
				return fmt.Errorf("send router_config: %w", err)
			}
			to.Message(&m, now)
		case envelope.StationFrame, envelope.StationSent:
			to.Message(&m, now)
		case envelope.StationTimeSync:
			answer := timeSync{MsgType: "timesync", TxTime: in.TxTime, GPSTime: envelope.GPSMicros(0) + time.Now().UnixMicro()}
			if err := c.send(mustJSON(answer)); err != nil {
				return fmt.Errorf("send timesync: %w", err)
			}
		}
	}
}
