package storage_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/storage"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// heardBy is an uplink of 50 ms at a second after the start, and who heard it how loud.
type heardBy struct {
	device string
	second float64
	fCnt   int64
	by     map[string]float64
}

func radioStored(t *testing.T, start time.Time, heard ...heardBy) *storage.DB {
	t.Helper()
	var rows []batch.Uplink
	for _, h := range heard {
		for gateway, rssi := range h.by {
			rate := "SF7BW125"
			if rssi < -120 {
				rate = "SF12BW125"
			}
			rows = append(rows, batch.Uplink{Time: start.Add(time.Duration(h.second * float64(time.Second))), Device: h.device, DevEUI: "eui-" + h.device, Gateway: gateway,
				RSSIdBm: rssi, SNRdB: (rssi + 120) / 10, FrequencyHz: 868_100_000, DataRate: rate, FCnt: h.fCnt, FPort: 2, AirtimeMs: 50})
		}
	}
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	data, err := batch.EncodeUplinks(rows)
	publish(t, l, batch.KindUplinks, data, err)
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	stop()
	return db
}

// radioWorld is small enough to count by hand. Rows are not in order of time.
func radioWorld(start time.Time) []heardBy {
	type g = map[string]float64
	return []heardBy{
		// steady: 1..5, none lost; 3 comes a second time a second late by b, after 4 was heard.
		{"steady", 500, 5, g{"a": -100}},
		{"steady", 100, 1, g{"a": -100, "b": -110}},
		{"steady", 200, 2, g{"a": -100, "b": -110}},
		{"steady", 300, 3, g{"a": -100}},
		{"steady", 300.5, 4, g{"a": -90}},
		{"steady", 301, 3, g{"b": -110}},
		// lossy: 10, 12, 16: 6 expected, 4 lost; then from 0: a reset; 0, 1, and 1 sent again; 3: one more lost of 3.
		{"lossy", 100, 10, g{"b": -125}},
		{"lossy", 300, 16, g{"b": -121}},
		{"lossy", 200, 12, g{"b": -125, "c": -119}},
		{"lossy", 400, 0, g{"b": -110}},
		{"lossy", 500, 1, g{"b": -110}},
		{"lossy", 520, 1, g{"b": -110}},
		{"lossy", 600, 3, g{"b": -110}},
		// restarted: the counter comes to the same number again: not the same uplink. Then it leaps: no loss.
		{"restarted", 100, 7, g{"c": -100}},
		{"restarted", 200, 0, g{"c": -100}},
		{"restarted", 300, 7, g{"c": -100}},
		{"restarted", 400, 50_000, g{"c": -100}},
		// once: nothing can be said of its loss.
		{"once", 50, 9, g{"c": -100}},
		// before the time asked for
		{"steady", -100, 0, g{"a": -40}},
		{"gone", -100, 5, g{"d": -40}},
	}
}

// alike compares structs, their numbers to six decimals: sums of floats depend on their order.
func alike[T any](a, b []T) bool {
	text := func(list []T) (lines []string) {
		for i := range list {
			v := reflect.ValueOf(&list[i]).Elem()
			for f := range v.NumField() {
				if x, ok := v.Field(f).Interface().(float64); ok {
					lines = append(lines, fmt.Sprintf("%.6f", x))
				} else {
					lines = append(lines, fmt.Sprint(v.Field(f).Interface()))
				}
			}
		}
		return lines
	}
	return slices.Equal(text(a), text(b))
}

func TestRadioDevices(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)
	db := radioStored(t, start, radioWorld(start)...)
	q := storage.RadioQuery{From: start, To: start.Add(time.Hour), Sort: "device"}
	got, next, err := db.RadioDevices(within(t), q, 0, "")
	if err != nil || next != "" {
		t.Fatalf("next %q, %v", next, err)
	}
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	want := []storage.DeviceRadio{
		{Device: "lossy", Seen: at(600), Uplinks: 7, Gateways: 2, RSSIdBm: -110, SNRdB: 1, DataRates: []string{"SF12BW125", "SF7BW125"}, AirtimeMs: 350, Expected: 6 + 3, Lost: 4 + 1, Resets: 1,
			LastGateway: "b", LastRSSIdBm: -110, LastSNRdB: 1, LastFCnt: 3},
		{Device: "once", Seen: at(50), Uplinks: 1, Gateways: 1, RSSIdBm: -100, SNRdB: 2, DataRates: []string{"SF7BW125"}, AirtimeMs: 50, LastGateway: "c", LastRSSIdBm: -100, LastSNRdB: 2, LastFCnt: 9},
		{Device: "restarted", Seen: at(400), Uplinks: 4, Gateways: 1, RSSIdBm: -100, SNRdB: 2, DataRates: []string{"SF7BW125"}, AirtimeMs: 200, Expected: 7, Lost: 6, Resets: 2,
			LastGateway: "c", LastRSSIdBm: -100, LastSNRdB: 2, LastFCnt: 50_000},
		{Device: "steady", Seen: at(500), Uplinks: 5, Gateways: 2, RSSIdBm: -90, SNRdB: 3, DataRates: []string{"SF7BW125"}, AirtimeMs: 250, Expected: 4, LastGateway: "a", LastRSSIdBm: -100, LastSNRdB: 2, LastFCnt: 5},
	}
	for i := range want {
		want[i].DevEUI, want[i].LastDataRate, want[i].LastFrequency = "eui-"+want[i].Device, "SF7BW125", 868_100_000
	}
	if len(got) != len(want) {
		t.Fatalf("%d devices, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("device %d\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}

	names := func(q storage.RadioQuery, limit int) string {
		t.Helper()
		var names []string
		for cursor, page := "", 0; page == 0 || cursor != ""; page++ {
			var found []storage.DeviceRadio
			found, cursor, err = db.RadioDevices(within(t), q, limit, cursor)
			if err != nil || len(found) > limit || len(found) == 0 && page > 0 {
				t.Fatalf("page %d of %+v: %d devices, %v", page, q, len(found), err)
			}
			for _, d := range found {
				names = append(names, d.Device)
			}
			q.From, q.To = q.From.Add(time.Minute), q.To.Add(time.Minute) // the list stays that of its first page
		}
		return strings.Join(names, " ")
	}
	for _, tc := range []struct{ sort, gateway, device, want string }{
		{"device", "", "", "lossy once restarted steady"},
		{"loss", "", "", "restarted lossy steady once"}, // 6 of 7, 5 of 9, none, unknown
		{"seen", "", "", "once restarted steady lossy"},
		{"rssi", "", "", "lossy once restarted steady"},
		{"snr", "", "", "lossy once restarted steady"},
		{"uplinks", "", "", "once restarted steady lossy"},
		{"airtime", "", "", "lossy steady restarted once"},
		{"loss", "b", "", "lossy steady"},
		{"loss", "d", "", ""},
		{"loss", "", "steady", "steady"},
		{"loss", "", "x' OR 1=1 --", ""},
	} {
		q := storage.RadioQuery{From: start, To: start.Add(time.Hour), Sort: tc.sort, Gateway: tc.gateway, Device: tc.device}
		for _, limit := range []int{1, 2, 100} {
			if got := names(q, limit); got != tc.want {
				t.Errorf("by %s, gateway %q, device %q, %d a page: %s, want %s", tc.sort, tc.gateway, tc.device, limit, got, tc.want)
			}
		}
	}

	links, err := db.Links(within(t), q.From, q.To, "lossy")
	wantLinks := []storage.Link{{"b", at(600), 7, (-125*2 - 121 - 110*4) / 7., (-0.5*2 - 0.1 + 4) / 7}, {"c", at(200), 1, -119, 0.1}}
	if err != nil || !alike(links, wantLinks) {
		t.Errorf("links %v, %v; want %v", links, err, wantLinks)
	}

	for _, q := range []storage.RadioQuery{{}, {From: start, To: start}, {From: start, To: start.Add(storage.MaxRadioSpan + time.Millisecond)}, {From: start, To: start.Add(time.Hour), Sort: "mood"}} {
		if _, _, err := db.RadioDevices(within(t), q, 0, ""); !isQueryError(err) {
			t.Errorf("%+v: %v, want a QueryError", q, err)
		}
	}
	_, next, err = db.RadioDevices(within(t), q, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, cursor := range []string{"?", "MSBh", next[:8]} {
		_, _, err := db.RadioDevices(within(t), q, 1, cursor)
		if _, ok := errors.AsType[*storage.CursorError](err); !ok {
			t.Errorf("cursor %q: %v, want a CursorError", cursor, err)
		}
	}
	q.Sort = "loss"
	if _, _, err := db.RadioDevices(within(t), q, 1, next); err == nil {
		t.Error("the cursor of another order is taken")
	}
}

func TestGateways(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)
	db := radioStored(t, start, radioWorld(start)...)
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	// a heard all 5 of steady. b heard 3 of steady's 5, so 2 are lost, and all 7 of lossy. c heard 1 of
	// lossy's 7, which is not its own then, all 4 of restarted, the one of once.
	want := []storage.GatewayRadio{
		{Gateway: "a", Seen: at(500), Uplinks: 5, Devices: 1, RSSIdBm: -98, SNRdB: 2.2, AirtimeMs: 250, OwnDevices: 1, Expected: 5},
		{Gateway: "b", Seen: at(600), Uplinks: 10, Devices: 2, RSSIdBm: (-330 - 125*2 - 121 - 110*4) / 10., SNRdB: (3 - 0.5*2 - 0.1 + 4) / 10, AirtimeMs: 500, OwnDevices: 2, Expected: 12, Lost: 2},
		{Gateway: "c", Seen: at(400), Uplinks: 6, Devices: 3, RSSIdBm: (-119 - 500) / 6., SNRdB: (0.1 + 10) / 6, AirtimeMs: 300, OwnDevices: 2, Expected: 5},
	}
	ask := func(id string, want ...storage.GatewayRadio) {
		t.Helper()
		got, err := db.Gateways(within(t), start, start.Add(time.Hour), id, nil)
		if err != nil || !alike(got, want) {
			t.Errorf("gateway %q: %v\n got %v\nwant %v", id, err, got, want)
		}
	}
	ask("", want...)
	for _, g := range want {
		ask(g.Gateway, g)
	}
	ask("d")
	ask("' OR 1=1 --")
	if _, err := db.Gateways(within(t), start, start.Add(8*24*time.Hour), "", nil); !isQueryError(err) {
		t.Errorf("eight days: %v, want a QueryError", err)
	}
}
