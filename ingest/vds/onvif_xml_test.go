package vds

import (
	"encoding/xml"
	"math"
	"strings"
	"testing"

	"panormus/ingest"
)

// xmlFrame is a frame of three objects as cameras send it, ten times a second.
const xmlFrame = `<?xml version="1.0" encoding="UTF-8"?>
<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2">
<tt:VideoAnalytics><tt:Frame UtcTime="2021-10-05T15:13:27.321Z">
<tt:Transformation><tt:Translate x="-1.0" y="1.0"/><tt:Scale x="0.00104167" y="-0.00185185"/></tt:Transformation>
<tt:Object ObjectId="12"><tt:Appearance><tt:Shape><tt:BoundingBox left="192.0" top="108.0" right="384.0" bottom="540.0"/><tt:CenterOfGravity x="288.0" y="324.0"/></tt:Shape><tt:Class><tt:ClassCandidate><tt:Type>Human</tt:Type><tt:Likelihood>0.81</tt:Likelihood></tt:ClassCandidate><tt:Type Likelihood="0.81">Human</tt:Type></tt:Class></tt:Appearance><tt:Behaviour><tt:Speed>1.4</tt:Speed></tt:Behaviour></tt:Object>
<tt:Object ObjectId="13"><tt:Appearance><tt:Shape><tt:BoundingBox left="960.0" top="540.0" right="1440.0" bottom="1080.0"/><tt:CenterOfGravity x="1200.0" y="810.0"/></tt:Shape><tt:Class><tt:Type Likelihood="0.4">Car</tt:Type><tt:Type Likelihood="0.9">Vehical</tt:Type></tt:Class><tt:VehicleInfo><tt:Type Likelihood="0.7">Bus</tt:Type></tt:VehicleInfo></tt:Appearance><tt:Behaviour><tt:Speed>8.5</tt:Speed></tt:Behaviour></tt:Object>
<tt:Object ObjectId="14" Parent="12"><tt:Appearance><tt:Shape><tt:BoundingBox left="240.0" top="108.0" right="288.0" bottom="162.0"/><tt:CenterOfGravity x="264.0" y="135.0"/></tt:Shape><tt:Class><tt:Type Likelihood="0.66">Head</tt:Type></tt:Class></tt:Appearance></tt:Object>
</tt:Frame></tt:VideoAnalytics></tt:MetadataStream>`

// notice is an event in the common form.
func notice(topic, operation, items string) string {
	return `<MetadataStream><Event><wsnt:NotificationMessage xmlns:wsnt="w"><wsnt:Topic Dialect="d">tns1:` + topic + `</wsnt:Topic>` +
		`<wsnt:Message><tt:Message UtcTime="2008-10-10T12:24:57.321" PropertyOperation="` + operation + `"><tt:Source><tt:SimpleItem Name="VideoSource" Value="1"/><tt:SimpleItem Name="Rule" Value="Fence1"/></tt:Source>` +
		items + `</tt:Message></wsnt:Message></wsnt:NotificationMessage></Event></MetadataStream>`
}

const keyed = `<tt:Key><tt:SimpleItem Name="ObjectId" Value="15"/></tt:Key>`

var onvifXMLGoldens = []sample{
	{name: "three objects", payload: xmlFrame, rows: []string{
		"object @2021-10-05T15:13:27.321 track=12 class=person vendor=Human score=0.81 speed=1.4 box=0.1,0.1,0.2,0.5 at=0.15,0.3",
		"object @2021-10-05T15:13:27.321 track=13 class=bus vendor=Vehical score=0.9 speed=8.5 box=0.5,0.5,0.75,1 at=0.625,0.75",
		"object @2021-10-05T15:13:27.321 track=14 other=12 class=head vendor=Head score=0.66 box=0.125,0.1,0.15,0.15 at=0.1375,0.125",
	}},
	{name: "another prefix", payload: strings.NewReplacer("<tt:", "<ns2:", "</tt:", "</ns2:").Replace(xmlFrame[:strings.Index(xmlFrame, `<tt:Object ObjectId="13"`)]) + `</ns2:Frame></ns2:VideoAnalytics></ns2:MetadataStream>`,
		rows: []string{"object @2021-10-05T15:13:27.321 track=12 class=person vendor=Human score=0.81 speed=1.4 box=0.1,0.1,0.2,0.5 at=0.15,0.3"}},
	{name: "no namespace, a frame alone, byte order mark", payload: "\xef\xbb\xbf" + `<Frame UtcTime="2021-10-05T15:13:27Z"/>`, rows: []string{"frame @2021-10-05T15:13:27.000"}},
	{name: "plate, make, place, face, tree", payload: `<MetadataStream><VideoAnalytics><Frame UtcTime="2021-10-05T15:13:27Z"><Object ObjectId="1"><Appearance><GeoLocation lon="13.3615" lat="38.1157"/>` +
		`<VehicleInfo><Type Likelihood="0.9">Car</Type><Brand>Fiat &amp; Co</Brand><Model>Panda</Model></VehicleInfo><LicensePlateInfo><PlateNumber Likelihood="0.5">AB123CE</PlateNumber><PlateNumber Likelihood="0.9">AB123CD</PlateNumber><CountryCode>IT</CountryCode></LicensePlateInfo>` +
		`<HumanFace><Gender>Female</Gender><Age><Min>20</Min></Age></HumanFace><Image>aGVsbG8=</Image></Appearance><Behaviour><Direction yaw="450"/></Behaviour></Object>` +
		`<ObjectTree><Rename><from ObjectId="1"/><to ObjectId="2"/></Rename><Split><from ObjectId="3"/><to ObjectId="4"/><to ObjectId="5"/></Split><Merge><from ObjectId="6"/><from ObjectId="7"/><to ObjectId="8"/></Merge><Delete ObjectId="9"/></ObjectTree></Frame></VideoAnalytics></MetadataStream>`,
		rows: []string{
			"object @2021-10-05T15:13:27.000 track=1 class=car vendor=Car score=0.9 heading=90 lat=38.12 lon=13.36 plate=AB123CD make=Fiat & Co model=Panda plate_country=IT gender=Female",
			"track_rename @2021-10-05T15:13:27.000 track=1 other=2", "track_split @2021-10-05T15:13:27.000 track=3 other=4", "track_split @2021-10-05T15:13:27.000 track=3 other=5",
			"track_merge @2021-10-05T15:13:27.000 track=6 other=8", "track_merge @2021-10-05T15:13:27.000 track=7 other=8", "track_end @2021-10-05T15:13:27.000 track=9",
		}},
	{name: "line crossed", payload: notice("RuleEngine/LineDetector/Crossed", "", `<tt:Data><tt:SimpleItem Name="ObjectId" Value="15"/></tt:Data>`),
		rows: []string{"line_crossed @2008-10-10T12:24:57.321 track=15 rule=Fence1"}},
	{name: "inside, changed", payload: notice("RuleEngine/FieldDetector/ObjectsInside", "Changed", keyed+`<tt:Data><tt:SimpleItem Name="IsInside" Value="true"/></tt:Data>`),
		rows: []string{"inside @2008-10-10T12:24:57.321 track=15 zone=Fence1 rule=Fence1 value=1"}},
	{name: "inside, initialized", payload: notice("RuleEngine/FieldDetector/ObjectsInside", "Initialized", keyed+`<tt:Data><tt:SimpleItem Name="IsInside" Value="true"/></tt:Data>`),
		rows: []string{"inside @2008-10-10T12:24:57.321 track=15 zone=Fence1 rule=Fence1 value=1 refresh"}},
	{name: "inside, deleted", payload: notice("RuleEngine/FieldDetector/ObjectsInside", "Deleted", keyed),
		rows: []string{"inside @2008-10-10T12:24:57.321 track=15 zone=Fence1 rule=Fence1 value=0"}},
	{name: "counter, deleted", payload: notice("RuleEngine/CountAggregation/Counter", "Deleted", "")},
	{name: "inside, retained", retained: true, refresh: true, payload: notice("RuleEngine/FieldDetector/ObjectsInside", "Changed", keyed+`<tt:Data><tt:SimpleItem Name="IsInside" Value="1"/></tt:Data>`),
		rows: []string{"inside @2008-10-10T12:24:57.321 track=15 zone=Fence1 rule=Fence1 value=1"}},
	{name: "line crossed, retained", retained: true, payload: notice("RuleEngine/LineDetector/Crossed", "", "")},
	{name: "plate in an event", payload: notice("RuleEngine/Recognition/LicensePlate", "", `<tt:Data><tt:SimpleItem Name="Likelihood" Value="0.9"/><tt:ElementItem Name="LicensePlateInfo"><tt:LicensePlateInfo><tt:PlateNumber>AB123CD</tt:PlateNumber></tt:LicensePlateInfo></tt:ElementItem></tt:Data>`),
		rows: []string{"plate @2008-10-10T12:24:57.321 class=plate score=0.9 rule=Fence1 plate=AB123CD"}},
	{name: "track in an event", payload: notice("RuleEngine/ObjectTrack/Aggregation", "", `<tt:Data><tt:ElementItem Name="ObjectTrack"><tt:ObjectTrack ObjectId="9" StartTime="2008-10-10T12:24:00Z" EndTime="2008-10-10T12:24:30Z"><tt:Class><tt:Type Likelihood="0.9">Bus</tt:Type></tt:Class></tt:ObjectTrack></tt:ElementItem></tt:Data>`),
		rows: []string{"track @2008-10-10T12:24:30.000 track=9 class=bus vendor=Bus score=0.9 rule=Fence1 value=30"}},
	{name: "in SOAP", payload: `<s:Envelope xmlns:s="s"><s:Header/><s:Body><wsnt:Notify>` + strings.TrimSuffix(strings.TrimPrefix(notice("VideoSource/MotionAlarm", "Changed", `<tt:Data><tt:SimpleItem Name="State" Value="false"/></tt:Data>`), "<MetadataStream><Event>"), "</Event></MetadataStream>") + `</wsnt:Notify></s:Body></s:Envelope>`,
		rows: []string{"motion @2008-10-10T12:24:57.321 rule=Fence1 value=0"}},
	{name: "only PTZ", payload: `<tt:MetadataStream><tt:PTZ/></tt:MetadataStream>`},
	{name: "another root", payload: `<html/>`, reject: ingest.ReasonFormat},
	{name: "no XML", payload: `{"Frame":[]}`, reject: ingest.ReasonXML},
	{name: "bomb", payload: `<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;">]><MetadataStream>&lol2;</MetadataStream>`, reject: ingest.ReasonXML},
	{name: "external entity", payload: `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><MetadataStream>&x;</MetadataStream>`, reject: ingest.ReasonXML},
	{name: "entity of nobody", payload: `<MetadataStream>&nbsp;</MetadataStream>`, reject: ingest.ReasonXML},
	{name: "too deep", payload: strings.Repeat("<Extension>", 100_000), reject: ingest.ReasonDepth},
	{name: "not UTF-8", payload: "<MetadataStream>\xff</MetadataStream>", reject: ingest.ReasonUTF8},
	{name: "too many", payload: "<Frame>" + strings.Repeat("<Object/>", 100_000) + "</Frame>", reject: ingest.ReasonTooMany},
	{name: "too many changes", payload: "<Frame><ObjectTree><Merge>" + strings.Repeat(`<from ObjectId="1"/><to ObjectId="2"/>`, 20_000) + "</Merge></ObjectTree></Frame>", reject: ingest.ReasonTooMany},
	{name: "cut", payload: xmlFrame[:len(xmlFrame)/2], reject: ingest.ReasonXML},
	{name: "NaN", payload: `<Frame><Object><Appearance><Shape><BoundingBox left="NaN" top="1" right="1" bottom="0"/></Shape></Appearance></Object></Frame>`, reject: ingest.ReasonNumber},
	{name: "scaled to nowhere", payload: `<Frame><Transformation><Scale x="1e300" y="1e300"/></Transformation><Object><Appearance><Shape><BoundingBox left="1e300" top="1" right="1" bottom="0"/></Shape></Appearance></Object></Frame>`, reject: ingest.ReasonCoordinate},
	{name: "negative time", payload: `<Frame UtcTime="-2021-10-05T15:13:27Z"/>`, reject: ingest.ReasonTime},
	{name: "driving backwards", payload: `<Frame><Object><Behaviour><Speed>-1</Speed></Behaviour></Object></Frame>`, reject: ingest.ReasonNumber},
}

const line = `<EventNotificationAlert version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema"><ipAddress>10.0.0.9</ipAddress><macAddress>44:19:b6:aa:bb:cc</macAddress><channelID>1</channelID>` +
	`<dateTime>2026-11-23T10:00:00+01:00</dateTime><activePostCount>1</activePostCount><eventType>linedetection</eventType><eventState>active</eventState><eventDescription>linedetection alarm</eventDescription>` +
	`<DetectionRegionList><DetectionRegionEntry><regionID>2</regionID><sensitivityLevel>50</sensitivityLevel><RegionCoordinatesList><RegionCoordinates><positionX>100</positionX><positionY>500</positionY></RegionCoordinates>` +
	`<RegionCoordinates><positionX>900</positionX><positionY>600</positionY></RegionCoordinates></RegionCoordinatesList><detectionTarget>human</detectionTarget></DetectionRegionEntry></DetectionRegionList></EventNotificationAlert>`

const anpr = `<?xml version="1.0" encoding="utf-8"?><EventNotificationAlert version="1.0" xmlns="urn:psialliance-org"><channelID>1</channelID><dateTime>2026-11-23T09:00:00.250Z</dateTime><eventType>ANPR</eventType><eventState>active</eventState>` +
	`<ANPR><country>IT</country><licensePlate>AB123CD</licensePlate><line>1</line><direction>forward</direction><confidenceLevel>97</confidenceLevel><vehicleType>truck</vehicleType><vehicleInfo><color>white</color><speed>36</speed></vehicleInfo></ANPR></EventNotificationAlert>`

var hikvisionGoldens = []sample{
	{name: "line", payload: line, rows: []string{"line_crossed @2026-11-23T09:00:00.000 class=person vendor=human rule=line 2 box=0.1,0.5,0.9,0.6 at=0.5,0.55"}},
	{name: "line, still active", payload: strings.Replace(line, "PostCount>1<", "PostCount>2<", 1),
		rows: []string{"line_crossed @2026-11-23T09:00:00.000 class=person vendor=human rule=line 2 box=0.1,0.5,0.9,0.6 at=0.5,0.55 refresh"}},
	{name: "line, over", payload: strings.Replace(line, ">active<", ">inactive<", 1)},
	{name: "field, another namespace, two regions", payload: `<h:EventNotificationAlert xmlns:h="http://www.isapi.org/ver20/XMLSchema"><h:dateTime>2026-11-23T09:00:00Z</h:dateTime><h:eventType>fielddetection</h:eventType><h:eventState>inactive</h:eventState>` +
		`<h:DetectionRegionList><h:DetectionRegionEntry><h:regionID>1</h:regionID><h:TargetRect><h:X>0.25</h:X><h:Y>0.5</h:Y><h:width>0.25</h:width><h:height>0.125</h:height></h:TargetRect></h:DetectionRegionEntry>` +
		`<h:DetectionRegionEntry><h:regionID>2</h:regionID><h:TargetRect><h:X>250</h:X><h:Y>500</h:Y><h:width>250</h:width><h:height>125</h:height></h:TargetRect></h:DetectionRegionEntry></h:DetectionRegionList></h:EventNotificationAlert>`,
		rows: []string{"inside @2026-11-23T09:00:00.000 zone=1 box=0.25,0.5,0.5,0.625 at=0.375,0.5625 value=0", "inside @2026-11-23T09:00:00.000 zone=2 box=0.25,0.5,0.5,0.625 at=0.375,0.5625 value=0"}},
	{name: "entrance", payload: strings.Replace(line, "linedetection<", "regionEntrance<", 1), rows: []string{"zone_entered @2026-11-23T09:00:00.000 class=person vendor=human zone=2 box=0.1,0.5,0.9,0.6 at=0.5,0.55"}},
	{name: "exit", payload: strings.Replace(line, "linedetection<", "regionExiting<", 1), rows: []string{"zone_left @2026-11-23T09:00:00.000 class=person vendor=human zone=2 box=0.1,0.5,0.9,0.6 at=0.5,0.55"}},
	{name: "plate", payload: anpr, rows: []string{"plate @2026-11-23T09:00:00.250 class=truck vendor=truck score=0.97 direction=forward speed=10 plate=AB123CD plate_country=IT colour=white"}},
	{name: "plate that could not be read", payload: strings.Replace(anpr, "AB123CD", "unknown", 1), rows: []string{"alert @2026-11-23T09:00:00.250 class=truck vendor=truck score=0.97 rule=ANPR direction=forward speed=10 plate_country=IT colour=white"}},
	{name: "motion of another channel, no zone in the time", payload: `<EventNotificationAlert><channelID>3</channelID><dateTime>2026-11-23T10:00:00</dateTime><eventType>VMD</eventType><eventState>active</eventState></EventNotificationAlert>`,
		rows: []string{"motion value=1"}, device: "cam-1-3"},
	{name: "tampered", payload: `<EventNotificationAlert><dateTime>2026-11-23T09:00:00Z</dateTime><eventType>shelteralarm</eventType></EventNotificationAlert>`, rows: []string{"tamper @2026-11-23T09:00:00.000 value=1"}},
	{name: "nothing to tell", payload: `<EventNotificationAlert><dateTime>2026-11-23T09:00:00Z</dateTime><activePostCount>0</activePostCount><eventType>videoloss</eventType><eventState>inactive</eventState></EventNotificationAlert>`,
		rows: []string{"signal_loss @2026-11-23T09:00:00.000 value=0 refresh"}},
	{name: "people", payload: `<EventNotificationAlert><dateTime>2026-11-23T09:00:00Z</dateTime><eventType>PeopleCounting</eventType><peopleCounting><statisticalMethods>realTime</statisticalMethods><enter>12</enter><exit>9</exit></peopleCounting></EventNotificationAlert>`,
		rows: []string{"count @2026-11-23T09:00:00.000 class=person direction=in value=12", "count @2026-11-23T09:00:00.000 class=person direction=out value=9"}},
	{name: "what is not known", payload: `<EventNotificationAlert><dateTime>2026-11-23T09:00:00Z</dateTime><eventType>smokeDetection</eventType><eventState>active</eventState></EventNotificationAlert>`,
		rows: []string{"alert @2026-11-23T09:00:00.000 rule=smokeDetection value=1"}},
	{name: "no type", payload: `<EventNotificationAlert/>`, reject: ingest.ReasonMissing},
	{name: "another root", payload: `<ResponseStatus/>`, reject: ingest.ReasonFormat},
	{name: "off the grid", payload: strings.Replace(line, ">900<", ">9000<", 1), reject: ingest.ReasonCoordinate},
	{name: "sure beyond all", payload: strings.Replace(anpr, ">97<", ">970<", 1), reject: ingest.ReasonNumber},
	{name: "not a number", payload: strings.Replace(line, ">900<", ">AB123CD<", 1), reject: ingest.ReasonType},
	{name: "channel of nobody", payload: strings.Replace(anpr, ">1<", ">1e9<", 1), reject: ingest.ReasonNumber},
}

func TestXML(t *testing.T) {
	for _, tc := range onvifXMLGoldens {
		tc.decoder = "onvif-xml"
		t.Run("onvif/"+tc.name, tc.check)
	}
	for _, tc := range hikvisionGoldens {
		tc.decoder = "hikvision"
		t.Run("hikvision/"+tc.name, tc.check)
	}
}

// samples are all of this file's and the one of JSON.
func samples() []sample {
	var all []sample
	for name, list := range map[string][]sample{"onvif-event": onvifEventGoldens, "onvif-frame": onvifFrameGoldens, "onvif-xml": onvifXMLGoldens, "hikvision": hikvisionGoldens} {
		for _, g := range list {
			g.decoder = name
			all = append(all, g)
		}
	}
	return all
}

// Whatever happens to a message with a plate, why it is refused does not tell the plate.
func TestRejectsTellNoPlates(t *testing.T) {
	const plate = "AB123CD"
	refused := 0
	look := func(g *sample, payload string) {
		_, err := g.decode(payload)
		if err == nil {
			return
		}
		refused++
		if s := err.Error(); strings.Contains(s, plate) || strings.Contains(s, "B123C") || strings.Contains(s, "12345") {
			t.Fatalf("%s: %q: %v", g.name, payload, err)
		}
	}
	for _, g := range samples() {
		for _, with := range []string{plate, "1234567", "1234567e999", "AB\u0007123CD", "AB123CD" + strings.Repeat("x", 200), "AB123CD&x;", "-1", `AB123CD"`, "{AB123CD", "<AB123CD"} {
			if !strings.Contains(g.payload, plate) {
				continue
			}
			for _, payload := range []string{strings.Replace(g.payload, plate, with, 1), strings.Replace(g.payload, `"`+plate+`"`, with, 1)} {
				look(&g, payload)
				for i := range payload {
					look(&g, payload[:i])
					if with == plate {
						for _, c := range []string{"\x00", "\xff", "<", "&", `"`, "{", "]", ">", "9"} {
							look(&g, payload[:i]+c+payload[i+1:])
						}
					}
				}
			}
		}
	}
	if refused < 1000 {
		t.Errorf("%d messages refused, want thousands", refused)
	}
}

func FuzzXML(f *testing.F) {
	for _, g := range append(onvifXMLGoldens, hikvisionGoldens...) {
		if len(g.payload) < 10_000 {
			f.Add([]byte(g.payload), false)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte, retained bool) {
		for _, name := range []string{"onvif-xml", "hikvision"} {
			sound(t, name, "vds/cam-1/"+name, retained, payload)
		}
	})
}

func FuzzONVIFJSON(f *testing.F) {
	for _, g := range append(onvifEventGoldens, onvifFrameGoldens...) {
		if len(g.payload) < 10_000 {
			f.Add(g.topic, []byte(g.payload), g.retained)
		}
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte, retained bool) {
		for _, name := range []string{"onvif-event", "onvif-frame"} {
			sound(t, name, topic, retained, payload)
		}
	})
}

// sound decodes and checks what must hold of every message.
func sound(t *testing.T, name, topic string, retained bool, payload []byte) {
	out := ingest.NewDecoded()
	err := Decoders(testOptions)[name](&ingest.Input{Device: "cam-1", Topic: topic, Retained: retained, Payload: payload}, out)
	if err != nil {
		if r, ok := err.(*ingest.Reject); !ok || r.Reason == ingest.ReasonInternal {
			t.Fatalf("%s: %T %v, want a Reject", name, err, err)
		}
		return
	}
	for i := range out.Detections {
		d := &out.Detections[i]
		for _, v := range []float32{d.BoxLeft, d.BoxTop, d.BoxRight, d.BoxBottom, d.CenterX, d.CenterY, d.Score} {
			if v < 0 || v > 1 {
				t.Fatalf("%s: %+v: want coordinates and scores in 0..1", name, d)
			}
		}
		for _, v := range []float64{float64(d.SpeedMps), float64(d.HeadingDeg), d.Lat, d.Lon, d.Value} {
			if math.IsInf(v, 0) {
				t.Fatalf("%s: %+v: want finite numbers", name, d)
			}
		}
		if d.What == "" || len(d.Track) > maxWord || len(d.VendorClass) > maxWord || d.SpeedMps < 0 {
			t.Fatalf("%s: %+v: want a kind and short words", name, d)
		}
	}
}

// rows keeps the benchmark's answer.
var rows int

func BenchmarkONVIFXML(b *testing.B) {
	in := ingest.Input{Device: "cam-1", Topic: "vds/cam-1/onvif-xml", Payload: []byte(xmlFrame)}
	b.Run("vds", func(b *testing.B) {
		out := ingest.NewDecoded()
		b.SetBytes(int64(len(xmlFrame)))
		b.ReportAllocs()
		for b.Loop() {
			out.Reset()
			if err := onvifXML(&in, out); err != nil || len(out.Detections) != 3 || out.Detections[1].Class != "bus" {
				b.Fatalf("%v, %d rows; want 3", err, len(out.Detections))
			}
		}
	})
	// What the same costs with encoding/xml, by tokens and by struct.
	b.Run("encoding-xml-tokens", func(b *testing.B) {
		b.SetBytes(int64(len(xmlFrame)))
		b.ReportAllocs()
		for b.Loop() {
			d := xml.NewDecoder(strings.NewReader(xmlFrame))
			rows = 0
			for {
				t, err := d.Token()
				if err != nil {
					break
				}
				if s, ok := t.(xml.StartElement); ok && s.Name.Local == "Object" {
					rows++
				}
			}
			if rows != 3 {
				b.Fatalf("%d objects, want 3", rows)
			}
		}
	})
	b.Run("encoding-xml-structs", func(b *testing.B) {
		b.SetBytes(int64(len(xmlFrame)))
		b.ReportAllocs()
		for b.Loop() {
			var m struct {
				Frames []struct {
					UtcTime string `xml:"UtcTime,attr"`
					Objects []struct {
						ID  string `xml:"ObjectId,attr"`
						Box struct {
							Left   float64 `xml:"left,attr"`
							Top    float64 `xml:"top,attr"`
							Right  float64 `xml:"right,attr"`
							Bottom float64 `xml:"bottom,attr"`
						} `xml:"Appearance>Shape>BoundingBox"`
						Types []struct {
							Likelihood float64 `xml:"Likelihood,attr"`
							Text       string  `xml:",chardata"`
						} `xml:"Appearance>Class>Type"`
						Speed float64 `xml:"Behaviour>Speed"`
					} `xml:"Object"`
				} `xml:"VideoAnalytics>Frame"`
			}
			if err := xml.Unmarshal([]byte(xmlFrame), &m); err != nil || len(m.Frames) != 1 || len(m.Frames[0].Objects) != 3 {
				b.Fatalf("%v: %+v", err, m)
			}
		}
	})
}
