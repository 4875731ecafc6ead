package lorawan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"panormus/devices"
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
	"panormus/stream/batch"
)

// JoinRule is the rule that join requests heard on raw frames are reported under.
const JoinRule = "lorawan-join-request"

// Joins tell of devices that join: an event for each request heard on raw frames, and the new
// address in the registry when a network server says that one has joined. (ChirpStack and The
// Things Stack do not publish session keys: those of devices whose raw frames are read here are set
// in the registry.)
type Joins struct {
	Registry *devices.Registry
	// Publish puts events on the log.
	Publish func(ctx context.Context, id string, events []batch.Event) error
	Log     *slog.Logger

	queue     chan batch.Event
	addresses chan joined
	strangers *rate.Limiter
	dropped   atomic.Uint64
}

type joined struct {
	device  frame.EUI
	address frame.DevAddr
}

// Bounds: whoever has a radio can send join requests.
const (
	joinsQueued    = 1024
	strangersRate  = 10 // events a second of devices that are not registered
	strangersBurst = 100
)

// NewJoins makes them; Run does the work.
func NewJoins(r *devices.Registry, log *slog.Logger, publish func(ctx context.Context, id string, events []batch.Event) error) *Joins {
	return &Joins{
		Registry: r, Publish: publish, Log: log, queue: make(chan batch.Event, joinsQueued), addresses: make(chan joined, joinsQueued),
		strangers: rate.NewLimiter(strangersRate, strangersBurst),
	}
}

// Dropped is how many requests were not reported, because there were too many.
func (j *Joins) Dropped() uint64 { return j.dropped.Load() }

// Heard reports a join request; it is raw.Decoder.Join.
func (j *Joins) Heard(r frame.Join, f *envelope.Frame, received int64) {
	eui := r.DevEUI.String()
	e := batch.Event{
		Rule: JoinRule, RuleVersion: "1", Severity: "info", State: "raised", Received: time.UnixMilli(received).UTC(),
		Domain: "lorawan", Device: eui, Key: eui,
	}
	e.Time = e.Received
	if f.Time != 0 && f.Time <= received {
		e.Time = time.UnixMilli(f.Time).UTC()
	}
	if a := j.Registry.LookupDevEUI(eui); a != nil {
		e.Domain, e.Device, e.Key, e.Zone = a.Domain, a.ID, a.ID, a.Zone
	} else if !j.strangers.Allow() {
		j.dropped.Add(1)
		return
	}
	e.Text = fmt.Sprintf("%s asks to join, heard by %s", e.Device, f.Gateway())
	context, err := json.Marshal(map[string]any{
		"dev_eui": eui, "join_eui": r.JoinEUI.String(), "nonce": r.Nonce, "type": r.Type.String(), "gateway": f.Gateway(),
	})
	if err != nil {
		panic(fmt.Sprintf("BUG: %v", err))
	}
	e.Context = context
	h := sha256.Sum256(fmt.Appendf(nil, "%s %d %08x %d", eui, r.Nonce, r.MIC, received))
	e.ID = hex.EncodeToString(h[:10])
	select {
	case j.queue <- e:
	default:
		j.dropped.Add(1)
	}
}

// Joined notes the address that a network server gave a device; it is Network.Joined.
func (j *Joins) Joined(device frame.EUI, address frame.DevAddr) {
	select {
	case j.addresses <- joined{device, address}:
	default:
		j.dropped.Add(1)
	}
}

// Run reports until ctx ends.
func (j *Joins) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a := <-j.addresses:
			if err := j.readdress(ctx, a); err != nil && ctx.Err() == nil {
				j.Log.Warn("the new address of a device was not kept", "dev_eui", a.device.String(), "error", err)
			}
		case e := <-j.queue:
			events := append([]batch.Event{e}, cleared(e))
			for len(j.queue) > 0 && len(events) < 1000 {
				e := <-j.queue
				events = append(events, e, cleared(e))
			}
			if err := j.Publish(ctx, "join-"+events[0].ID, events); err != nil && ctx.Err() == nil {
				j.Log.Warn("join requests were not reported", "events", len(events), "error", err)
			}
		}
	}
}

// cleared ends the episode at once: a request is a moment, and raises no lasting alarm.
func cleared(e batch.Event) batch.Event {
	e.ID, e.State = e.ID+"c", "cleared"
	return e
}

func (j *Joins) readdress(ctx context.Context, n joined) error {
	a := j.Registry.LookupDevEUI(n.device.String())
	if a == nil || a.LoRaWAN == nil || strings.EqualFold(a.LoRaWAN.DevAddr, n.address.String()) {
		return nil
	}
	d, l := a.Device, *a.LoRaWAN
	l.DevAddr = n.address.String()
	d.LoRaWAN = &l
	return j.Registry.PutDevice(ctx, d)
}
