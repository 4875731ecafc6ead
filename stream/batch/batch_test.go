package batch

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sample(messages int) *Observations {
	o := &Observations{}
	for m := range messages {
		h := o.Begin(1732311111000+int64(m), 1732311111200+int64(m), "lighting", fmt.Sprintf("pole-%d", m))
		for i := range 4 {
			o.Append(h, fmt.Sprintf("metric_%d", i), float64(m)+float64(i)/10, "", uint8(i))
		}
		o.Append(h, "status", 0, []string{"ok", "dim", "è"}[m%3], 0)
		o.Fingerprints = append(o.Fingerprints, uint64(m)*0x9e3779b97f4a7c15)
	}
	return o
}

func TestObservationsRoundTrip(t *testing.T) {
	for _, messages := range []int{0, 1, 700} {
		want := sample(messages)
		data, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeObservations(data)
		if err != nil {
			t.Fatal(err)
		}
		if got.Len() != messages*5 {
			t.Fatalf("%d rows, want %d", got.Len(), messages*5)
		}
		for i := range got.Len() {
			g := fmt.Sprint(got.Time[i], got.Received[i], got.Domain.At(i), got.Device.At(i), got.Metric.At(i), got.Value[i], got.Text.At(i), got.Quality[i])
			w := fmt.Sprint(want.Time[i], want.Received[i], want.Domain.At(i), want.Device.At(i), want.Metric.At(i), want.Value[i], want.Text.At(i), want.Quality[i])
			if g != w {
				t.Fatalf("row %d: %s, want %s", i, g, w)
			}
		}
		prints, err := Fingerprints(KindObservations, data)
		if err != nil || len(prints) != messages || (messages > 0 && !reflect.DeepEqual(prints, want.Fingerprints)) {
			t.Fatalf("fingerprints %v, %v; want %v", prints, err, want.Fingerprints)
		}
	}
}

func TestObservationsReuse(t *testing.T) {
	o := sample(50)
	o.Reset()
	h := o.Begin(1, 2, "water", "meter")
	o.Append(h, "flow", 3, "", 0)
	data, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeObservations(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Len() != 1 || got.Device.At(0) != "meter" || len(got.Device.Values) != 1 || len(got.Fingerprints) != 0 {
		t.Errorf("after Reset: %+v, want the one row of meter", got)
	}
}

func TestObservationsTooMany(t *testing.T) {
	if _, err := sample(6554).Encode(); err == nil {
		t.Error("32,770 rows were encoded, want an error: an index has 15 bits")
	}
}

func TestEventsRoundTrip(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 120e6, time.UTC)
	want := []Event{
		{ID: "a", Rule: "r", RuleVersion: "1", Severity: "major", State: "raised", Time: at, Received: at.Add(time.Second), Domain: "waste", Device: "bin", Zone: "z", Key: "bin", Text: "full", Context: json.RawMessage(`{"n":1}`)},
		{ID: "b", Rule: "r", State: "cleared", Time: at, Received: at, Context: json.RawMessage(`{}`)},
	}
	data, err := EncodeEvents(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeEvents(data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := DecodeRejected(data); err == nil || !strings.Contains(err.Error(), `kind "events"`) {
		t.Errorf("events read as rejected: %v, want an error that names the kind found", err)
	}
}

func TestRejectedRoundTrip(t *testing.T) {
	want := []Rejected{{Received: time.UnixMilli(1732311111123).UTC(), Source: "broker", Topic: "city/x/y/telemetry", Reason: "json", Detail: "d", Payload: []byte{0, 255, '{'}}}
	data, err := EncodeRejected(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeRejected(data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestUplinksRoundTrip(t *testing.T) {
	want := []Uplink{{Time: time.UnixMilli(1732311111123).UTC(), Device: "d", DevEUI: "7894e8000005874b", Gateway: "g", RSSIdBm: -110, SNRdB: 3.8, FrequencyHz: 868.1e6, DataRate: "SF7BW125", FCnt: 336, FPort: 1, AirtimeMs: 56.6}}
	data, err := EncodeUplinks(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeUplinks(data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

// Every cut of a batch is refused or, past its rows, harmless; none panics.
func TestDecodeCut(t *testing.T) {
	data, err := sample(3).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if o, err := DecodeObservations(data[:n]); err == nil && o.Len() != 15 {
			t.Fatalf("cut to %d of %d bytes: %d rows and no error", n, len(data), o.Len())
		}
	}
}

func FuzzDecodeObservations(f *testing.F) {
	for _, n := range []int{0, 1, 20} {
		data, err := sample(n).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		o, err := DecodeObservations(data)
		if err != nil {
			return
		}
		for i := range o.Len() {
			_ = o.Domain.At(i) + o.Device.At(i) + o.Metric.At(i) + o.Text.At(i)
			_ = o.Value[i] + float64(o.Quality[i]) + float64(o.Time[i]+o.Received[i])
		}
	})
}
