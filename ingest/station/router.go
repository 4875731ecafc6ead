package station

import (
	"encoding/json"

	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

// routerConfig is what a gateway is told to listen to.
type routerConfig struct {
	MsgType   string      `json:"msgtype"`
	NetID     []uint32    `json:"NetID,omitempty"` // none: all
	JoinEUI   [][2]uint64 `json:"JoinEui,omitempty"`
	Region    string      `json:"region"`
	HWSpec    string      `json:"hwspec"`
	FreqRange [2]uint32   `json:"freq_range"`
	DRs       [][3]int    `json:"DRs"` // spreading factor, bandwidth in kHz, downlink only
	Chips     []chip      `json:"sx1301_conf"`
	NoCCA     bool        `json:"nocca"`
	NoDC      bool        `json:"nodc"`
	NoDwell   bool        `json:"nodwell"`
}

// A chip is a concentrator: 8 LoRa channels of 125 kHz, one of 250 kHz and one FSK, around the
// centres of two radios.
type chip map[string]any

type chipRadio struct {
	Enable bool   `json:"enable"`
	Freq   uint32 `json:"freq"`
}

type channel struct {
	Enable          bool   `json:"enable"`
	Radio           int    `json:"radio"`
	IF              int    `json:"if"` // Hz from the radio's centre
	Bandwidth       uint32 `json:"bandwidth,omitempty"`
	SpreadingFactor uint8  `json:"spread_factor,omitempty"`
	DataRate        uint32 `json:"datarate,omitempty"`
}

// The usual eight channels of a network in EU868, with the centres of the two radios.
const (
	radio0 = 867_500_000
	radio1 = 868_500_000
)

// plans of channels by radio and offset from its centre.
var eu868 = [8]channel{
	{Radio: 1, IF: -400_000}, {Radio: 1, IF: -200_000}, {Radio: 1, IF: 0}, // 868.1, 868.3, 868.5
	{Radio: 0, IF: -400_000}, {Radio: 0, IF: -200_000}, {Radio: 0, IF: 0}, // 867.1, 867.3, 867.5
	{Radio: 0, IF: 200_000}, {Radio: 0, IF: 400_000}, // 867.7, 867.9
}

// maxDRs is how many data rates router_config has places for.
const maxDRs = 16

// EU868 is the router_config of EU868: the eight usual channels, SF7 at 250 kHz and FSK.
func EU868() []byte {
	c := routerConfig{
		MsgType: "router_config", Region: "EU863", HWSpec: "sx1301/1",
		FreqRange: [2]uint32{radio.EU868.MinHz, radio.EU868.MaxHz},
	}
	for i := range maxDRs {
		d := radio.EU868.Rate(i)
		switch d.Modulation {
		case radio.LoRa:
			c.DRs = append(c.DRs, [3]int{int(d.SpreadingFactor), int(d.BandwidthHz / 1000), 0})
		case radio.FSK:
			c.DRs = append(c.DRs, [3]int{0, 0, 0})
		default:
			c.DRs = append(c.DRs, [3]int{-1, 0, 0})
		}
	}
	conf := chip{
		"radio_0":       chipRadio{true, radio0},
		"radio_1":       chipRadio{true, radio1},
		"chan_Lora_std": channel{Enable: true, Radio: 1, IF: -200_000, Bandwidth: 250_000, SpreadingFactor: 7},
		"chan_FSK":      channel{Enable: true, Radio: 1, IF: 300_000, Bandwidth: 125_000, DataRate: 50_000},
	}
	for i, ch := range eu868 {
		ch.Enable = true
		conf["chan_multiSF_"+string(rune('0'+i))] = ch
	}
	c.Chips = []chip{conf}
	return mustJSON(c)
}

// discovery answers a gateway that asks where to connect.
type discovery struct {
	Router string `json:"router"`
	Muxs   string `json:"muxs,omitempty"`
	URI    string `json:"uri,omitempty"`
	Error  string `json:"error,omitempty"`
}

// timeSync answers a gateway that asks what time it is.
type timeSync struct {
	MsgType string `json:"msgtype"`
	TxTime  int64  `json:"txtime"`
	GPSTime int64  `json:"gpstime"` // µs
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// id6 is an EUI as Station likes it.
func id6(e frame.EUI) string { return envelope.FormatID6(e) }
