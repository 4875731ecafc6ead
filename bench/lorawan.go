package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"panormus/devices"
	"panormus/simulators/lorawan"
	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// radio sends encrypted LoRaWAN frames over the packet forwarder's UDP protocol: each is checked,
// decrypted, merged with its copies and decoded by its profile's layout. It measures twice: with
// everything on, and with the database away, when nothing reads the log.
func radio(ctx context.Context, quick bool, w io.Writer) error {
	data, err := os.MkdirTemp("", "panormus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	o := lorawan.LoadOptions{Seed: 1, Nodes: 10_000, Duration: 30 * time.Second}
	if quick {
		o.Duration = 8 * time.Second
	}
	stored, err := radioStored(ctx, data, o)
	if err != nil {
		return err
	}
	o.First = stored.report.Books[0].Sent + 1 // the first node sends no fewer than any other
	o.Prepare = int(o.Duration/time.Second) * 200_000
	logged, err := radioLogged(ctx, data, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n## LoRaWAN over UDP\n%d nodes, 100 gateways, 8 frames a datagram, %.0f s, as fast as acknowledged: check, decrypt, layout codec.\n"+
		"To the log: the database is away, so nothing but ingest and the log runs. Everything: ClickHouse, rules and control room too.\n\n"+
		"| figure | to the log | wanted | everything |\n|---|---|---|---|\n"+
		"| uplinks acknowledged a second | %.0f | 150,000 | %.0f |\n| lost of those acknowledged | %d of %d | 0 | %d of %d |\n| doubled | %d | 0 | %d |\n"+
		"| observations, %d an uplink wanted | %.3f | %d | %.3f |\n"+
		"| resident memory, all processes: most | %.0f MiB | | %.0f MiB |\n",
		o.Nodes, logged.report.Elapsed, logged.report.AckedRate, stored.report.AckedRate,
		logged.lost(), logged.report.Acked, stored.lost(), stored.report.Acked,
		logged.rows-logged.distinct, stored.rows-stored.distinct,
		lorawan.LoadMetrics, float64(logged.observations)/float64(logged.distinct), lorawan.LoadMetrics, float64(stored.observations)/float64(stored.distinct),
		mib(logged.memory), mib(stored.memory))
	fmt.Fprintf(w, "\nCPU, us an uplink, to the log: %s; everything: %s.\n", logged.cpu, stored.cpu)
	return nil
}

// radioRun is what came of one load.
type radioRun struct {
	report                       lorawan.LoadReport
	rows, distinct, observations int64 // uplinks found, those among them that differ, and their values
	memory                       int64 // most resident bytes
	cpu                          string
}

// lost is how many uplinks were acknowledged and not found. More than were acknowledged may be: an
// answer can come too late.
func (r *radioRun) lost() int64 { return max(r.report.Acked-r.distinct, 0) }

// load sends and notes what it costs.
func (r *radioRun) load(ctx context.Context, s *system, o lorawan.LoadOptions) (err error) {
	before, memory := s.usage(), s.watch()
	if r.report, err = lorawan.Load(ctx, o); err != nil {
		return err
	}
	r.memory = slices.Max(append(memory(), 0))
	r.cpu = fmt.Sprintf("generator %.2f", r.report.CPUPerUplink)
	after := s.usage()
	for _, name := range slices.Sorted(maps.Keys(after)) {
		r.cpu += fmt.Sprintf(", %s %.2f", name, float64((after[name].cpu-before[name].cpu).Microseconds())/float64(r.report.Acked))
	}
	return nil
}

// radioStored loads a system with all its roles and counts what it stored.
func radioStored(ctx context.Context, data string, o lorawan.LoadOptions) (r radioRun, err error) {
	s, _, err := startSystem(ctx, data)
	if err != nil {
		return r, err
	}
	defer s.stop()
	profile := lorawan.LoadProfile()
	if err := s.send(ctx, http.MethodPut, "/api/v1/profiles/"+profile.ID, profile); err != nil {
		return r, err
	}
	all := lorawan.LoadDevices(o.Seed, o.Nodes)
	if err := s.send(ctx, http.MethodPost, "/api/v1/devices", map[string][]devices.Device{"devices": all}); err != nil {
		return r, err
	}
	o.UDP = s.info.LoRaWANUDP
	if err := r.load(ctx, s, o); err != nil {
		return r, err
	}
	if _, err := s.waitIdle(ctx, r.report.Acked*lorawan.LoadMetrics); err != nil {
		return r, err
	}
	for _, c := range []struct {
		to  *int64
		sql string
	}{
		{&r.rows, "SELECT count() FROM uplinks"}, {&r.distinct, "SELECT sum(n) FROM (SELECT groupBitmap(toUInt32(f_cnt)) AS n FROM uplinks GROUP BY dev_eui)"},
		{&r.observations, "SELECT count() FROM observations WHERE startsWith(device, 'lora-load-')"},
	} {
		n, err := s.sqlFloat(c.sql)
		if err != nil {
			return r, err
		}
		*c.to = int64(n)
	}
	return r, nil
}

// radioLogged loads a system that finds no database and counts what is on its log.
func radioLogged(ctx context.Context, data string, o lorawan.LoadOptions) (r radioRun, err error) {
	before, err := lastOnLog(ctx, data)
	if err != nil {
		return r, err
	}
	udp, err := freeUDP()
	if err != nil {
		return r, err
	}
	o.UDP = udp
	s, err := launch(data, "--lorawan-udp", udp, "--clickhouse", "http://127.0.0.1:9") // nobody is there
	if err != nil {
		return r, err
	}
	stopped := false
	defer func() {
		if !stopped {
			s.stop()
		}
	}()
	if err := answers(ctx, udp); err != nil {
		return r, err
	}
	if err := r.load(ctx, s, o); err != nil {
		return r, err
	}
	s.stop() // which publishes what is in hand
	stopped = true
	return r, r.count(ctx, data, before)
}

// count reads what is on the log since before.
func (r *radioRun) count(ctx context.Context, data string, before map[batch.Kind]uint64) error {
	l, err := openLog(ctx, data)
	if err != nil {
		return err
	}
	defer l.Close()
	type frame struct {
		eui  string
		fcnt int64
	}
	seen := map[frame]struct{}{}
	err = eachOnLog(ctx, l, batch.KindUplinks, before[batch.KindUplinks], func(data []byte) error {
		rows, err := batch.DecodeUplinks(data)
		for i := range rows {
			seen[frame{rows[i].DevEUI, rows[i].FCnt}] = struct{}{}
		}
		r.rows += int64(len(rows))
		return err
	})
	if err != nil {
		return err
	}
	r.distinct = int64(len(seen))
	return eachOnLog(ctx, l, batch.KindObservations, before[batch.KindObservations], func(data []byte) error {
		rows, err := batch.DecodeObservations(data)
		if err == nil {
			r.observations += int64(rows.Len())
		}
		return err
	})
}

// openLog opens the log of a system that does not run.
func openLog(ctx context.Context, data string) (*streamlog.Log, error) {
	return streamlog.Open(ctx, streamlog.Config{Dir: filepath.Join(data, "log"), Sync: streamlog.DefaultSync})
}

func lastOnLog(ctx context.Context, data string) (map[batch.Kind]uint64, error) {
	l, err := openLog(ctx, data)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	last := map[batch.Kind]uint64{}
	for _, kind := range []batch.Kind{batch.KindUplinks, batch.KindObservations} {
		if last[kind], err = l.LastSeq(ctx, kind); err != nil {
			return nil, err
		}
	}
	return last, nil
}

func eachOnLog(ctx context.Context, l *streamlog.Log, kind batch.Kind, after uint64, each func(data []byte) error) error {
	last, err := l.LastSeq(ctx, kind)
	if err != nil || last <= after {
		return err
	}
	reader, err := l.Read(ctx, kind, after)
	if err != nil {
		return err
	}
	defer reader.Close()
	for seq := after; seq < last; {
		m, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		if err := each(m.Data); err != nil {
			return err
		}
		seq = m.Seq
	}
	return nil
}

func freeUDP() (string, error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.LocalAddr().String(), nil
}

// answers waits until a packet forwarder's keepalive is answered.
func answers(ctx context.Context, udp string) error {
	c, err := net.Dial("udp", udp)
	if err != nil {
		return err
	}
	defer c.Close()
	var b [64]byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		_, _ = c.Write([]byte{2, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1}) // refused as long as nobody listens
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := c.Read(b[:]); err == nil && n == 4 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("no answer to a gateway after a minute")
}
