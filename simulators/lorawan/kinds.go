package lorawan

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"time"

	"panormus/devices"
)

// A kind is a model of sensor.
type kind struct {
	prefix, domain, profile string
	codec                   json.RawMessage
	metrics                 map[string]devices.Metric
	// say sets the port, the payload and the fields of an uplink.
	say func(nd *node, u *uplink)
}

// A field is what a codec makes of a part of a payload: a number or a text.
type field struct {
	name  string
	value float64
	text  string
}

var kinds = []*kind{&waterMeters, &soilProbes, &binSensors, &manholes}

// Profiles returns what the nodes and gateways measure and the codecs of the nodes' payloads: two
// layouts, Cayenne LPP and a script of TS013.
func (n *Network) Profiles() []devices.Profile {
	period := time.Duration(1.25 * float64(n.config.Nodes) / n.config.Rate * float64(time.Second))
	ps := make([]devices.Profile, len(kinds), len(kinds)+1)
	for i, k := range kinds {
		ps[i] = devices.Profile{ID: k.profile, Domain: k.domain, Codec: k.codec, Metrics: k.metrics, ExpectedPeriod: devices.Duration(max(period.Round(time.Second), time.Second))}
	}
	return append(ps, devices.Profile{ID: gatewayProfile, Domain: "lorawan", ExpectedPeriod: devices.Duration(reportEvery), Metrics: map[string]devices.Metric{
		"rx_packets":           metric("1", 0, 1e6, "Frames heard", "Trame ricevute"),
		"rx_packets_ok":        metric("1", 0, 1e6, "Frames heard whole", "Trame ricevute integre"),
		"acknowledged_percent": metric("%", 0, 100, "Datagrams acknowledged", "Datagrammi confermati"),
	}})
}

// gatewayProfile is of the gateways, which tell their own state each reportEvery.
const (
	gatewayProfile = "lorawan_gateway"
	reportEvery    = 30 * time.Second
)

func metric(unit string, least, greatest float64, en, it string) devices.Metric {
	return devices.Metric{Unit: unit, Min: &least, Max: &greatest, Label: map[string]string{"en": en, "it": it}}
}

// Water meters: litres in a counter that only grows. One in twenty leaks: its flow never stops.
var waterMeters = kind{
	prefix: "water", domain: "water", profile: "water_meter_lora",
	codec: json.RawMessage(`{"layout":[
		{"name":"volume_m3","offset":1,"type":"uint32","endian":"little","scale":0.001,"unit":"m3"},
		{"name":"flow_m3_h","offset":5,"type":"uint16","endian":"little","scale":0.001,"unit":"m3/h"},
		{"name":"temperature","offset":7,"type":"int16","endian":"little","scale":0.01,"unit":"Cel"},
		{"name":"voltage_v","offset":9,"type":"uint8","scale":0.01,"add":1.5,"unit":"V"},
		{"name":"leak","offset":0,"type":"bool","bits":"0"},
		{"name":"backflow","offset":0,"type":"bool","bits":"1"}]}`),
	metrics: map[string]devices.Metric{
		"volume_m3":   metric("m3", 0, 5e6, "Volume", "Volume"),
		"flow_m3_h":   metric("m3/h", 0, 66, "Flow", "Portata"),
		"temperature": metric("Cel", -5, 60, "Water temperature", "Temperatura dell'acqua"),
		"voltage_v":   metric("V", 1.5, 4.1, "Battery", "Batteria"),
		"leak":        metric("1", 0, 1, "Leak", "Perdita"),
		"backflow":    metric("1", 0, 1, "Backflow", "Riflusso"),
	},
	say: func(nd *node, u *uplink) {
		daily := within(250, 2200, nd.key, 'q') // litres a day of a small house
		days, part := clock(u.at)
		litres := within(1e5, 2e6, nd.key, 'o') + daily*(days-20_000+drawn(part))
		flow := daily / 24 * drawing(part) * within(0.6, 1.4, nd.key, 'j', uint64(u.slot))
		leak := hash(nd.key, 'L')%20 == 0
		if leak {
			litres += 900 * (days - 20_000 + part)
			flow += 900.0 / 24
		}
		volume, lph := uint32(litres), uint16(clamp(flow, 0, 65_000))
		temperature := int16(100 * (16 + 6*season(u.at) + within(-1, 1, nd.key, 't', uint64(u.slot))))
		volts := uint8(within(180, 215, nd.key, 'b'))
		backflow := hash(nd.key, 'B', uint64(u.slot))%500 == 0
		flags := byte(0)
		if leak {
			flags |= 1
		}
		if backflow {
			flags |= 2
		}
		b := binary.LittleEndian.AppendUint32([]byte{flags}, volume)
		b = binary.LittleEndian.AppendUint16(b, lph)
		b = binary.LittleEndian.AppendUint16(b, uint16(temperature))
		u.port, u.payload = 1, append(b, volts)
		u.fields = []field{
			{name: "volume_m3", value: float64(volume) / 1000}, {name: "flow_m3_h", value: float64(lph) / 1000},
			{name: "temperature", value: float64(temperature) / 100}, {name: "voltage_v", value: 1.5 + float64(volts)/100},
			{name: "leak", value: truth(leak)}, {name: "backflow", value: truth(backflow)},
		}
	},
}

// Soil probes in parks and flower beds: dry by day and by summer, wet after the sprinklers at five.
var soilProbes = kind{
	prefix: "soil", domain: "environment", profile: "soil_probe_lora", codec: json.RawMessage(`"cayenne_lpp"`),
	metrics: map[string]devices.Metric{
		"temperature_1":       metric("Cel", -5, 60, "Soil temperature", "Temperatura del suolo"),
		"relative_humidity_2": metric("%", 0, 100, "Soil moisture", "Umidità del suolo"),
		"voltage_3":           metric("V", 2, 4.2, "Battery", "Batteria"),
		"luminosity_4":        metric("lx", 0, 65_535, "Light", "Luce"),
	},
	say: func(nd *node, u *uplink) {
		_, part := clock(u.at)
		temperature := int16(10 * (17 + 7*season(u.at) + 3*math.Cos(2*math.Pi*(part-0.66)) + within(-1, 1, nd.key, 't')))
		dry := math.Mod(part-5.0/24+1, 1) // of a day, since the sprinklers
		moisture := byte(2 * clamp(within(45, 70, nd.key, 'h')-30*dry-6*season(u.at)+within(-1, 1, nd.key, 'j', uint64(u.slot)), 4, 95))
		volts := uint16(within(330, 365, nd.key, 'b'))
		b := append([]byte{1, 103}, byte(temperature>>8), byte(temperature), 2, 104, moisture, 3, 116, byte(volts>>8), byte(volts))
		u.fields = []field{
			{name: "temperature_1", value: float64(temperature) / 10}, {name: "relative_humidity_2", value: float64(moisture) / 2},
			{name: "voltage_3", value: float64(volts) / 100},
		}
		if hash(nd.key, 'l')%3 == 0 { // with a light sensor
			lux := uint16(60_000 * max(math.Sin(2*math.Pi*(part-0.25)), 0) * within(0.5, 1, nd.key, 'c', uint64(u.slot)))
			b = append(b, 4, 101, byte(lux>>8), byte(lux))
			u.fields = append(u.fields, field{name: "luminosity_4", value: float64(lux)})
		}
		u.port, u.payload = 2, b
	},
}

// binCodec is ours, after TS013 of the LoRa Alliance.
const binCodec = `// Ultrasonic level sensor in a bin: distance to the waste in mm, depth of the bin in cm,
// temperature, tilt, battery.
function decodeUplink(input) {
  var b = input.bytes;
  if (input.fPort !== 3 || b.length !== 6) {
    return { errors: ["want 6 bytes on port 3, have " + b.length + " on port " + input.fPort] };
  }
  var distance = b[0] << 8 | b[1], depth = b[2] * 10;
  var level = depth > 0 ? Math.max(0, Math.min(1, 1 - distance / depth)) : 0;
  var warnings = [];
  if (b[5] < 20) warnings.push("battery low");
  return {
    data: {
      filling_level: Math.round(level * 100) / 100,
      distance_mm: distance,
      temperature: b[3] > 127 ? b[3] - 256 : b[3],
      tilted: b[4] !== 0,
      battery: { level: b[5] / 100 }
    },
    warnings: warnings
  };
}
`

var binSensors = kind{
	prefix: "binlevel", domain: "waste", profile: "bin_level_lora", codec: quoted(binCodec),
	metrics: map[string]devices.Metric{
		"filling_level": metric("1", 0, 1, "Filling level", "Riempimento"),
		"distance_mm":   metric("mm", 0, 3000, "Distance", "Distanza"),
		"temperature":   metric("Cel", -15, 100, "Temperature", "Temperatura"),
		"tilted":        metric("1", 0, 1, "Tilted", "Ribaltato"),
		"battery_level": metric("1", 0, 1, "Battery", "Batteria"),
	},
	say: func(nd *node, u *uplink) {
		_, part := clock(u.at)
		day := math.Mod(part-within(0, 0.2, nd.key, 'e')+1, 1) // since it was emptied
		full := clamp(0.04+within(0.5, 1.1, nd.key, 'f')*day*day*(3-2*day), 0, 1)
		depth := byte(110 + 10*(hash(nd.key, 'd')%6))
		distance := uint16((1 - full) * float64(depth) * 10)
		temperature := int8(19 + 8*season(u.at) + 5*math.Cos(2*math.Pi*(part-0.6)) + within(-1, 1, nd.key, 't'))
		tilted := hash(nd.key, 'T', uint64(u.slot/40))%60 == 0
		battery := byte(within(21, 100, nd.key, 'b')) // a warning might count as an observation
		u.port, u.payload = 3, []byte{byte(distance >> 8), byte(distance), depth, byte(temperature), byte(truth(tilted)), battery}
		level := clamp(1-float64(distance)/(float64(depth)*10), 0, 1)
		u.fields = []field{
			{name: "filling_level", value: math.Floor(level*100+0.5) / 100}, {name: "distance_mm", value: float64(distance)},
			{name: "temperature", value: float64(temperature)}, {name: "tilted", value: truth(tilted)},
			{name: "battery_level", value: float64(battery) / 100},
		}
	},
}

// Sensors on manhole covers and cabinet doors: port 10 tells that one was opened or closed, port 11
// that nothing happened, with the temperature and, where there is a probe, the level of the water.
var manholes = kind{
	prefix: "manhole", domain: "safety", profile: "manhole_lora",
	codec: json.RawMessage(`{"layout":[
		{"name":"open","offset":0,"type":"bool","bits":"0"},
		{"name":"tamper","offset":0,"type":"bool","bits":"1"},
		{"name":"cause","offset":0,"type":"enum","bits":"4-7","values":{"0":"heartbeat","1":"opened","2":"closed"}},
		{"name":"openings","offset":1,"type":"uint16"},
		{"name":"battery_level","offset":3,"type":"uint8","divisor":100},
		{"name":"temperature","offset":4,"type":"int8","unit":"Cel","when":{"port":11}},
		{"name":"level_mm","offset":5,"type":"uint16","unit":"mm","missing":65535,"when":{"port":11}}]}`),
	metrics: map[string]devices.Metric{
		"open":          metric("1", 0, 1, "Open", "Aperto"),
		"tamper":        metric("1", 0, 1, "Tampering", "Manomissione"),
		"cause":         {Label: map[string]string{"en": "Cause", "it": "Causa"}},
		"openings":      metric("1", 0, 65_535, "Openings", "Aperture"),
		"battery_level": metric("1", 0, 1, "Battery", "Batteria"),
		"temperature":   metric("Cel", -15, 70, "Temperature", "Temperatura"),
		"level_mm":      metric("mm", 0, 5000, "Water level", "Livello dell'acqua"),
	},
	say: func(nd *node, u *uplink) {
		open := nd.open(u.slot)
		cause := byte(0)
		if was := nd.open(u.slot - 1); was != open {
			cause = 2 - byte(truth(open))
		}
		tamper := hash(nd.key, 'M', uint64(u.slot))%2000 == 0
		openings := uint16(u.slot / 200)
		battery := byte(within(40, 100, nd.key, 'b'))
		b := []byte{byte(truth(open)) | byte(truth(tamper))<<1 | cause<<4, byte(openings >> 8), byte(openings), battery}
		u.port = 10
		u.fields = []field{
			{name: "open", value: truth(open)}, {name: "tamper", value: truth(tamper)},
			{name: "cause", text: []string{"heartbeat", "opened", "closed"}[cause]},
			{name: "openings", value: float64(openings)}, {name: "battery_level", value: float64(battery) / 100},
		}
		if cause == 0 {
			u.port = 11
			temperature := int8(17 + 4*season(u.at) + within(-1, 1, nd.key, 't', uint64(u.slot)))
			level := uint16(math.MaxUint16)
			u.fields = append(u.fields, field{name: "temperature", value: float64(temperature)})
			if hash(nd.key, 'W')%2 == 0 {
				level = uint16(within(20, 60, nd.key, 'w') + within(0, 15, nd.key, 'w', uint64(u.slot)))
				u.fields = append(u.fields, field{name: "level_mm", value: float64(level)})
			}
			b = append(b, byte(temperature), byte(level>>8), byte(level))
		}
		u.payload = b
	},
}

// open reports whether the cover is off in slot: now and then, for two slots.
func (nd *node) open(slot int64) bool { return hash(nd.key, 'O', uint64(slot/2))%100 == 0 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func quoted(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// clock is the days since 1970 and the part of the day gone, by Palermo's winter time.
func clock(t time.Time) (days, part float64) {
	days, part = math.Modf((float64(t.UnixMilli())/1000 + 3600) / 86_400)
	return days, part
}

// season is 1 early in August and -1 early in February.
func season(t time.Time) float64 {
	return math.Cos(2 * math.Pi * (float64(t.UTC().YearDay()) - 215) / 365.25)
}

// drawing is how water is drawn over a day, 1 on average; drawn is how much of a day's is drawn by
// then, its integral.
func drawing(part float64) float64 {
	return 1 - 0.5*math.Cos(2*math.Pi*part) - 0.35*math.Cos(4*math.Pi*(part-0.06))
}

func drawn(part float64) float64 {
	return part - 0.5*math.Sin(2*math.Pi*part)/(2*math.Pi) - 0.35*(math.Sin(4*math.Pi*(part-0.06))+math.Sin(4*math.Pi*0.06))/(4*math.Pi)
}
