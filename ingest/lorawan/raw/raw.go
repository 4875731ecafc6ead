// Package raw decodes gathered LoRaWAN frames: it checks and decrypts them with the sessions of a
// frame.Table and leaves the payload's meaning to a codec. It joins packages envelope and frame to
// the pump and holds no rules of its own.
package raw

import (
	"strings"
	"sync"
	"time"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
	"panormus/stream/batch"
)

// A Payload is what a device sent, plain.
type Payload struct {
	Asset *devices.Asset // nil for a device that left the registry meanwhile
	Port  uint8
	FCnt  uint32
	Bytes []byte // valid until the codec returns
	Time  int64  // of the gateway with the best signal, or of receipt; Unix ms
}

// A Directory is the part of the device registry that is asked.
type Directory interface {
	Lookup(id string) *devices.Asset
	LookupDevEUI(eui string) *devices.Asset
	// Version grows with every change.
	Version() uint64
}

// A Decoder reads frames as package gather hands them on. Set its fields before the first use; it
// is safe for concurrent use, as far as what its fields hold is.
type Decoder struct {
	Table *frame.Table
	// Registry is asked for the devices that signed a frame or want to join.
	Registry Directory
	// Region is the plan that frames must keep to; nil for EU868.
	Region *radio.Region
	// Codec adds the values of a payload to the record begun last. nil refuses all with
	// ReasonNoCodec.
	Codec func(p *Payload, out *ingest.Decoded) error
	// Join is told of join and rejoin requests, which are not checked. nil for nobody.
	Join func(j frame.Join, f *envelope.Frame, received int64)

	pool sync.Pool
}

// work is the memory that one frame takes.
type work struct {
	parser  envelope.Parser
	message envelope.Message
	heard   envelope.Frame // of message
	frame   frame.Frame
	opener  frame.Opener
	payload Payload
}

// reject makes the pump's Reject of ours; the reasons keep their names.
func reject(err error) error {
	if r, ok := err.(*frame.Reject); ok {
		return &ingest.Reject{Reason: ingest.Reason(r.Reason), Detail: r.Detail}
	}
	return err
}

// Frame is the ingest.Decoder. A join request, a repetition and MAC commands make no observations;
// a frame heard by several gateways makes a row of radio metadata for each.
func (d *Decoder) Frame(in *ingest.Input, out *ingest.Decoded) error {
	w, ok := d.pool.Get().(*work)
	if !ok {
		w = &work{}
	}
	defer d.pool.Put(w)
	f, ok := in.Parsed.(*envelope.Frame)
	switch {
	case !ok:
		if err := w.parser.Bridge("up", in.Payload, &w.message); err != nil {
			return reject(err)
		}
		w.heard = w.message.Frame()
		f = &w.heard
	case f.Gateway() == "":
		return ingest.Rejectf(ingest.ReasonMissing, "no gateway")
	case len(f.Raw) == 0:
		return ingest.Rejectf(ingest.ReasonFrameShort, "no bytes")
	}
	region := d.Region
	if region == nil {
		region = &radio.EU868
	}
	if f.BadCRC {
		return reject(frame.Rejectf(frame.ReasonCRC, "%s says that the frame's CRC is wrong", f.Gateway()))
	}
	if err := region.Check(f.Radio.FrequencyHz, f.Radio.DataRate, len(f.Raw)); err != nil {
		return reject(frame.Rejectf(frame.ReasonRegion, "%v", err))
	}
	if t := frame.TypeOf(f.Raw[0]); t == frame.JoinRequest || t == frame.RejoinRequest {
		return d.join(f, in, out)
	}
	if err := frame.Parse(f.Raw, &w.frame); err != nil {
		return reject(err)
	}
	link := f.Radio.Link(region)
	entry, opened, err := d.open(w, link, in.Again)
	if err != nil {
		return reject(err)
	}
	out.Device = entry.Device
	known := d.known(entry)
	if known.Asset != nil {
		out.Domain = known.Asset.Domain
	}
	if opened.Outcome == frame.Repeat {
		// Copies that gateways and devices send within seconds are merged before; this one came
		// after. A profile with another policy takes it for a device that repeats itself.
		if entry.Policy == frame.Refuse {
			return reject(frame.Rejectf(frame.ReasonReplay, "device %q: counter %d came before with the same content", entry.Device, opened.FCnt))
		}
		return nil
	}
	return d.fill(w, f, known, &opened, in, out)
}

// known looks the device of an entry up, unless nothing changed since the last time.
func (d *Decoder) known(e *frame.Entry) *frame.Known {
	version := d.Registry.Version()
	if k := e.Known.Load(); k != nil && k.Version == version {
		return k
	}
	k := &frame.Known{Version: version, Asset: d.Registry.Lookup(e.Device)}
	if k.Asset != nil && k.Asset.LoRaWAN != nil {
		k.DevEUI = strings.ToLower(k.Asset.LoRaWAN.DevEUI)
	}
	e.Known.Store(k)
	return k
}

// open finds the device that signed the frame in w. In a replay of the dead letter the table learns
// nothing, and a frame that was refused for another reason than its counter is not held against the
// counters that came since.
func (d *Decoder) open(w *work, link frame.Link, again ingest.Reason) (*frame.Entry, frame.Opened, error) {
	if again == "" {
		return d.Table.Open(&w.opener, &w.frame, link)
	}
	var err error = frame.Rejectf(frame.ReasonDevAddr, "dev_addr %s, of which no session is known", w.frame.DevAddr)
	for _, e := range d.Table.Candidates(w.frame.DevAddr) {
		st, policy := e.State(), e.Policy
		if again != ingest.ReasonFrameCounter && again != ingest.ReasonReplay {
			st, policy = frame.State{Any: st.Any, Last: st.Last}, frame.Accept
		}
		var opened frame.Opened
		if opened, err = w.opener.Open(&w.frame, e.Session, &st, link, policy); err == nil {
			return e, opened, nil
		}
		if r, ok := err.(*frame.Reject); ok && r.Reason != frame.ReasonMIC {
			break
		}
	}
	return nil, frame.Opened{}, err
}

// join tells of a device that wants to join. Only one that is registered is taken for real: anybody
// can ask to join.
func (d *Decoder) join(f *envelope.Frame, in *ingest.Input, out *ingest.Decoded) error {
	j, err := frame.ParseJoin(f.Raw)
	if err != nil {
		return reject(err)
	}
	if d.Join != nil && in.Again == "" {
		d.Join(j, f, in.Received)
	}
	a := d.Registry.LookupDevEUI(j.DevEUI.String())
	if a == nil {
		return ingest.Rejectf(ingest.ReasonUnknownDevice, "%s of dev_eui %s, which is not registered", j.Type, j.DevEUI)
	}
	out.Device, out.Domain = a.ID, a.Domain
	return nil
}

// fill writes what was opened to out.
func (d *Decoder) fill(w *work, f *envelope.Frame, known *frame.Known, o *frame.Opened, in *ingest.Input, out *ingest.Decoded) error {
	p := &w.payload
	*p = Payload{Asset: known.Asset, Port: w.frame.Port, FCnt: o.FCnt, Bytes: o.Payload, Time: f.Time}
	if p.Time == 0 {
		p.Time = in.Received
	}
	at, rate := time.UnixMilli(p.Time).UTC(), f.Radio.DataRate.String()
	for i := range f.Radio.Receptions {
		r := &f.Radio.Receptions[i]
		out.Uplinks = append(out.Uplinks, batch.Uplink{
			Time: at, DevEUI: known.DevEUI, Gateway: r.Gateway, RSSIdBm: r.RSSIdBm, SNRdB: r.SNRdB, FrequencyHz: float64(f.Radio.FrequencyHz),
			DataRate: rate, FCnt: int64(o.FCnt), FPort: int64(w.frame.Port), AirtimeMs: float64(f.Radio.Airtime) / 1e6,
		})
	}
	status, told := frame.FindDevStatus(o.MAC)
	if len(o.Payload) == 0 && !told {
		return nil
	}
	record := out.Begin()
	record.Time, record.OwnTime = f.Time, f.Time != 0
	if told {
		if err := addStatus(status, out); err != nil {
			return err
		}
	}
	switch {
	case len(o.Payload) == 0:
		return nil
	case o.Encrypted:
		return ingest.Rejectf(ingest.ReasonEncrypted, "device %q has no app_s_key", out.Device)
	case d.Codec == nil:
		return ingest.Rejectf(ingest.ReasonNoCodec, "%d bytes on port %d of device %q, want a codec", len(o.Payload), p.Port, out.Device)
	}
	return d.Codec(p, out)
}

// Names of the metrics that come from a device's status.
var (
	marginName   = []byte("lorawan_margin_db")
	batteryName  = []byte("lorawan_battery_percent")
	externalName = []byte("lorawan_external_power")
)

// addStatus adds what a device told of itself.
func addStatus(s frame.DevStatus, out *ingest.Decoded) error {
	if err := out.Add(marginName, float64(s.MarginDB), nil); err != nil {
		return err
	}
	switch s.Battery {
	case 0:
		return out.Add(externalName, 1, nil)
	case 255: // not known
		return nil
	}
	return out.Add(batteryName, float64(s.Battery-1)/253*100, nil)
}
