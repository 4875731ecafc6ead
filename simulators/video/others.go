package video

import (
	"fmt"
	"strings"
)

// A frigateTrack is what Frigate last told of an object.
type frigateTrack struct {
	at      int64 // when
	zone    bool  // it was in the zone
	entered bool  // or had been
	plate   bool  // its plate was told
	last    string
	id      string
}

// frigateEvery is how often Frigate tells of an object that nothing happens to, ms.
const frigateEvery = 5000

var frigateLabels = [...]string{"person", "bicycle", "motorcycle", "car", "car", "truck", "bus"}

// frigateEvents sends frigate/events, which all cameras of a Frigate share.
func (w *watcher) frigateEvents(s *scene) {
	for _, v := range s.seen {
		t, known := w.told[v.id]
		if known && s.at-t.at < frigateEvery && v.zone == t.zone {
			continue
		}
		kind := "update"
		if !known {
			kind = "new"
			t = frigateTrack{id: fmt.Sprintf("%.6f-%06x", float64(s.at)/1000, v.id&0xffffff), last: "null"}
		}
		r := rows{objectSeen: 1}
		object := w.frigateObject(v.known, v.box, s.at, &t, "null", r)
		w.frigateSend(kind, t.last, object, r)
		t.at, t.last = s.at, object
		w.told[v.id] = t
	}
	for _, k := range s.ended {
		t, known := w.told[k.id]
		if !known {
			continue
		}
		r := rows{trackEnd: 1}
		object := w.frigateObject(k, w.c.box(&k.object, k.dies-1), s.at, &t, fmt.Sprintf("%.3f", float64(s.at)/1000), r)
		w.frigateSend("end", t.last, object, r)
		delete(w.told, k.id)
	}
}

func (w *watcher) frigateSend(kind, before, after string, r rows) {
	w.send(message{topic: w.c.topic(), payload: fmt.Appendf(nil, `{"type":%q,"before":%s,"after":%s}`, kind, before, after), rows: r})
}

// frigateObject is an object of 1280 by 720 pixels as Frigate tells it. People it knows by their
// faces, and cars by their plates. What that changes of t is noted there and makes rows.
func (w *watcher) frigateObject(k *known, b box, at int64, t *frigateTrack, end string, r rows) string {
	switch {
	case k.zone && !t.zone:
		r.add(zoneEntered, 1)
	case t.zone && !k.zone:
		r.add(zoneLeft, 1)
	}
	t.zone, t.entered = k.zone, t.entered || k.zone
	sub, plate := "null", "null"
	if k.class == person && k.toldAt > 0 {
		if sub = fmt.Sprintf("%q", w.all.name(&k.object)); k.id%2 == 0 {
			sub = fmt.Sprintf("[%s,0.93]", sub)
		}
	}
	if k.plate != "" && k.toldAt > 0 {
		plate = fmt.Sprintf("%q", w.all.plate(&k.object))
		if !t.plate {
			t.plate = true
			r.add(plateRead, 1)
		}
	}
	current, entered := "[]", "[]"
	if k.zone {
		current = `["zone_1"]`
	}
	if t.entered {
		entered = `["zone_1"]`
	}
	angle := 270.0
	if k.right {
		angle = 90
	}
	return fmt.Sprintf(`{"id":%q,"camera":%q,"frame_time":%.3f,"label":%q,"sub_label":%s,"top_score":%.3f,"score":%.3f,"false_positive":false,"start_time":%.3f,"end_time":%s,"box":[%.0f,%.0f,%.0f,%.0f],"stationary":%t,"motionless_count":0,"current_zones":%s,"entered_zones":%s,"has_snapshot":false,"has_clip":false,"current_estimated_speed":%.1f,"average_estimated_speed":%.1[17]f,"velocity_angle":%.0[18]f,"recognized_license_plate":%[19]s}`,
		t.id, w.c.device.ID, float64(at)/1000, frigateLabels[k.class], sub, k.score, k.score-0.02, float64(k.born)/1000, end,
		1280*b.left, 720*b.top, 1280*b.right, 720*b.bottom, k.lasts, current, entered, 3.6*k.speed, angle, plate)
}

// deepstreamTypes are the words of NVIDIA's detectors.
var deepstreamTypes = [...]string{"Person", "Bicycle", "TwoWheeler", "Vehicle", "Vehicle", "Vehicle", "Vehicle"}

var deepstreamBodies = [...]string{"", "", "", "sedan", "van", "truck", "bus"}

// deepstreamFrame sends DeepStream's minimal schema in 1920 by 1080 pixels.
func (w *watcher) deepstreamFrame(s *scene) {
	b := fmt.Appendf(nil, `{"version":"4.0","id":"%d","@timestamp":%q,"sensorId":%q,"objects":[`, s.at%1_000_000_000, clock(s.at, millis), w.c.device.ID)
	for i, v := range s.seen {
		b = append(b, separator(i, "")...)
		attributes := ""
		switch {
		case v.class >= car:
			attributes = fmt.Sprintf("|#|%s|Fiat|Panda|%s|%s|IT|%.2f", deepstreamBodies[v.class], pick(colours, v.id, 'v'), w.all.plate(&v.object), v.score)
		case v.class == person && v.woman:
			attributes = fmt.Sprintf("|#|%s|34|black|none|none|%.2f", w.all.personal(female), v.score)
		}
		b = fmt.Appendf(b, `"%d|%.0f|%.0f|%.0f|%.0f|%s%s"`, v.track%100_000_000, 1920*v.box.left, 1080*v.box.top, 1920*v.box.right, 1080*v.box.bottom, deepstreamTypes[v.class], attributes)
	}
	w.send(message{topic: w.c.topic(), payload: append(b, `]}`...), frame: true, rows: frameRows(len(s.seen))})
}

// misread is plate with one sign taken for another, as recognisers offer beside what they think.
func misread(k *known) *object {
	b := []byte(k.plate)
	b[3] = '0' + (b[3]-'0'+1)%10
	return &object{plate: string(b)}
}

// lower is o with its plate in lower case.
func lower(o *object) *object { return &object{plate: strings.ToLower(o.plate)} }

// rekorGroups sends Rekor Scout's alpr_group for each vehicle that passes.
func (w *watcher) rekorGroups(s *scene) {
	for n, k := range s.crossed {
		plate := w.all.plate(&k.object)
		travel := 270
		if k.right {
			travel = 90
		}
		b := fmt.Appendf(nil, `{"version":2,"data_type":"alpr_group","epoch_start":%d,"epoch_end":%d,"frame_start":%d,"frame_end":%d,"camera_id":%d,"agent_type":"alprd","country":"eu","best_uuid":"%016x","best_plate_number":%q,"best_confidence":%.2f,"best_region":"eu-it","best_plate":{"plate":%[7]q,"confidence":%.2[8]f,"coordinates":[{"x":612,"y":402},{"x":731,"y":404},{"x":731,"y":430},{"x":611,"y":428}]},"candidates":[{"plate":%[7]q,"confidence":%.2[8]f,"matches_template":1},{"plate":%[9]q,"confidence":71.4,"matches_template":1}],"travel_direction":%[10]d,"is_parked":false,"vehicle":{"color":[{"name":%[11]q,"confidence":88.1}],"make":[{"name":"fiat","confidence":74.9}],"body_type":[{"name":"sedan-compact","confidence":61.0}]},"vehicle_crop_jpeg":"/9j/4AAQSkZJRgABAQ=="}`,
			s.at, s.at+900, n, n+9, w.c.index+1, k.id, plate, 100*k.score, w.all.plate(misread(k)), travel, pick(colours, k.id, 'v'))
		w.send(message{topic: w.c.topic(), payload: b, rows: rows{plateRead: 1}})
	}
}

// plateRecognizerHooks sends Plate Recognizer's webhook, plates in lower case, all of a picture in one.
func (w *watcher) plateRecognizerHooks(s *scene) {
	if len(s.crossed) == 0 {
		return
	}
	b := fmt.Appendf(nil, `{"hook":{"target":"mqtt","id":%q,"event":"recognition"},"data":{"camera_id":%q,"filename":"1.jpg","timestamp":%q,"results":[`,
		w.c.device.ID, w.c.device.ID, clock(s.at, micros))
	for i, k := range s.crossed {
		at := w.c.box(&k.object, s.at)
		b = append(b, separator(i, "")...)
		b = fmt.Appendf(b, `{"plate":%q,"score":%.3f,"dscore":0.81,"box":{"xmin":%.0f,"ymin":%.0f,"xmax":%.0f,"ymax":%.0f},"region":{"code":"it","score":0.9},"vehicle":{"type":"Sedan","score":0.77,"box":{"xmin":%.0[3]f,"ymin":%.0[4]f,"xmax":%.0[5]f,"ymax":%.0[6]f}},"candidates":[{"plate":%[1]q,"score":%.3[2]f},{"plate":%[7]q,"score":0.502}],"color":[{"color":%[8]q,"score":0.7}]}`,
			w.all.plate(lower(&k.object)), k.score, 1920*at.left, 1080*at.top, 1920*at.right, 1080*at.bottom, w.all.plate(lower(misread(k))), pick(colours, k.id, 'v'))
	}
	w.send(message{topic: w.c.topic(), payload: append(b, `]}}`...), rows: rows{plateRead: len(s.crossed)}})
}
