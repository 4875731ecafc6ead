package vds

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/ingest"
)

// told writes a row as what it tells, leaving out what it does not.
func told(r *ingest.Detection) string {
	var b strings.Builder
	b.WriteString(r.What)
	if r.OwnTime {
		b.WriteString(" @" + time.UnixMilli(r.Time).UTC().Format("2006-01-02T15:04:05.000"))
	}
	text := func(name, v string) {
		if v != "" {
			fmt.Fprintf(&b, " %s=%s", name, v)
		}
	}
	number := func(name string, v float64) {
		if !math.IsNaN(v) {
			fmt.Fprintf(&b, " %s=%.4g", name, v)
		}
	}
	text("track", r.Track)
	text("other", r.Other)
	if r.Class != "unknown" {
		text("class", r.Class)
	}
	text("vendor", r.VendorClass)
	number("score", float64(r.Score))
	text("zone", r.Zone)
	text("rule", r.Rule)
	text("direction", r.Direction)
	number("speed", float64(r.SpeedMps))
	number("heading", float64(r.HeadingDeg))
	if !math.IsNaN(float64(r.BoxLeft)) {
		fmt.Fprintf(&b, " box=%.4g,%.4g,%.4g,%.4g", r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom)
	}
	if !math.IsNaN(float64(r.CenterX)) {
		fmt.Fprintf(&b, " at=%.4g,%.4g", r.CenterX, r.CenterY)
	}
	number("lat", r.Lat)
	number("lon", r.Lon)
	number("value", r.Value)
	text("plate", r.Plate)
	for _, a := range r.Extra {
		text(a.Name, a.Value)
	}
	if r.Quality&devices.QualityRefresh != 0 {
		b.WriteString(" refresh")
	}
	return b.String()
}

// A sample is a message of a documented shape and what it is to be.
type sample struct {
	name, decoder, topic string
	retained             bool
	payload              string
	rows                 []string
	device               string
	refresh              bool
	reject               ingest.Reason
}

func (g *sample) decode(payload string) (*ingest.Decoded, error) {
	out := ingest.NewDecoded()
	topic := g.topic
	if topic == "" {
		topic = "vds/cam-1/" + g.decoder
	}
	in := ingest.Input{Domain: "safety", Device: "cam-1", Topic: topic, Retained: g.retained, Payload: []byte(payload), Received: 1_800_000_000_000}
	return out, Decoders(testOptions)[g.decoder](&in, out)
}

func (g *sample) check(t *testing.T) {
	out, err := g.decode(g.payload)
	var reject *ingest.Reject
	if err != nil && !errors.As(err, &reject) {
		t.Fatalf("%v, want a Reject or none", err)
	}
	if reject != nil || g.reject != "" {
		if reject == nil || reject.Reason != g.reject {
			t.Errorf("%v, want reject %q", err, g.reject)
		}
		return
	}
	if out.Refresh != g.refresh || out.Device != g.device {
		t.Errorf("refresh %v, device %q; want %v, %q", out.Refresh, out.Device, g.refresh, g.device)
	}
	var got []string
	for i := range out.Detections {
		got = append(got, told(&out.Detections[i]))
	}
	if strings.Join(got, "\n") != strings.Join(g.rows, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(g.rows, "\n  "))
	}
}

const fence = `"UtcTime":"2008-10-10T12:24:57.321Z","Source":{"VideoSource":"1","AnalyticsConfiguration":"2","Rule":"Fence1"}`

var onvifEventGoldens = []sample{
	{name: "line crossed", topic: "dev/onvif-ej/RuleEngine/LineDetector/Crossed/&1/2/Fence1", payload: `{` + fence + `,"Data":{"ObjectId":"15"}}`,
		rows: []string{"line_crossed @2008-10-10T12:24:57.321 track=15 rule=Fence1"}},
	{name: "line crossed, tns1, numbers bare, no Z, MAC as prefix", topic: "00408CA1B2C3/onvif-ej/tns1:RuleEngine/tns1:LineDetector/Crossed",
		payload: `{"UtcTime":"2008-10-10T12:24:57","Source":{"Rule":"Fence1"},"Data":{"ObjectId":15,"ClassTypes":"Human"}}`,
		rows:    []string{"line_crossed @2008-10-10T12:24:57.000 track=15 class=person vendor=Human rule=Fence1"}},
	{name: "retained line crossed is no state", topic: "dev/onvif-ej/RuleEngine/LineDetector/Crossed", retained: true, payload: `{` + fence + `,"Data":{"ObjectId":"15"}}`},
	{name: "rule only in the topic", topic: "dev/onvif-ej/RuleEngine/LineDetector/Crossed/&1/2/Gate 3", payload: `{"UtcTime":"2008-10-10T12:24:57Z","Data":{"ObjectId":"1"}}`,
		rows: []string{"line_crossed @2008-10-10T12:24:57.000 track=1 rule=Gate 3"}},
	{name: "simple items", topic: "dev/onvif-ej/RuleEngine/FieldDetector/ObjectsInside",
		payload: `{"UtcTime":"2008-10-10T12:24:57Z","Source":{"SimpleItem":[{"Name":"VideoSource","Value":"1"},{"Name":"Rule","Value":"Piazza"}]},"Key":{"SimpleItem":{"@Name":"ObjectId","@Value":7}},"Data":{"SimpleItem":[{"Name":"IsInside","Value":true}]}}`,
		rows:    []string{"inside @2008-10-10T12:24:57.000 track=7 zone=Piazza rule=Piazza value=1"}},
	{name: "left the field, quoted, retained", topic: "dev/onvif-ej/RuleEngine/FieldDetector/ObjectsInside", retained: true, refresh: true,
		payload: `{` + fence + `,"Key":{"ObjectId":"7"},"Data":{"IsInside":"false"}}`,
		rows:    []string{"inside @2008-10-10T12:24:57.321 track=7 zone=Fence1 rule=Fence1 value=0"}},
	{name: "loitering", topic: "dev/onvif-ej/RuleEngine/LoiteringDetector/ObjectIsLoitering", payload: `{` + fence + `,"Key":{"ObjectId":"7"},"Data":{"Since":"2008-10-10T12:20:00Z"}}`,
		rows: []string{"loitering @2008-10-10T12:24:57.321 track=7 zone=Fence1 rule=Fence1 value=1"}},
	{name: "counter, misspelt", topic: "dev/onvif-ej/RuleEngine/CountAgregation/Counter", payload: `{` + fence + `,"Data":{"Count":"1204"}}`,
		rows: []string{"count @2008-10-10T12:24:57.321 rule=Fence1 value=1204"}},
	{name: "occupancy", topic: "dev/onvif-ej/RuleEngine/CountAggregation/OccupancyCounter", payload: `{` + fence + `,"Data":{"Count":12}}`,
		rows: []string{"occupancy @2008-10-10T12:24:57.321 zone=Fence1 rule=Fence1 value=12"}},
	{name: "aggregated track", topic: "dev/onvif-ej/RuleEngine/ObjectTrack/Aggregation",
		payload: `{` + fence + `,"Data":{"ObjectTrack":{"@ObjectId":"9","StartTime":"2008-10-10T12:24:00Z","EndTime":"2008-10-10T12:24:30Z","Class":{"Type":[{"@Likelihood":0.4,"#text":"Car"},{"@Likelihood":0.9,"#text":"Bus"}]}}}}`,
		rows:    []string{"track @2008-10-10T12:24:30.000 track=9 class=bus vendor=Bus score=0.9 rule=Fence1 value=30"}},
	{name: "plate", topic: "dev/onvif-ej/RuleEngine/Recognition/LicensePlate",
		payload: `{` + fence + `,"Data":{"LicensePlateInfo":{"PlateNumber":{"@Likelihood":0.93,"#text":"AB123CD"},"CountryCode":{"#text":"IT"}},"VehicleInfo":{"Type":{"#text":"Car"},"Brand":"Fiat"}}}`,
		rows:    []string{"plate @2008-10-10T12:24:57.321 class=car vendor=Car score=0.93 rule=Fence1 plate=AB123CD plate_country=IT make=Fiat"}},
	{name: "plate as an item of a vendor's", topic: "dev/onvif-ej/acme:Anpr/Read", payload: `{` + fence + `,"Data":{"PlateNumber":"AB123CD","Likelihood":"0.5"}}`,
		rows: []string{"plate @2008-10-10T12:24:57.321 class=plate score=0.5 rule=Fence1 plate=AB123CD"}},
	{name: "cell motion", topic: "dev/onvif-ej/RuleEngine/CellMotionDetector/Motion", payload: `{` + fence + `,"Data":{"IsMotion":true}}`,
		rows: []string{"motion @2008-10-10T12:24:57.321 rule=Fence1 value=1"}},
	{name: "motion region", topic: "dev/onvif-ej/RuleEngine/MotionRegionDetector/Motion", payload: `{` + fence + `,"Data":{"State":"0"}}`,
		rows: []string{"motion @2008-10-10T12:24:57.321 rule=Fence1 value=0"}},
	{name: "motion alarm", topic: "dev/onvif-ej/VideoSource/MotionAlarm", payload: `{"UtcTime":"2008-10-10T12:24:57Z","Source":{"Source":"1"},"Data":{"State":true}}`,
		rows: []string{"motion @2008-10-10T12:24:57.000 value=1"}},
	{name: "scene change", topic: "dev/onvif-ej/VideoSource/GlobalSceneChange/ImagingService", payload: `{` + fence + `,"Data":{"State":"true"}}`,
		rows: []string{"tamper @2008-10-10T12:24:57.321 rule=Fence1 value=1"}},
	{name: "too dark", topic: "dev/onvif-ej/VideoSource/ImageTooDark/AnalyticsService", payload: `{` + fence + `,"Data":{"State":1}}`,
		rows: []string{"tamper @2008-10-10T12:24:57.321 rule=Fence1 value=1"}},
	{name: "signal lost, retained", topic: "dev/onvif-ej/VideoSource/SignalLoss", retained: true, refresh: true, payload: `{` + fence + `,"Data":{"State":true}}`,
		rows: []string{"signal_loss @2008-10-10T12:24:57.321 rule=Fence1 value=1"}},
	{name: "a vendor's own", topic: "dev/onvif-ej/Device/acme:Leaf", payload: `{` + fence + `,"Data":{"Leaves":"12","LogicalState":"x"}}`,
		rows: []string{"alert @2008-10-10T12:24:57.321 zone=Fence1 rule=Device/acme:Leaf"}},
	{name: "a vendor's state, retained", topic: "dev/onvif-ej/acme:Leaf", retained: true, refresh: true, payload: `{"UtcTime":"2008-10-10T12:24:57Z","Data":{"State":true}}`,
		rows: []string{"alert @2008-10-10T12:24:57.000 rule=acme:Leaf value=1"}},
	{name: "topic in the message", payload: `{"Topic":"tns1:RuleEngine/LineDetector/Crossed","Message":{` + fence + `,"Data":{"ObjectId":"15"}}}`,
		rows: []string{"line_crossed @2008-10-10T12:24:57.321 track=15 rule=Fence1"}},
	{name: "no topic at all", payload: `{` + fence + `}`, reject: ingest.ReasonMissing},
	{name: "no event", topic: "dev/onvif-ej/VideoSource/MotionAlarm", payload: `{"a":1}`, reject: ingest.ReasonFormat},
	{name: "state missing", topic: "dev/onvif-ej/VideoSource/MotionAlarm", payload: `{` + fence + `,"Data":{}}`, reject: ingest.ReasonMissing},
	{name: "state that is none", topic: "dev/onvif-ej/VideoSource/MotionAlarm", payload: `{` + fence + `,"Data":{"State":"AB123CD"}}`, reject: ingest.ReasonType},
	{name: "negative time", topic: "dev/onvif-ej/VideoSource/MotionAlarm", payload: `{"UtcTime":"-008-10-10T12:24:57.321Z","Data":{"State":true}}`, reject: ingest.ReasonTime},
	{name: "time before all", topic: "dev/onvif-ej/VideoSource/MotionAlarm", payload: `{"UtcTime":-5,"Data":{"State":true}}`, reject: ingest.ReasonTime},
	{name: "count that is not one", topic: "dev/onvif-ej/RuleEngine/CountAggregation/Counter", payload: `{` + fence + `,"Data":{"Count":"NaN"}}`, reject: ingest.ReasonNumber},
	{name: "plate missing", topic: "dev/onvif-ej/RuleEngine/Recognition/LicensePlate", payload: `{` + fence + `,"Data":{}}`, reject: ingest.ReasonMissing},
	{name: "no JSON", topic: "dev/onvif-ej/VideoSource/MotionAlarm", payload: `{"UtcTime":`, reject: ingest.ReasonSyntax},
	{name: "deep", topic: "dev/onvif-ej/VideoSource/MotionAlarm", payload: `{"Data":` + strings.Repeat(`{"Value":`, 40), reject: ingest.ReasonDepth},
}

var onvifFrameGoldens = []sample{
	{name: "documented", payload: `{"Frame":[{"@UtcTime":"2021-10-05T15:13:27.321","Transformation":{"Translate":{"@x":-1,"@y":-1},"Scale":{"@x":0.003125,"@y":0.00416667}},"Object":[{"@ObjectId":15,"Appearance":{"Shape":{"BoundingBox":{"@left":20,"@top":80,"@right":100,"@bottom":30}},"Class":{"Type":[{"@Likelihood":0.8,"#text":"Human"}]}}}]}]}`,
		rows: []string{"object @2021-10-05T15:13:27.321 track=15 class=person vendor=Human score=0.8 box=0.03125,0.8333,0.1562,0.9375 at=0.09375,0.8854"}},
	{name: "rows downwards, transformation last, lists without brackets", payload: `{"Frame":{"Object":{"ObjectId":"a","Parent":"b","Appearance":{"Shape":{"BoundingBox":{"left":0,"top":0,"right":960,"bottom":540},"CenterOfGravity":{"x":480,"y":540}},"Class":{"Type":"Vehical"},"VehicleInfo":{"Type":{"@Likelihood":"0.6","#text":"Truck"}}}},"Transformation":{"Translate":{"x":-1,"y":1},"Scale":{"x":0.00104166667,"y":-0.00185185185}},"UtcTime":"2021-10-05T15:13:27Z"}}`,
		rows: []string{"object @2021-10-05T15:13:27.000 track=a other=b class=truck vendor=Vehical box=0,0,0.5,0.5 at=0.25,0.5"}},
	{name: "appearance moved as well", payload: `{"Frame":[{"UtcTime":"2021-10-05T15:13:27Z","Transformation":{"Scale":{"x":0.5,"y":0.5}},"Object":[{"ObjectId":1,"Appearance":{"Shape":{"BoundingBox":{"left":0,"top":1,"right":1,"bottom":0}},"Transformation":{"Translate":{"x":1,"y":0}}}}]}]}`,
		rows: []string{"object @2021-10-05T15:13:27.000 track=1 box=0.75,0.25,1,0.5 at=0.875,0.375"}},
	{name: "the likeliest class", payload: `{"Frame":[{"UtcTime":"2021-10-05T15:13:27Z","Object":[{"ObjectId":1,"Appearance":{"Class":{"ClassCandidate":[{"Type":"Animal","Likelihood":0.2},{"Type":"Human","Likelihood":0.7}],"Type":[{"@Likelihood":0.1,"#text":"Vehicle"}]}}}]}]}`,
		rows: []string{"object @2021-10-05T15:13:27.000 track=1 class=person vendor=Human score=0.7"}},
	{name: "plate, speed, place, tree", payload: `{"tt:Frame":[{"@UtcTime":"2021-10-05T15:13:27Z","Object":[{"@ObjectId":"1","Appearance":{"LicensePlateInfo":{"PlateNumber":{"@Likelihood":0.93,"#text":"AB123CD"},"CountryCode":"IT"},"GeoLocation":{"@lat":38.1157,"@lon":13.3615}},"Behaviour":{"Speed":13.9,"Direction":{"@yaw":-90}}}],"ObjectTree":{"Rename":[{"from":{"@ObjectId":"1"},"to":{"@ObjectId":"2"}}],"Split":[{"from":{"@ObjectId":3},"to":[{"@ObjectId":4},{"@ObjectId":5}]}],"Merge":[{"from":[{"@ObjectId":6},{"@ObjectId":7}],"to":{"@ObjectId":8}}],"Delete":[{"@ObjectId":9}]}}]}`,
		rows: []string{
			"object @2021-10-05T15:13:27.000 track=1 class=plate score=0.93 speed=13.9 heading=270 lat=38.12 lon=13.36 plate=AB123CD plate_country=IT",
			"track_rename @2021-10-05T15:13:27.000 track=1 other=2", "track_split @2021-10-05T15:13:27.000 track=3 other=4", "track_split @2021-10-05T15:13:27.000 track=3 other=5",
			"track_merge @2021-10-05T15:13:27.000 track=6 other=8", "track_merge @2021-10-05T15:13:27.000 track=7 other=8", "track_end @2021-10-05T15:13:27.000 track=9",
		}},
	{name: "empty", payload: `{"Frame":[{"@UtcTime":"2021-10-05T15:13:27Z"},{"@UtcTime":"2021-10-05T15:13:28Z","Object":[]}]}`,
		rows: []string{"frame @2021-10-05T15:13:27.000", "frame @2021-10-05T15:13:28.000"}},
	{name: "a bit outside", payload: `{"Frame":[{"UtcTime":"2021-10-05T15:13:27Z","Object":[{"ObjectId":1,"Appearance":{"Shape":{"BoundingBox":{"left":-1.2,"top":1.1,"right":0,"bottom":0}}}}]}]}`,
		rows: []string{"object @2021-10-05T15:13:27.000 track=1 box=0,0,0.5,0.5 at=0.25,0.25"}},
	{name: "far outside", payload: `{"Frame":[{"Object":[{"ObjectId":1,"Appearance":{"Shape":{"BoundingBox":{"left":20,"top":80,"right":100,"bottom":30}}}}]}]}`, reject: ingest.ReasonCoordinate},
	{name: "nowhere", payload: `{"Frame":[{"Object":[{"ObjectId":1,"Appearance":{"Shape":{"BoundingBox":{"left":"NaN","top":1,"right":1,"bottom":0}}}}]}]}`, reject: ingest.ReasonNumber},
	{name: "too many", payload: `{"Frame":[{"Object":[` + strings.Repeat(`{},`, 100_000) + `{}]}]}`, reject: ingest.ReasonTooMany},
	{name: "no frame", payload: `{}`, reject: ingest.ReasonFormat},
	{name: "not on earth", payload: `{"Frame":[{"Object":[{"Appearance":{"GeoLocation":{"lat":91,"lon":0}}}]}]}`, reject: ingest.ReasonCoordinate},
	{name: "rename to nobody", payload: `{"Frame":[{"ObjectTree":{"Rename":{"from":{"ObjectId":1},"to":{}}}}]}`, reject: ingest.ReasonMissing},
}

func TestONVIFJSON(t *testing.T) {
	for _, tc := range onvifEventGoldens {
		tc.decoder = "onvif-event"
		t.Run("event/"+tc.name, tc.check)
	}
	for _, tc := range onvifFrameGoldens {
		tc.decoder = "onvif-frame"
		t.Run("frame/"+tc.name, tc.check)
	}
}

// A point that a camera puts anywhere in its own pixels, by any transformation, is found again there.
func TestCoordinatesComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		width, height := 1+random.Float64()*8192, 1+random.Float64()*8192
		down := random.IntN(2) == 0
		outer := transformation{scaleX: 2 / width, scaleY: 2 / height, moveX: -1, moveY: -1}
		if down {
			outer.scaleY, outer.moveY = -outer.scaleY, 1
		}
		// The appearance has units of its own within the frame's.
		inner := transformation{scaleX: 0.1 + random.Float64(), scaleY: 0.1 + random.Float64(), moveX: random.Float64() * 10, moveY: random.Float64() * 10}
		wantX, wantY := random.Float64(), random.Float64()
		px, py := wantX*width, wantY*height
		if !down {
			py = height - py
		}
		x, y := (px-inner.moveX)/inner.scaleX, (py-inner.moveY)/inner.scaleY
		gotX, gotY := inner.then(outer).place(float32(x), float32(y))
		// A float32 holds pixels of 8192 to better than a thousandth.
		if math.Abs(gotX-wantX) > 0.002/width*10 || math.Abs(gotY-wantY) > 0.002/height*10 {
			t.Fatalf("%+v then %+v: %v,%v; want %v,%v", inner, outer, gotX, gotY, wantX, wantY)
		}
	}
}
