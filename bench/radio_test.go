package main

import (
	"context"
	"log/slog"
	"testing"

	"panormus/devices"
	"panormus/ingest"
	radioingest "panormus/ingest/lorawan"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/gather"
	"panormus/ingest/lorawan/raw"
	"panormus/ingest/udp"
	"panormus/simulators/lorawan"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// BenchmarkRadio is the load of the report's LoRaWAN section with everything in one process, for
// profiles: generator, listener, pump and log.
func BenchmarkRadio(b *testing.B) {
	const seed, nodes, perDatagram = 1, 10_000, 8
	quiet := slog.New(slog.DiscardHandler)
	l := logtest.New(b, nil)
	kv, err := l.KV(b.Context(), "devices")
	if err != nil {
		b.Fatal(err)
	}
	reg := devices.NewRegistry(kv, quiet)
	if err := reg.PutProfile(b.Context(), lorawan.LoadProfile()); err != nil {
		b.Fatal(err)
	}
	for _, d := range lorawan.LoadDevices(seed, nodes) {
		if err := reg.PutDevice(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
	bucket, err := l.KV(b.Context(), "lorawan")
	if err != nil {
		b.Fatal(err)
	}
	intake, codecs, table := radioingest.NewIntake(), radioingest.NewCodecs(), frame.NewTable(0)
	sessions := &radioingest.Sessions{Table: table, Codecs: codecs, Registry: reg, Bucket: bucket, Log: quiet}
	if _, _, err := sessions.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	sessions.Follow()
	network := &radioingest.Network{Registry: reg, Codecs: codecs}
	pump, err := ingest.New(ingest.Config{
		Log: l, Registry: reg, Decoders: network.Decoders(&raw.Decoder{Table: table, Registry: reg, Codec: codecs.Decode}),
		Routes: ingest.GatheredRoutes(), Logger: quiet,
	})
	if err != nil {
		b.Fatal(err)
	}
	listener, err := udp.Listen(udp.Config{Addr: "127.0.0.1:0", Receiver: func(int) udp.Receiver { return &gather.Datagrams{To: intake.Gatherer} }})
	if err != nil {
		b.Fatal(err)
	}
	intake.Sources = append(intake.Sources, listener)
	ctx, stop := context.WithCancel(b.Context())
	ran := make(chan error, 1)
	go func() { ran <- ingest.Run(ctx, pump, intake.Feed(pump)) }()

	first := uint32(0)
	for b.Loop() { // one round is a million uplinks
		r, err := lorawan.Load(ctx, lorawan.LoadOptions{UDP: listener.Addr().String(), Seed: seed, Nodes: nodes, Count: 1_000_000, First: first})
		if err != nil || r.Unacked > 0 {
			b.Fatalf("%v, %s", err, r)
		}
		first += uint32(r.Sent / nodes)
		b.ReportMetric(r.AckedRate, "uplinks/s")
		b.ReportMetric(r.CPUPerUplink, "cpu-us/uplink")
	}
	stop()
	if err := <-ran; err != nil {
		b.Fatal(err)
	}
	if st := pump.Stats(); st.Uplinks != uint64(first)*nodes || st.Observations != uint64(first)*nodes*lorawan.LoadMetrics {
		b.Fatalf("%+v, want %d uplinks", st, first*nodes)
	}
	if last, err := l.LastSeq(b.Context(), batch.KindUplinks); err != nil || last == 0 {
		b.Fatalf("last uplinks %d, %v", last, err)
	}
}
