package lorawan

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"panormus/ingest"
	"panormus/ingest/telemetry"
	"panormus/stream/batch"
)

// uplink is one message of a device, whichever network server told of it.
type uplink struct {
	devEUI, domain string
	time           string // RFC 3339
	fCnt, fPort    float64
	data           string // base64
	decoded        bool   // a codec's result was there
	members        int    // of it
	encrypted      bool

	frequency            float64 // Hz
	bandwidth, spreading float64 // Hz, 7 to 12
	codeRate             string  // "CR_4_5" or "4/5"
	gateways             []gateway
}

type gateway struct {
	id        string
	time      string
	rssi, snr float64
}

// maxGateways bounds what is kept of one message; a city has about as many gateways.
const maxGateways = 64

// finish puts into out what is not in it yet: the device, the time and the radio's side.
func (u *uplink) finish(in *ingest.Input, out *ingest.Decoded) error {
	eui := strings.ToLower(or(u.devEUI, in.Device))
	if b, err := hex.DecodeString(eui); err != nil || len(b) != 8 {
		return ingest.Rejectf(ingest.ReasonTopic, "devEui %.32q, want 16 hexadecimal digits", eui)
	}
	out.DevEUI, out.Domain = eui, u.domain
	ms, err := u.when()
	if err != nil {
		return err
	}
	switch {
	case u.encrypted:
		return ingest.Rejectf(ingest.ReasonEncrypted, "joinServerContext is set: the payload is encrypted for the join server's application")
	case !u.decoded && u.data == "":
		return ingest.Rejectf(ingest.ReasonNoMetrics, "neither object nor data, want one")
	case !u.decoded:
		n := base64.StdEncoding.DecodedLen(len(u.data))
		return ingest.Rejectf(ingest.ReasonNoCodec, "data of up to %d bytes on port %v and no object, want a codec on the server or in the profile", n, u.fPort)
	case u.members == 0:
		return ingest.Rejectf(ingest.ReasonNoMetrics, "an empty object, want at least one member")
	}
	if ms != 0 {
		out.Records[0].Time, out.Records[0].OwnTime = ms, true
	}
	at := out.Records[0].Time
	if at == 0 {
		at = in.Received
	}
	for _, g := range u.gateways {
		out.Uplinks = append(out.Uplinks, batch.Uplink{
			Time: time.UnixMilli(at).UTC(), DevEUI: eui, Gateway: g.id, RSSIdBm: g.rssi, SNRdB: g.snr, FrequencyHz: u.frequency,
			DataRate: u.dataRate(), FCnt: int64(u.fCnt), FPort: int64(u.fPort), AirtimeMs: u.airtimeMs(),
		})
	}
	return nil
}

// when is the network server's time, or the first gateway's that has one, in Unix ms; 0 for none.
func (u *uplink) when() (int64, error) {
	at := u.time
	for i := 0; at == "" && i < len(u.gateways); i++ {
		at = u.gateways[i].time
	}
	if at == "" {
		return 0, nil
	}
	ms, err := telemetry.ParseTime(at)
	if err != nil {
		return 0, ingest.Rejectf(ingest.ReasonTime, "time: %v", err)
	}
	return ms, nil
}

func (u *uplink) dataRate() string {
	if u.spreading == 0 || u.bandwidth == 0 {
		return ""
	}
	return fmt.Sprintf("SF%.0fBW%.0f", u.spreading, u.bandwidth/1000)
}

// airtimeMs is the time on air of the frame in ms (Semtech AN1200.13), 0 where the modulation is
// not known. The frame is the payload and 13 bytes of LoRaWAN around it.
func (u *uplink) airtimeMs() float64 {
	if u.spreading < 5 || u.spreading > 12 || u.bandwidth <= 0 {
		return 0
	}
	size := float64(base64.RawStdEncoding.DecodedLen(len(strings.TrimRight(u.data, "="))) + 13)
	symbol := math.Exp2(u.spreading) / u.bandwidth * 1000
	lowRate := 0.0
	if symbol > 16 {
		lowRate = 1
	}
	cr := 1.0
	if n := len(u.codeRate); n > 0 && u.codeRate[n-1] >= '5' && u.codeRate[n-1] <= '8' {
		cr = float64(u.codeRate[n-1] - '4')
	}
	n := math.Ceil((8*size-4*u.spreading+28+16)/(4*(u.spreading-2*lowRate))) * (cr + 4)
	return (8+4.25)*symbol + (8+math.Max(n, 0))*symbol
}

func or(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}
