package video

import (
	"fmt"
	"time"
)

var hikvisionTargets = [...]string{"human", "nonMotor", "nonMotor", "vehicle", "vehicle", "vehicle", "vehicle"}

// An alert is one EventNotificationAlert.
type alert struct {
	kind, state string
	inner       string // elements of the kind
}

// hikvisionAlert sends an alert. Firmwares differ in their namespaces, and some have none.
func (w *watcher) hikvisionAlert(at int64, a alert, r rows) {
	ns := []string{` xmlns="http://www.hikvision.com/ver20/XMLSchema"`, ` xmlns="http://www.isapi.org/ver20/XMLSchema"`, ``}[w.c.variant%3]
	local := time.UnixMilli(at).UTC().Add(time.Hour).Format("2006-01-02T15:04:05.000") + "+01:00"
	b := fmt.Appendf(nil, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<EventNotificationAlert version=\"2.0\"%s>\n<ipAddress>10.20.%d.%d</ipAddress><portNo>80</portNo><protocol>HTTP</protocol><macAddress>c0:56:e3:%02x:%02x:%02x</macAddress><channelID>1</channelID><dateTime>%s</dateTime><activePostCount>1</activePostCount><eventType>%s</eventType><eventState>%s</eventState><eventDescription>%[8]s alarm</eventDescription>%[10]s\n</EventNotificationAlert>\n",
		ns, w.c.index/200, w.c.index%200+10, byte(w.c.key), byte(w.c.key>>8), byte(w.c.key>>16), local, a.kind, a.state, a.inner)
	w.send(message{topic: w.c.topic(), payload: b, push: true, rows: r})
}

// region is where k set an alert off.
func (w *watcher) region(k *known, at int64) string {
	b := w.c.box(&k.object, at)
	return fmt.Sprintf(`<DetectionRegionList><DetectionRegionEntry><regionID>1</regionID><sensitivityLevel>50</sensitivityLevel><detectionTarget>%s</detectionTarget><TargetRect><X>%.3f</X><Y>%.3f</Y><width>%.3f</width><height>%.3f</height></TargetRect></DetectionRegionEntry></DetectionRegionList>`,
		hikvisionTargets[k.class], b.left, b.top, b.right-b.left, b.bottom-b.top)
}

func (w *watcher) hikvisionAlerts(s *scene) {
	if w.c.view == gate {
		for _, k := range s.crossed {
			if k.plate == "" {
				continue
			}
			direction := "reverse"
			if k.right {
				direction = "forward"
			}
			w.hikvisionAlert(s.at, alert{"ANPR", "active", fmt.Sprintf(`<ANPR><country>ITA</country><licensePlate>%s</licensePlate><line>1</line><direction>%s</direction><confidenceLevel>%.0f</confidenceLevel><plateType>unknown</plateType><vehicleType>vehicle</vehicleType><vehicleInfo><color>%s</color></vehicleInfo></ANPR>`,
				w.all.plate(&k.object), direction, 100*k.score, pick(colours, k.id, 'v'))}, rows{plateRead: 1})
		}
		return
	}
	for _, k := range s.crossed {
		w.hikvisionAlert(s.at, alert{"linedetection", "active", w.region(k, s.at)}, rows{lineCrossed: 1})
	}
	for _, k := range s.entered {
		w.hikvisionAlert(s.at, alert{"regionEntrance", "active", w.region(k, s.at)}, rows{zoneEntered: 1})
	}
	for _, k := range s.left {
		w.hikvisionAlert(s.at, alert{"regionExiting", "active", w.region(k, min(s.at, k.dies-1))}, rows{zoneLeft: 1})
	}
}

func (w *watcher) hikvisionTrouble(at int64, what string, on bool) {
	kind, state := "videoloss", "inactive"
	if what == tamperState {
		kind = "shelteralarm"
	}
	if on {
		state = "active"
	}
	w.hikvisionAlert(at, alert{kind, state, ""}, rows{what: 1})
}
