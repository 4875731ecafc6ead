package video

import (
	"fmt"
	"strconv"
)

var dahuaTypes = [...]string{"Human", "NonMotor", "NonMotor", "Vehicle", "Vehicle", "Vehicle", "Vehicle"}

// dahuaEvent sends one event as text, with JSON behind it that may hold semicolons.
func (w *watcher) dahuaEvent(at int64, code, action, data string, r rows) {
	w.posts++
	if data != "" {
		data += ","
	}
	b := fmt.Appendf(nil, `Code=%s;action=%s;index=0;data={%s"EventID":%d,"Name":%q,"UTC":%d,"UTCMS":%d}`,
		code, action, data, w.posts, w.c.place.Street+"; lato mare", at/1000, at%1000)
	w.send(message{topic: w.c.topic(), payload: b, rows: r})
}

// grid is b on Dahua's grid of 8192.
func grid(b box) string {
	return fmt.Sprintf("[%.0f,%.0f,%.0f,%.0f]", 8191*b.left, 8191*b.top, 8191*b.right, 8191*b.bottom)
}

// dahuaID is an object's number.
func dahuaID(id uint64) string { return strconv.FormatUint(id%100_000_000, 10) }

func (w *watcher) dahuaEvents(s *scene) {
	for _, k := range s.crossed {
		b := w.c.box(&k.object, s.at)
		if w.c.view == gate {
			w.dahuaEvent(s.at, "TrafficJunction", "Pulse", fmt.Sprintf(`"Lane":1,"Object":{"BoundingBox":%s,"Confidence":%.0f,"ObjectID":%s,"ObjectType":"Plate","Text":%[4]q},"Speed":%.0[5]f,"TrafficCar":{"PlateColor":"White","PlateNumber":%[4]q,"VehicleColor":%[6]q},"Vehicle":{"BoundingBox":%[1]s,"ObjectType":"Vehicle"}`,
				grid(b), 100*k.score, dahuaID(k.track), w.all.plate(&k.object), 3.6*k.speed, pick(colours, k.id, 'v')), rows{plateRead: 1})
			continue
		}
		direction := "RightToLeft"
		if k.right {
			direction = "LeftToRight"
		}
		w.dahuaEvent(s.at, "CrossLineDetection", "Start", fmt.Sprintf(`"DetectLine":[[4096,0],[4096,8191]],"Direction":%q,"Object":{"BoundingBox":%s,"Center":[%.0f,%.0f],"ObjectID":%s,"ObjectType":%q}`,
			direction, grid(b), 8191*b.x(), 8191*b.y(), dahuaID(k.track), dahuaTypes[k.class]), rows{lineCrossed: 1})
	}
}

func (w *watcher) dahuaTrouble(at int64, what string, on bool) {
	code, action := "VideoLoss", "Stop"
	if what == tamperState {
		code = "VideoBlind"
	}
	if on {
		action = "Start"
	}
	w.dahuaEvent(at, code, action, "", rows{what: 1})
}
