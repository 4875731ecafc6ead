// Package ingesttest has what tests of ingest and its sources share: a log in memory with
// behaviour, a registry, and a pump over them.
package ingesttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/lorawan"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/raw"
	"panormus/ingest/telemetry"
	"panormus/stream/batch"
)

// Decoders are all there are.
func Decoders() map[string]ingest.Decoder {
	var n lorawan.Network
	all := n.Decoders(&raw.Decoder{Table: frame.NewTable(0), Registry: NewRegistry()})
	all["json"], all["senml"], all["senml-cbor"] = telemetry.JSON, telemetry.SenML, telemetry.SenMLCBOR
	return all
}

// A Log keeps batches in memory, decoded.
type Log struct {
	// Most is how many bytes of a batch it takes, 8 MiB where it is 0; set it before the pump is made.
	Most int

	mu       sync.Mutex
	open     chan struct{} // closed while the log takes batches
	ids      map[string]bool
	obs      []*batch.Observations
	uplinks  []batch.Uplink
	rejected []batch.Rejected
	det      []*batch.Detections
	perLane  map[int]int
	publish  int
}

// NewLog returns a log that takes batches.
func NewLog() *Log {
	l := &Log{open: make(chan struct{}), ids: map[string]bool{}, perLane: map[int]int{}}
	close(l.open)
	return l
}

// Block makes Publish wait until Unblock.
func (l *Log) Block() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

// Unblock lets Publish go on.
func (l *Log) Unblock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.open)
}

// MaxBatch implements ingest.Publisher.
func (l *Log) MaxBatch() int { return cmp.Or(l.Most, 8<<20) }

// Partitions implements ingest.Publisher.
func (l *Log) Partitions() int { return 16 }

// Publish implements ingest.Publisher.
func (l *Log) Publish(ctx context.Context, kind batch.Kind, partition int, id string, data []byte) (uint64, error) {
	if len(data) > l.MaxBatch() {
		return 0, fmt.Errorf("a batch of %d bytes, want at most %d", len(data), l.MaxBatch())
	}
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	select {
	case <-open:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if key := string(kind) + id; l.ids[key] {
		return 0, errors.New("the same id twice")
	} else {
		l.ids[key] = true
	}
	var err error
	switch kind {
	case batch.KindObservations:
		var o *batch.Observations
		if o, err = batch.DecodeObservations(data); err == nil {
			l.obs = append(l.obs, o)
			l.perLane[partition] += o.Len()
		}
	case batch.KindDetections:
		var d *batch.Detections
		if d, err = batch.DecodeDetections(data); err == nil {
			l.det = append(l.det, d)
		}
	case batch.KindUplinks:
		var rows []batch.Uplink
		rows, err = batch.DecodeUplinks(data)
		l.uplinks = append(l.uplinks, rows...)
	case batch.KindRejected:
		var rows []batch.Rejected
		rows, err = batch.DecodeRejected(data)
		l.rejected = append(l.rejected, rows...)
	}
	l.publish++
	return uint64(l.publish), err
}

// Detections returns every row of video metadata on the log.
func (l *Log) Detections() []batch.Detection {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []batch.Detection
	for _, d := range l.det {
		for i := range d.Len() {
			out = append(out, d.Row(i))
		}
	}
	return out
}

// A Row is one observation, flat.
type Row struct {
	Time, Received         int64
	Domain, Device, Metric string
	Value                  float64 // 0 for NaN, so that rows compare
	Text                   string
	Quality                devices.Quality
}

// Rows returns every observation on the log.
func (l *Log) Rows() []Row {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Row
	for _, o := range l.obs {
		for i := range o.Len() {
			v := o.Value[i]
			if math.IsNaN(v) {
				v = 0
			}
			out = append(out, Row{
				Time: o.Time[i], Received: o.Received[i], Domain: o.Domain.At(i), Device: o.Device.At(i),
				Metric: o.Metric.At(i), Value: v, Text: o.Text.At(i), Quality: o.Quality[i],
			})
		}
	}
	return out
}

// Fingerprints returns how many are on the log.
func (l *Log) Fingerprints() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.obs {
		n += len(o.Fingerprints)
	}
	return n
}

// Rejected returns the dead letter.
func (l *Log) Rejected() []batch.Rejected {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]batch.Rejected(nil), l.rejected...)
}

// Uplinks returns the radio metadata.
func (l *Log) Uplinks() []batch.Uplink {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]batch.Uplink(nil), l.uplinks...)
}

// store is a devices.Store in memory.
type store struct{}

func (store) Put(context.Context, string, []byte) error { return nil }
func (store) Delete(context.Context, string) error      { return nil }
func (store) Watch(ctx context.Context, _ func(string, []byte), synced func()) error {
	synced()
	<-ctx.Done()
	return ctx.Err()
}

// NewRegistry returns an empty registry.
func NewRegistry() *devices.Registry {
	return devices.NewRegistry(store{}, slog.New(slog.DiscardHandler))
}

// NewPump returns a running pump over l, which ends with the test. Change may adapt its settings.
func NewPump(t testing.TB, l ingest.Publisher, change func(*ingest.Config)) *ingest.Pump {
	t.Helper()
	cfg := ingest.Config{
		Log: l, Registry: NewRegistry(), Decoders: Decoders(), Linger: 5 * time.Millisecond, Fingerprints: 1 << 14,
	}
	if change != nil {
		change(&cfg)
	}
	p, err := ingest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return p
}

// Eventually waits until ok, for a minute at most.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("after a minute: not yet %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
