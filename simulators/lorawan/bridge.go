package lorawan

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// What ChirpStack's gateway bridge (version 4) publishes: gw.UplinkFrame and gw.GatewayStats, as
// JSON, in which zeros are left out, or as protobuf.

// topic is that of an event, up or stats, of g.
func (g *gateway) topic(event string) string { return "eu868/gateway/" + g.id() + "/event/" + event }

const rfc3339ms = "2006-01-02T15:04:05.000Z07:00"

type jsonFrame struct {
	PHYPayload []byte     `json:"phyPayload"`
	TxInfo     jsonTxInfo `json:"txInfo"`
	RxInfo     jsonRxInfo `json:"rxInfo"`
}

type jsonTxInfo struct {
	Frequency  uint32 `json:"frequency"`
	Modulation struct {
		LoRa jsonLoRa `json:"lora"`
	} `json:"modulation"`
}

type jsonLoRa struct {
	Bandwidth       uint32 `json:"bandwidth"`
	SpreadingFactor int    `json:"spreadingFactor"`
	CodeRate        string `json:"codeRate"`
}

type jsonRxInfo struct {
	GatewayID string        `json:"gatewayId"`
	UplinkID  uint32        `json:"uplinkId"`
	GwTime    string        `json:"gwTime,omitempty"`
	NsTime    string        `json:"nsTime,omitempty"`
	RSSI      int           `json:"rssi"`
	SNR       float64       `json:"snr,omitempty"`
	Channel   int           `json:"channel,omitempty"`
	Location  *jsonLocation `json:"location,omitempty"`
	Context   string        `json:"context,omitempty"`
	CRCStatus string        `json:"crcStatus,omitempty"`
}

type jsonLocation struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Altitude  float64 `json:"altitude,omitempty"`
}

func (u *uplink) txInfo() jsonTxInfo {
	var t jsonTxInfo
	t.Frequency = channels[u.channel]
	t.Modulation.LoRa = jsonLoRa{125_000, u.sf, "CR_4_5"}
	return t
}

func (g *gateway) rxInfo(u *uplink, r *reception) jsonRxInfo {
	i := jsonRxInfo{
		GatewayID: g.id(), UplinkID: u.id(g), RSSI: int(r.rssi), SNR: r.snr, Channel: u.channel,
		Location: &jsonLocation{g.place.Lat, g.place.Lon, g.altitudeM}, Context: base64.StdEncoding.EncodeToString([]byte{0, 0, 0, byte(g.index)}), CRCStatus: "CRC_OK",
	}
	if g.clock {
		i.GwTime = u.at.UTC().Format(rfc3339ms)
	}
	return i
}

// id is the gateway's number for what it heard.
func (u *uplink) id(g *gateway) uint32 {
	return uint32(hash(u.node.key, uint64(u.slot), uint64(g.index), 'u')%65_535) + 1
}

// frameJSON is the up event of u as r hears it.
func (g *gateway) frameJSON(u *uplink, r *reception) []byte {
	return marshal(jsonFrame{u.phy, u.txInfo(), g.rxInfo(u, r)})
}

// marshal writes v, which is one of ours.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// frameProto is the same in protobuf.
func (g *gateway) frameProto(u *uplink, r *reception) []byte {
	lora := appendUint(nil, 1, 125_000)
	lora = appendUint(lora, 2, uint64(u.sf))
	lora = appendUint(lora, 5, 1) // CR_4_5
	tx := appendUint(nil, 1, uint64(channels[u.channel]))
	tx = appendBytes(tx, 2, appendBytes(nil, 3, lora))
	rx := appendBytes(nil, 1, []byte(g.id()))
	rx = appendUint(rx, 2, uint64(u.id(g)))
	if g.clock {
		rx = appendBytes(rx, 3, timestamp(u.at))
	}
	rx = appendUint(rx, 6, uint64(int64(r.rssi)))
	rx = protowire.AppendFixed32(protowire.AppendTag(rx, 7, protowire.Fixed32Type), math.Float32bits(float32(r.snr)))
	rx = appendUint(rx, 8, uint64(u.channel))
	rx = appendBytes(rx, 12, g.location())
	rx = appendBytes(rx, 13, []byte{0, 0, 0, byte(g.index)})
	rx = appendUint(rx, 16, 2) // CRC_OK
	b := appendBytes(nil, 1, u.phy)
	b = appendBytes(b, 4, tx)
	return appendBytes(b, 5, rx)
}

// statsJSON is the stats event.
func (g *gateway) statsJSON(a activity, now time.Time) []byte {
	return fmt.Appendf(nil, `{"gatewayId":"%s","time":"%s","location":{"latitude":%.6f,"longitude":%.6f,"altitude":%.0f},"rxPacketsReceived":%d,"rxPacketsReceivedOk":%d,"metadata":{"model":"Panormus simulator"}}`,
		g.id(), now.UTC().Format(rfc3339ms), g.place.Lat, g.place.Lon, g.altitudeM, a.heard, a.heard)
}

// statsProto is the same in protobuf.
func (g *gateway) statsProto(a activity, now time.Time) []byte {
	b := appendBytes(nil, 2, timestamp(now))
	b = appendBytes(b, 3, g.location())
	b = appendUint(b, 5, uint64(a.heard))
	b = appendUint(b, 6, uint64(a.heard))
	return appendBytes(b, 17, []byte(g.id()))
}

// location is a common.Location.
func (g *gateway) location() []byte {
	var b []byte
	for i, v := range []float64{g.place.Lat, g.place.Lon, g.altitudeM} {
		b = protowire.AppendFixed64(protowire.AppendTag(b, protowire.Number(i+1), protowire.Fixed64Type), math.Float64bits(v))
	}
	return b
}

// timestamp is a google.protobuf.Timestamp.
func timestamp(t time.Time) []byte {
	return appendUint(appendUint(nil, 1, uint64(t.Unix())), 2, uint64(t.Nanosecond()))
}

func appendUint(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func appendBytes(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

// application is the ChirpStack application of our nodes.
const application = "6f1c1b52-4d0a-4c7e-9d0e-3a4b5c6d7e8f"

// eventTopic is that of an up event of ChirpStack's integration.
func (nd *node) eventTopic() string {
	return "application/" + application + "/device/" + nd.devEUI + "/event/up"
}

// event is what ChirpStack tells of u: with an object if it decodes, and all gateways that heard it.
func (n *Network) event(u *uplink) []byte {
	nd := u.node
	id := hash(nd.key, 'U', uint64(u.slot))
	e := map[string]any{
		"deduplicationId": fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(id), id>>32&0xffff, id>>48&0xfff, id>>20&0xfff, hash(id)&0xffff_ffff_ffff),
		"time":            u.at.UTC().Format("2006-01-02T15:04:05.000000+00:00"),
		"deviceInfo": map[string]any{
			"tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242", "tenantName": "Palermo", "applicationId": application, "applicationName": nd.kind.domain,
			"deviceProfileId": "8d0c6a2e-0000-4000-8000-000000000000", "deviceProfileName": nd.kind.profile, "deviceName": nd.name,
			"devEui": nd.devEUI, "deviceClassEnabled": "CLASS_A", "tags": map[string]string{"domain": nd.kind.domain},
		},
		"devAddr": fmt.Sprintf("%08x", nd.radio.addr), "adr": true, "fPort": u.port, "confirmed": false, "data": u.payload, "txInfo": u.txInfo(), "regionConfigId": "eu868",
	}
	if u.fCnt != 0 {
		e["fCnt"] = u.fCnt
	}
	if dr := u.dataRate(); dr != 0 {
		e["dr"] = dr
	}
	if nd.path == byObject {
		e["object"] = u.object()
	}
	infos := make([]jsonRxInfo, len(u.heard))
	for i := range u.heard {
		infos[i] = n.gateways[u.heard[i].gateway].rxInfo(u, &u.heard[i])
		infos[i].NsTime = u.at.Add(u.heard[i].after).UTC().Format(rfc3339ms)
	}
	e["rxInfo"] = infos
	return marshal(e)
}

// object is what ChirpStack's own codec would say, battery_level within battery.
func (u *uplink) object() map[string]any {
	o := map[string]any{}
	for _, f := range u.fields {
		v := any(f.value)
		if f.text != "" {
			v = f.text
		}
		if outer, inner, nested := strings.Cut(f.name, "battery_"); nested && outer == "" {
			o["battery"] = map[string]any{inner: v}
			continue
		}
		o[f.name] = v
	}
	return o
}
