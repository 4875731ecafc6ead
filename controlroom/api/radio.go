package api

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/devices"
)

// Radio answers how devices and gateways heard one another over From <= time < To.
type Radio interface {
	// Gateways returns the gateways that heard anything, in order of id; only the one named by
	// gateway where that is not empty. They, and all figures, are of the devices of in, nil for all.
	Gateways(ctx context.Context, from, to time.Time, gateway string, in *Within) ([]GatewayRadio, error)
	// RadioDevices returns a page of devices and the cursor of the next, "" after the last. An unknown
	// cursor is an ErrCursor.
	RadioDevices(ctx context.Context, q RadioQuery, limit int, cursor string) (found []DeviceRadio, next string, err error)
	// Links returns how each gateway heard a device, the most uplinks first.
	Links(ctx context.Context, from, to time.Time, device string) ([]Link, error)
}

// A RadioQuery asks for devices: one, or those that a gateway heard, or all. Sort is device, or one
// of loss, seen, rssi, snr, uplinks and airtime, worst first.
type RadioQuery struct {
	From, To              time.Time
	Device, Gateway, Sort string
	Within                *Within // nil: of the whole city
}

// A GatewayRadio is how one gateway heard. Own devices are those that it hears at least half of;
// Expected are their uplinks that any gateway heard, Lost those of them that this one did not.
type GatewayRadio struct {
	Gateway    string
	Seen       time.Time
	Uplinks    uint64
	Devices    uint64
	RSSIdBm    float64 // mean
	SNRdB      float64 // mean
	AirtimeMs  float64
	OwnDevices uint64
	Expected   uint64
	Lost       uint64
}

// A DeviceRadio is how one device was heard. Expected are uplinks by its frame counter, Lost those
// that no gateway heard, Resets the times that the counter began anew.
type DeviceRadio struct {
	Device, DevEUI string
	Seen           time.Time
	Uplinks        uint64
	Gateways       uint64
	RSSIdBm        float64 // best
	SNRdB          float64 // best
	DataRates      []string
	AirtimeMs      float64
	Expected       uint64
	Lost           uint64
	Resets         uint64
	// The last uplink, as the gateway with the best signal heard it.
	LastGateway   string
	LastRSSIdBm   float64
	LastSNRdB     float64
	LastDataRate  string
	LastFrequency float64 // Hz
	LastFCnt      int64
}

// A Link is how one gateway heard one device.
type Link struct {
	Gateway string
	Seen    time.Time
	Uplinks uint64
	RSSIdBm float64 // mean
	SNRdB   float64 // mean
}

type gatewayItem struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	Zone       string      `json:"zone"`
	Lat        *float64    `json:"lat"`
	Lon        *float64    `json:"lon"`
	Registered bool        `json:"registered" doc:"the registry has it"`
	Status     string      `json:"status" enum:"online,silent,unheard" doc:"silent: nothing for an hour; unheard: nothing in the window and no reading of its own"`
	Seen       *live.Stamp `json:"seen" doc:"last uplink heard in the window, or newest reading of its own; null for neither"`
	Uplinks    uint64      `json:"uplinks" doc:"heard in the window, each once"`
	Devices    uint64      `json:"devices" doc:"heard in the window"`
	OwnDevices uint64      `json:"own_devices" doc:"devices of which it heard at least half of the uplinks"`
	RSSIdBm    *float64    `json:"rssi_dbm" doc:"mean"`
	SNRdB      *float64    `json:"snr_db" doc:"mean"`
	Expected   uint64      `json:"expected" doc:"uplinks of its own devices that any gateway heard"`
	Lost       uint64      `json:"lost" doc:"those of them that it did not hear"`
	Loss       *float64    `json:"loss" doc:"lost / expected, 0 to 1; null where nothing was expected"`
	AirtimeMs  float64     `json:"airtime_ms" doc:"sum over the uplinks it heard"`
}

type radioLast struct {
	Gateway     string   `json:"gateway" doc:"with the best signal"`
	RSSIdBm     *float64 `json:"rssi_dbm"`
	SNRdB       *float64 `json:"snr_db"`
	DataRate    string   `json:"data_rate" example:"SF7BW125"`
	FrequencyHz float64  `json:"frequency_hz"`
	FCnt        int64    `json:"f_cnt"`
}

type radioDevice struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Domain    string     `json:"domain"`
	Zone      string     `json:"zone"`
	DevEUI    string     `json:"dev_eui"`
	Seen      live.Stamp `json:"seen" doc:"last uplink"`
	Uplinks   uint64     `json:"uplinks" doc:"heard in the window, each once"`
	Gateways  uint64     `json:"gateways" doc:"that heard it"`
	RSSIdBm   *float64   `json:"rssi_dbm" doc:"best"`
	SNRdB     *float64   `json:"snr_db" doc:"best"`
	DataRates []string   `json:"data_rates"`
	Expected  uint64     `json:"expected" doc:"uplinks by the frame counter's growth; where it falls or leaps by more than 1024 it began anew"`
	Lost      uint64     `json:"lost" doc:"those that no gateway heard"`
	Loss      *float64   `json:"loss" doc:"lost / expected, 0 to 1; null where nothing was expected"`
	Resets    uint64     `json:"resets" doc:"times that the counter began anew"`
	AirtimeMs float64    `json:"airtime_ms" doc:"sum over the uplinks"`
	MarginDB  *float64   `json:"margin_db" doc:"of the last request as the device heard it, by its own word; null where it told none"`
	Battery   *float64   `json:"battery_percent" doc:"by the device's own word; null where it told none"`
	External  bool       `json:"external_power" doc:"the device says that it has external power"`
	Last      radioLast  `json:"last" doc:"the last uplink"`
	// Links are told of one device, not in a list.
	Links []radioLink `json:"links,omitempty" doc:"by gateway, the most uplinks first; only where one device is asked for"`
}

type radioLink struct {
	Gateway string     `json:"gateway"`
	Name    string     `json:"name" doc:"the gateway's in the registry"`
	Seen    live.Stamp `json:"seen"`
	Uplinks uint64     `json:"uplinks"`
	RSSIdBm *float64   `json:"rssi_dbm" doc:"mean"`
	SNRdB   *float64   `json:"snr_db" doc:"mean"`
}

// Window is how far back an answer looks.
type Window struct {
	Back string `query:"window" maxLength:"16" doc:"how far back, such as 1h or 7d, at most 7d; default 24h" example:"24h"`
}

type gatewaysBody struct {
	Body struct {
		Gateways []gatewayItem `json:"gateways"`
		Next     string        `json:"next,omitempty"`
	}
}

type radioDevicesBody struct {
	Body struct {
		Devices []radioDevice `json:"devices"`
		Next    string        `json:"next,omitempty"`
	}
}

type radioQuery struct {
	Device  string `query:"device" maxLength:"128" doc:"only this one"`
	Gateway string `query:"gateway" maxLength:"128" doc:"only devices that it heard; their figures are of all gateways"`
	Sort    string `query:"sort" enum:"device,loss,seen,rssi,snr,uplinks,airtime" default:"loss" doc:"by id, or worst first: most lost, longest silent, weakest, fewest uplinks, most airtime"`
	Window
	Page
}

const (
	radioWindow    = 24 * time.Hour
	maxRadioWindow = 7 * 24 * time.Hour
	gatewayDomain  = "lorawan"
)

// span is the time that the window looks back over: to the end of the millisecond that is now.
func (w Window) span() (from, to time.Time, err error) {
	d, err := parseStep(w.Back)
	if err != nil || d > maxRadioWindow {
		return from, to, invalid("query.window", "%.40q, want 1s to 7d, such as 24h", w.Back)
	}
	if d == 0 {
		d = radioWindow
	}
	to = time.Now().UTC().Truncate(time.Millisecond).Add(time.Millisecond)
	return to.Add(-d), to, nil
}

// radio are the operations on how devices and gateways hear one another.
func (a *api) radio() {
	tags, faults := []string{"radio"}, []int{422, 501, 503}
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/gateways", Summary: "Gateways and how they hear, in order of id", Tags: tags, Errors: faults,
		Description: "Those that heard an uplink in the window, and those of the registry: claimed devices of domain lorawan that have no dev_eui. Whoever sees a part of the city is told of the gateways of it, and of others, by their ids alone, how they heard its devices; all figures are of its devices."}, a.listGateways)
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/gateways/{id}", Summary: "One gateway and how it hears", Tags: tags, Errors: append(faults, 404)},
		func(c *call, in *struct {
			ID string `path:"id" maxLength:"128"`
			Window
		}) (*one[gatewayItem], error) {
			found, err := c.gateways(in.Window, in.ID)
			if err != nil {
				return nil, err
			}
			if len(found) == 0 {
				return nil, problem.New(http.StatusNotFound, "no gateway %q is registered or heard anything in the window", in.ID)
			}
			return &one[gatewayItem]{found[0]}, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/radio/devices", Summary: "Devices and how they are heard", Tags: tags, Errors: faults,
		Description: "Devices of which an uplink was heard in the window. All pages of a list are of its first page's time."},
		func(c *call, in *radioQuery) (*radioDevicesBody, error) {
			found, next, err := c.radioDevices(in.Window, RadioQuery{Device: in.Device, Gateway: in.Gateway, Sort: in.Sort}, in.Limit, in.Cursor)
			if err != nil {
				return nil, err
			}
			out := &radioDevicesBody{}
			out.Body.Devices, out.Body.Next = found, next
			return out, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/radio/devices/{id}", Summary: "One device and how each gateway hears it", Tags: tags, Errors: append(faults, 404)},
		func(c *call, in *struct {
			ID string `path:"id" maxLength:"128"`
			Window
		}) (*one[radioDevice], error) {
			found, _, err := c.radioDevices(in.Window, RadioQuery{Device: in.ID, Sort: "device"}, 1, "")
			if err != nil {
				return nil, err
			}
			if len(found) == 0 {
				return nil, problem.New(http.StatusNotFound, "no uplink of a device %q was heard in the window", in.ID)
			}
			from, to, _ := in.span()
			links, err := a.Radio.Links(c.ctx, from, to, in.ID)
			if err != nil {
				return nil, c.away("radio", err)
			}
			out := &one[radioDevice]{found[0]}
			out.Body.Links = make([]radioLink, len(links))
			for i, l := range links {
				out.Body.Links[i] = radioLink{Gateway: l.Gateway, Seen: live.Stamp{Time: l.Seen}, Uplinks: l.Uplinks, RSSIdBm: number(l.RSSIdBm), SNRdB: number(l.SNRdB)}
				if g := c.asset(l.Gateway); g != nil {
					out.Body.Links[i].Name = g.Name
				}
			}
			return out, nil
		})
}

func (a *api) listGateways(c *call, in *struct {
	Window
	Page
}) (*gatewaysBody, error) {
	found, err := c.gateways(in.Window, "")
	if err != nil {
		return nil, err
	}
	out := &gatewaysBody{}
	out.Body.Gateways, out.Body.Next, err = cut(in.Page, found, func(g gatewayItem) string { return g.ID }, nil)
	return out, err
}

// gateways are those heard of and those registered, in order of id; only one where id is not empty.
func (c *call) gateways(w Window, id string) ([]gatewayItem, error) {
	a := c.api
	if a.Radio == nil {
		return nil, missing("gateways")
	}
	from, to, err := w.span()
	if err != nil {
		return nil, err
	}
	scope := c.scope()
	heard, err := a.Radio.Gateways(c.ctx, from, to, id, a.within(scope, true))
	if err != nil {
		return nil, c.away("gateways", err)
	}
	out := make([]gatewayItem, 0, len(heard))
	known := make(map[string]bool, len(heard))
	for _, g := range heard {
		known[g.Gateway] = true
		out = append(out, c.gateway(g))
	}
	for _, d := range a.gatewaysOf(scope, id) {
		if !known[d.ID] {
			out = append(out, c.gateway(GatewayRadio{Gateway: d.ID}))
		}
	}
	slices.SortFunc(out, func(x, y gatewayItem) int { return cmp.Compare(x.ID, y.ID) })
	return out, nil
}

// gatewaysOf are the registry's gateways that a scope sees, or the one with the id where it is one.
func (a *api) gatewaysOf(s *auth.Scope, id string) []*devices.Asset {
	if a.Registry == nil {
		return nil
	}
	all := a.Registry.All()
	if id != "" {
		all = []*devices.Asset{a.Registry.Lookup(id)}
	}
	return slices.DeleteFunc(slices.Clone(all), func(d *devices.Asset) bool {
		return d == nil || d.Domain != gatewayDomain || d.Status == devices.Unclaimed || d.LoRaWAN != nil && d.LoRaWAN.DevEUI != "" || !sees(s, d)
	})
}

// gateway is how one heard, and what it is where whoever asks may see it.
func (c *call) gateway(g GatewayRadio) gatewayItem {
	out := gatewayItem{ID: g.Gateway, Uplinks: g.Uplinks, Devices: g.Devices, OwnDevices: g.OwnDevices, Expected: g.Expected, Lost: g.Lost,
		Loss: share(g.Lost, g.Expected), AirtimeMs: g.AirtimeMs}
	if g.Uplinks > 0 {
		out.Seen, out.RSSIdBm, out.SNRdB = &live.Stamp{Time: g.Seen}, number(g.RSSIdBm), number(g.SNRdB)
	}
	if d := c.asset(g.Gateway); d != nil {
		out.Name, out.Zone, out.Lat, out.Lon, out.Registered = d.Name, d.Zone, d.Lat, d.Lon, d.Status != devices.Unclaimed
	}
	if it, ok := c.item(g.Gateway); ok && it.Seen != nil && (out.Seen == nil || it.Seen.After(out.Seen.Time)) {
		out.Seen = it.Seen
	}
	switch {
	case out.Seen == nil:
		out.Status = "unheard"
	case time.Since(out.Seen.Time) > silence:
		out.Status = "silent"
	default:
		out.Status = "online"
	}
	return out
}

// silence is after how long a gateway is not taken for online: forwarders report each half minute,
// networks' servers may keep that to themselves.
const silence = time.Hour

// item is the state of a device, where there is one that whoever asks may see.
func (c *call) item(id string) (live.Item, bool) {
	a := c.api
	if a.State == nil || !c.seesDevice(id) {
		return live.Item{}, false
	}
	d := a.State.Lookup(id)
	if d == nil {
		return live.Item{}, false
	}
	return a.State.Item(d)
}

// told are what a device last said of itself, as LoRaWAN's status requests have it.
func (d *radioDevice) told(values map[string]any) {
	if v, ok := values["lorawan_margin_db"].(float64); ok {
		d.MarginDB = &v
	}
	if v, ok := values["lorawan_battery_percent"].(float64); ok {
		d.Battery = &v
	}
	v, _ := values["lorawan_external_power"].(float64)
	d.External = v != 0
}

func (c *call) radioDevices(w Window, q RadioQuery, limit int, cursor string) ([]radioDevice, string, error) {
	a := c.api
	if a.Radio == nil {
		return nil, "", missing("radio")
	}
	q.Within = a.within(c.scope(), true)
	var err error
	if q.From, q.To, err = w.span(); err != nil {
		return nil, "", err
	}
	found, next, err := a.Radio.RadioDevices(c.ctx, q, limit, cursor)
	if err != nil {
		return nil, "", c.away("radio", err)
	}
	out := make([]radioDevice, len(found))
	for i, d := range found {
		out[i] = radioDevice{
			ID: d.Device, DevEUI: d.DevEUI, Seen: live.Stamp{Time: d.Seen}, Uplinks: d.Uplinks, Gateways: d.Gateways, RSSIdBm: number(d.RSSIdBm), SNRdB: number(d.SNRdB),
			DataRates: append([]string{}, d.DataRates...), Expected: d.Expected, Lost: d.Lost, Loss: share(d.Lost, d.Expected), Resets: d.Resets, AirtimeMs: d.AirtimeMs,
			Last: radioLast{Gateway: d.LastGateway, RSSIdBm: number(d.LastRSSIdBm), SNRdB: number(d.LastSNRdB), DataRate: d.LastDataRate, FrequencyHz: d.LastFrequency, FCnt: d.LastFCnt},
		}
		if asset := a.lookup(d.Device); asset != nil {
			out[i].Name, out[i].Domain, out[i].Zone = asset.Name, asset.Domain, asset.Zone
		}
		if it, ok := c.item(d.Device); ok {
			out[i].told(it.Values)
		}
	}
	return out, next, nil
}

func (a *api) lookup(id string) *devices.Asset {
	if a.Registry == nil {
		return nil
	}
	return a.Registry.Lookup(id)
}

// share is n of all; nil where there is nothing.
func share(n, all uint64) *float64 {
	if all == 0 {
		return nil
	}
	return new(float64(n) / float64(all))
}

// number is v, nil where JSON has no number for it.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
