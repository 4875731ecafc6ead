package load

import (
	"bufio"
	"fmt"
	"io"
	"time"
)

// A Report is what a run did. Rates are over Elapsed, which is from the first message to the last
// acknowledgement (at QoS 0 to the broker's answer to a last ping).
type Report struct {
	Started     time.Time `json:"started"`
	Elapsed     float64   `json:"elapsed_s"`
	Connections int       `json:"connections"`
	InFlight    int       `json:"in_flight"`
	QoS         byte      `json:"qos"`
	Devices     int       `json:"devices"`
	Metrics     int       `json:"metrics"`
	Payload     int       `json:"payload_bytes"` // the last, by and large of all

	Sent       int64  `json:"sent"`   // messages, each counted once
	Acked      int64  `json:"acked"`  // 0 at QoS 0
	Resent     int64  `json:"resent"` // again, with DUP
	Unacked    int64  `json:"unacked"`
	Unexpected int64  `json:"unexpected_acks"` // for no message in flight: twice acknowledged, or made up
	Reconnects int64  `json:"reconnects"`
	Errors     int64  `json:"errors"` // connections lost
	FirstError string `json:"first_error,omitempty"`

	SentRate  float64 `json:"sent_per_s"`
	AckedRate float64 `json:"acked_per_s"`
	Bytes     int64   `json:"bytes"`
	// Latency is from writing a message to reading its acknowledgement, outages included. Sockets are
	// read every 1 to 4 ms (up to 33 connections, 128 and more), so it is up to that and 1/64 too high.
	Latency Latency `json:"ack_latency_ms"`
	// Behind is the most that sending ran behind the rate asked, for want of acknowledgements.
	Behind float64 `json:"behind_max_ms"`
	// CPU is what this process used, all of it.
	CPU           float64 `json:"cpu_s"`
	CPUPerMessage float64 `json:"cpu_us_per_message"`
	// FirstTS and LastTS are the least and greatest ts sent, Unix ms.
	FirstTS int64 `json:"first_ts"`
	LastTS  int64 `json:"last_ts"`

	// UnackedMessages are those neither acknowledged nor given up by the broker: it may hold them.
	UnackedMessages []Message `json:"unacked_messages,omitempty"`
	// Books has one entry a device, in order.
	Books []Book `json:"-"`
}

// Latency is in milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// A Message names one publish: the device's n-th, with its time stamp in Unix ms.
type Message struct {
	Device string `json:"device"`
	N      uint32 `json:"n"`
	TS     int64  `json:"ts"`
}

// A Book is one device's account: it sent n from 1 to Sent, of which Acked were acknowledged. Those
// that were not are in the report's UnackedMessages, so at QoS 1 a store is right when for every
// device it has each n from 1 to Sent once, but for those messages, which it has at most once.
type Book struct {
	Device string
	Sent   uint32
	Acked  uint32
}

// String is the report in one line.
func (r Report) String() string {
	if r.QoS == 0 {
		return fmt.Sprintf("load: %d sent at QoS 0 in %.1f s, %.0f/s, %d connections; %d errors; own CPU %.2f us a message",
			r.Sent, r.Elapsed, r.SentRate, r.Connections, r.Errors, r.CPUPerMessage)
	}
	return fmt.Sprintf("load: %d acked of %d sent in %.1f s, %.0f/s, %d connections, %d in flight; "+
		"ack ms p50 %.1f p95 %.1f p99 %.1f max %.1f; %d resent, %d unacked, %d errors; own CPU %.2f us a message",
		r.Acked, r.Sent, r.Elapsed, r.AckedRate, r.Connections, r.InFlight,
		r.Latency.P50, r.Latency.P95, r.Latency.P99, r.Latency.Max, r.Resent, r.Unacked, r.Errors, r.CPUPerMessage)
}

// WriteBooks writes the books as CSV: device,sent,acked.
func (r Report) WriteBooks(w io.Writer) error {
	b := bufio.NewWriter(w)
	_, _ = fmt.Fprintln(b, "device,sent,acked")
	for _, book := range r.Books {
		_, _ = fmt.Fprintf(b, "%s,%d,%d\n", book.Device, book.Sent, book.Acked)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write books: %w", err)
	}
	return nil
}

func deviceName(o *Options, number int32) string {
	return fmt.Sprintf("%s-%0*d", o.Prefix, deviceDigits, number)
}

// report closes the books of conns, which no longer run.
func report(o *Options, s *schedule, conns []*connection, elapsed time.Duration, cpu time.Duration) Report {
	r := Report{
		Started: s.start.UTC(), Connections: o.Connections, InFlight: o.InFlight, QoS: o.QoS,
		Devices: o.Devices, Metrics: o.Metrics, Payload: conns[0].enc.payloadBytes(),
		Books: make([]Book, o.Devices), CPU: cpu.Seconds(),
	}
	latency := new(histogram)
	var lastAck int64
	var behind time.Duration
	for _, c := range conns {
		r.Sent += c.sent.Load()
		r.Acked += c.acked.Load()
		r.Resent += c.resent
		r.Unexpected += c.unexpected
		r.Reconnects += c.reconnects
		r.Errors += c.troubles
		r.Bytes += c.bytes
		if c.trouble != nil && r.FirstError == "" {
			r.FirstError = c.trouble.Error()
		}
		latency.merge(&c.latency)
		lastAck = max(lastAck, c.lastAck)
		behind = max(behind, c.behind)
		if c.firstTS != 0 && (r.FirstTS == 0 || c.firstTS < r.FirstTS) {
			r.FirstTS = c.firstTS
		}
		r.LastTS = max(r.LastTS, c.lastTS)
		for i := range c.slots {
			if m := c.slots[i]; m.sent >= 0 {
				r.UnackedMessages = append(r.UnackedMessages, Message{Device: deviceName(o, m.device), N: m.n, TS: m.ts})
			}
		}
		for i, d := range c.devices {
			number := c.device(i)
			r.Books[number] = Book{Device: deviceName(o, number), Sent: d.n, Acked: d.acked}
		}
	}
	if o.QoS > 0 && lastAck > 0 {
		elapsed = time.Duration(lastAck)
	}
	r.Unacked = int64(len(r.UnackedMessages))
	r.Elapsed = elapsed.Seconds()
	if r.Elapsed > 0 {
		r.SentRate, r.AckedRate = float64(r.Sent)/r.Elapsed, float64(r.Acked)/r.Elapsed
	}
	if r.Sent > 0 {
		r.CPUPerMessage = r.CPU * 1e6 / float64(r.Sent)
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r.Latency = Latency{
		Mean: ms(latency.mean()), P50: ms(latency.quantile(0.5)), P95: ms(latency.quantile(0.95)),
		P99: ms(latency.quantile(0.99)), P999: ms(latency.quantile(0.999)), Max: ms(latency.max),
	}
	r.Behind = ms(behind)
	return r
}
