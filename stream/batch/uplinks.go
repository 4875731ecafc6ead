package batch

import (
	"fmt"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
)

// An Uplink is the radio side of one LoRaWAN message as one gateway heard it.
type Uplink struct {
	Time        time.Time
	Device      string
	DevEUI      string // 16 hexadecimal digits
	Gateway     string
	RSSIdBm     float64
	SNRdB       float64
	FrequencyHz float64
	DataRate    string // "SF7BW125", as LoRaWAN's regional parameters write it
	FCnt        int64
	FPort       int64
	AirtimeMs   float64
}

// Uplinks is a batch of uplinks, built column by column: there is at least one a message of a
// device. The zero Uplinks is empty.
type Uplinks struct {
	time                              []int64 // Unix ms
	device, devEUI, gateway, dataRate Dict
	rssi, snr, frequency              []float64
	fcnt, fport                       []int64
	airtime                           []float64

	// The codes that go with the code of a device or came last, which saves most look-ups.
	euis []int16 // by code of the device
	rate int16
}

// Len is the number of rows.
func (b *Uplinks) Len() int { return len(b.time) }

// Reset empties the batch and keeps its memory.
func (b *Uplinks) Reset() {
	b.time, b.fcnt, b.fport = b.time[:0], b.fcnt[:0], b.fport[:0]
	b.rssi, b.snr, b.frequency, b.airtime = b.rssi[:0], b.snr[:0], b.frequency[:0], b.airtime[:0]
	b.device.reset()
	b.devEUI.reset()
	b.gateway.reset()
	b.dataRate.reset()
	b.euis = b.euis[:0]
}

// Device returns the code of a device, for Append.
func (b *Uplinks) Device(id string) int16 { return b.device.Code(id) }

// Append adds a row for the device with the code; u.Device does not count.
func (b *Uplinks) Append(device int16, u *Uplink) {
	b.time = append(b.time, u.Time.UnixMilli())
	b.device.Index = append(b.device.Index, device)
	for int(device) >= len(b.euis) {
		b.euis = append(b.euis, -1)
	}
	eui := b.euis[device]
	if eui < 0 || b.devEUI.Values[eui] != u.DevEUI {
		eui = b.devEUI.Code(u.DevEUI)
		b.euis[device] = eui
	}
	b.devEUI.Index = append(b.devEUI.Index, eui)
	b.gateway.Append(u.Gateway)
	if int(b.rate) >= len(b.dataRate.Values) || b.dataRate.Values[b.rate] != u.DataRate {
		b.rate = b.dataRate.Code(u.DataRate)
	}
	b.dataRate.Index = append(b.dataRate.Index, b.rate)
	b.rssi, b.snr = append(b.rssi, u.RSSIdBm), append(b.snr, u.SNRdB)
	b.frequency, b.airtime = append(b.frequency, u.FrequencyHz), append(b.airtime, u.AirtimeMs)
	b.fcnt, b.fport = append(b.fcnt, u.FCnt), append(b.fport, u.FPort)
}

var uplinksSchema = []arrow.Field{
	{Name: "time", Type: timestampMs}, {Name: "device", Type: dictType}, {Name: "dev_eui", Type: dictType},
	{Name: "gateway", Type: dictType}, {Name: "rssi_dbm", Type: arrow.PrimitiveTypes.Float64},
	{Name: "snr_db", Type: arrow.PrimitiveTypes.Float64}, {Name: "frequency_hz", Type: arrow.PrimitiveTypes.Float64},
	{Name: "data_rate", Type: dictType}, {Name: "f_cnt", Type: arrow.PrimitiveTypes.Int64},
	{Name: "f_port", Type: arrow.PrimitiveTypes.Int64}, {Name: "airtime_ms", Type: arrow.PrimitiveTypes.Float64},
}

// Encode returns the batch as an Arrow IPC stream. An empty batch, with no rows, is allowed.
func (b *Uplinks) Encode() ([]byte, error) {
	if b.Len() > MaxRows {
		return nil, fmt.Errorf("encode uplinks: %d rows, want at most %d", b.Len(), MaxRows)
	}
	return encode(KindUplinks, uplinksSchema, nil, b.Len(), []arrow.Array{
		timestamps(b.time), dictionary(&b.device), dictionary(&b.devEUI), dictionary(&b.gateway),
		float64s(b.rssi), float64s(b.snr), float64s(b.frequency), dictionary(&b.dataRate),
		int64s(b.fcnt), int64s(b.fport), float64s(b.airtime),
	})
}

// EncodeUplinks returns the uplinks as an Arrow IPC stream.
func EncodeUplinks(rows []Uplink) ([]byte, error) {
	var b Uplinks
	for i := range rows {
		if i >= MaxRows {
			return nil, fmt.Errorf("encode uplinks: %d rows, want at most %d", len(rows), MaxRows)
		}
		b.Append(b.Device(rows[i].Device), &rows[i])
	}
	return b.Encode()
}

// DecodeUplinks reads a batch of uplinks.
func DecodeUplinks(data []byte) ([]Uplink, error) {
	d, err := decode(KindUplinks, uplinksSchema, data)
	if err != nil {
		return nil, err
	}
	at, device, eui, gateway, rate := d.times(0), d.dict(1), d.dict(2), d.dict(3), d.dict(7)
	rssi, snr, frequency, airtime := d.float64s(4), d.float64s(5), d.float64s(6), d.float64s(10)
	fcnt, fport := d.int64s(8), d.int64s(9)
	if d.err != nil {
		return nil, d.err
	}
	out := make([]Uplink, len(at))
	for i := range out {
		out[i] = Uplink{
			Time: time.UnixMilli(at[i]).UTC(), Device: device.At(i), DevEUI: eui.At(i), Gateway: gateway.At(i),
			RSSIdBm: rssi[i], SNRdB: snr[i], FrequencyHz: frequency[i], DataRate: rate.At(i),
			FCnt: fcnt[i], FPort: fport[i], AirtimeMs: airtime[i],
		}
	}
	return out, nil
}
