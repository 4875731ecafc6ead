package video

import (
	"fmt"
	"time"
)

func clock(at int64, layout string) string { return time.UnixMilli(at).UTC().Format(layout) }

const (
	micros = "2006-01-02T15:04:05.000000Z"
	millis = "2006-01-02T15:04:05.000Z"
)

var axisClasses = [...]string{"Human", "Bike", "Motorcycle", "Car", "Car", "Truck", "Bus"}

var colours = []string{"white", "black", "gray", "red", "blue", "green"}

// trackID is an Axis track's.
func trackID(id uint64) string { return fmt.Sprintf("%08x", uint32(id)) }

// An axisTrack is what a camera calls an object: itself, its rider or its head.
type axisTrack struct {
	id    uint64
	class string // "" for none
	score float64
	box   box
	o     *object
}

// axisTracks are those in a picture: a bicycle has a rider, and some persons a head of their own.
func axisTracks(s *scene) []axisTrack {
	var all []axisTrack
	for _, v := range s.seen {
		t := axisTrack{id: v.track, score: v.score, box: v.box, o: &v.object}
		if v.told {
			t.class = axisClasses[v.class]
		}
		all = append(all, t)
		b := v.box
		switch {
		case v.class == bicycle:
			rider := axisTrack{id: hash(v.id, 'R'), score: v.score, box: box{b.left, b.top - (b.bottom-b.top)*0.1, b.right, b.bottom - (b.bottom-b.top)*0.3}, o: &v.object}
			rider.box.top = max(rider.box.top, 0)
			if v.told {
				rider.class = "Human"
			}
			all = append(all, rider)
		case v.class == person && v.head:
			w := (b.right - b.left) / 4
			all = append(all, axisTrack{id: hash(v.id, 'H'), class: "Head", score: v.score, box: box{b.x() - w, b.top, b.x() + w, b.top + (b.bottom-b.top)/6}, o: &v.object})
		}
	}
	return all
}

// appendAxisTrack appends an element of detections, or of observations.
func appendAxisTrack(b []byte, t axisTrack, idName, stamp string) []byte {
	b = fmt.Appendf(b, `{"bounding_box":{"bottom":%.4f,"left":%.4f,"right":%.4f,"top":%.4f}`, t.box.bottom, t.box.left, t.box.right, t.box.top)
	switch {
	case t.class == "":
	case t.o.class == person && t.class == "Human":
		b = fmt.Appendf(b, `,"class":{"lower_clothing_colors":[{"name":%q,"score":0.51}],"score":%.2f,"type":"Human","upper_clothing_colors":[{"name":%q,"score":0.62}]}`,
			pick(colours, t.o.id, 'l'), t.score, pick(colours, t.o.id, 'u'))
	case t.o.class.vehicle():
		b = fmt.Appendf(b, `,"class":{"colors":[{"name":%q,"score":0.71}],"score":%.2f,"type":%q}`, pick(colours, t.o.id, 'v'), t.score, t.class)
	default:
		b = fmt.Appendf(b, `,"class":{"score":%.2f,"type":%q}`, t.score, t.class)
	}
	if stamp != "" {
		b = fmt.Appendf(b, `,"timestamp":%q`, stamp)
	}
	return fmt.Appendf(b, `,%q:%q}`, idName, trackID(t.id))
}

// axisEnds are the tracks that ended with an object.
func axisEnds(s *scene) (ids []uint64) {
	for _, k := range s.ended {
		ids = append(ids, k.track)
		switch {
		case k.class == bicycle:
			ids = append(ids, hash(k.id, 'R'))
		case k.class == person && k.head:
			ids = append(ids, hash(k.id, 'H'))
		}
	}
	return ids
}

// axisFrame sends com.axis.scene.frame.v1.
func (w *watcher) axisFrame(s *scene) {
	tracks, ends := axisTracks(s), axisEnds(s)
	b := []byte(`{"channel_id":1`)
	for i, t := range tracks {
		b = append(b, separator(i, `,"detections":[`)...)
		b = appendAxisTrack(b, t, "object_track_id", "")
	}
	b = closed(b, len(tracks))
	b = fmt.Appendf(b, `,"timestamp":%q`, clock(s.at, micros))
	for i, id := range ends {
		b = append(b, separator(i, `,"track_events":[`)...)
		b = fmt.Appendf(b, `{"object_track_id":%q,"type":"TrackEnded"}`, trackID(id))
	}
	for i, c := range s.renamed {
		b = append(b, separator(len(ends)+i, `,"track_events":[`)...)
		b = fmt.Appendf(b, `{"from_id":%q,"to_id":%q,"type":"Rename"}`, trackID(c.from), trackID(c.to))
	}
	b = closed(b, len(ends)+len(s.renamed))
	r := frameRows(len(tracks))
	r.add(trackEnd, len(ends))
	r.add(trackRename, len(s.renamed))
	w.send(message{topic: w.c.topic(), payload: append(b, '}'), frame: true, rows: r})
}

// axisBetaFrame sends com.axis.analytics_scene_description.v0.beta.
func (w *watcher) axisBetaFrame(s *scene) {
	tracks, ends, stamp := axisTracks(s), axisEnds(s), clock(s.at, micros)
	b := []byte(`{"frame":{"observations":[`)
	for i, t := range tracks {
		b = append(b, separator(i, "")...)
		b = appendAxisTrack(b, t, "track_id", stamp)
	}
	b = append(b, `],"operations":[`...)
	for i, id := range ends {
		b = append(b, separator(i, "")...)
		b = fmt.Appendf(b, `{"id":%q,"type":"DeleteOperation"}`, trackID(id))
	}
	for i, c := range s.renamed {
		b = append(b, separator(len(ends)+i, "")...)
		b = fmt.Appendf(b, `{"from":%q,"to":%q,"type":"RenameOperation"}`, trackID(c.from), trackID(c.to))
	}
	r := frameRows(len(tracks))
	r.add(trackEnd, len(ends))
	r.add(trackRename, len(s.renamed))
	w.send(message{topic: w.c.topic(), payload: fmt.Appendf(b, `],"timestamp":%q}}`, stamp), frame: true, rows: r})
}

// separator begins a list with opening, or goes on with it.
func separator(i int, opening string) string {
	if i == 0 {
		return opening
	}
	return ","
}

// closed ends a list, if one was begun.
func closed(b []byte, elements int) []byte {
	if elements > 0 {
		b = append(b, ']')
	}
	return b
}

// axisReasons are Object Analytics' words for what made it count.
var axisReasons = [...]string{"human", "bike", "bike", "car", "car", "truck", "bus"}

// axisCounters sends the counters of a line each time one is crossed; they grow until they are reset.
func (w *watcher) axisCounters(s *scene) {
	for n, k := range s.crossed {
		total := 0
		for _, c := range w.counts {
			total += c
		}
		b := fmt.Appendf(nil, `{"topic":"axis:CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1","timestamp":%d,"serial":%q,"message":{"source":{},"key":{},"data":{"reason":%q,"total":"%d","totalHuman":"%d","totalCar":"%d","totalBike":"%d","totalTruck":"%d","totalBus":"%d"}}}`,
			s.at+int64(n), w.c.device.ID, axisReasons[k.class], total, w.counts[person], w.counts[car]+w.counts[van], w.counts[bicycle]+w.counts[motorcycle], w.counts[truck], w.counts[bus])
		w.send(message{topic: w.c.topic(), payload: b, rows: rows{counted: 5}})
	}
}
