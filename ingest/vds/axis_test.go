package vds

import (
	"fmt"
	"strings"

	"panormus/ingest"
)

// streetFrame is a frame of three objects, as long as they are in the field.
const streetFrame = `{"channel_id":1,"detections":[` +
	`{"bounding_box":{"bottom":0.9812,"left":0.4521,"right":0.7523,"top":0.2415},"class":{"type":"Human","score":0.71},"object_track_id":"8e65f0a2-77d0-4f3b-9c55-1d2e3f4041c7"},` +
	`{"bounding_box":{"bottom":0.6120,"left":0.1034,"right":0.2210,"top":0.4875},"class":{"type":"Car","score":0.93},"object_track_id":"8e65f0a2-77d0-4f3b-9c55-1d2e3f4041c9"},` +
	`{"bounding_box":{"bottom":0.5544,"left":0.8120,"right":0.8421,"top":0.4711},"object_track_id":"8e65f0a2-77d0-4f3b-9c55-1d2e3f4041d2"}],` +
	`"timestamp":"2026-07-29T11:55:30.369150Z","track_events":[{"type":"TrackEnded","object_track_id":"8e65f0a2-77d0-4f3b-9c55-1d2e3f4041a0"}]}`

func axisGoldens() []golden {
	return []golden{
		{
			name: "a street", decoder: "axis-scene", payload: streetFrame,
			want: []string{
				"object at=2026-07-29T11:55:30.369Z track=8e65f0a2-77d0-4f3b-9c55-1d2e3f4041c7 class=person vendor=Human score=0.71 box=0.4521,0.2415,0.7523,0.9812 centre=0.6022,0.6113",
				"object at=2026-07-29T11:55:30.369Z track=8e65f0a2-77d0-4f3b-9c55-1d2e3f4041c9 class=car vendor=Car score=0.93 box=0.1034,0.4875,0.221,0.612 centre=0.1622,0.5497",
				"object at=2026-07-29T11:55:30.369Z track=8e65f0a2-77d0-4f3b-9c55-1d2e3f4041d2 class=unknown box=0.812,0.4711,0.8421,0.5544 centre=0.827,0.5128",
				"track_end at=2026-07-29T11:55:30.369Z track=8e65f0a2-77d0-4f3b-9c55-1d2e3f4041a0",
			},
		},
		{
			name: "nobody there", decoder: "axis-scene", payload: `{"channel_id":1,"timestamp":"2026-07-29T11:55:30.369150Z"}`,
			want: []string{"frame at=2026-07-29T11:55:30.369Z"},
		},
		{
			name: "the second view, and a rename", decoder: "axis-scene", camera: "cam-2",
			payload: `{"channel_id":2,"timestamp":"2026-07-29T13:55:30+02:00","track_events":[{"type":"Rename","from_id":"a1","to_id":"b\u0032"},{"type":"Novelty","id":"x"}]}`,
			want:    []string{"track_rename at=2026-07-29T11:55:30.000Z track=a1 other=b2", "frame at=2026-07-29T11:55:30.000Z"},
		},
		{
			name: "beta", decoder: "axis-scene",
			payload: `{"frame":{"observations":[{"bounding_box":{"bottom":1.02,"left":-0.01,"right":0.2,"top":0.8},"class":{"score":0.6,"type":"Human",` +
				`"upper_clothing_colors":[{"name":"Red","score":0.9},{"name":"Blue","score":0.1}],"lower_clothing_colors":[]},"timestamp":"2024-02-19T13:26:09.301420Z","track_id":"3"}],` +
				`"operations":[{"type":"DeleteOperation","id":"2"},{"type":"RenameOperation","from":"1","to":"3"}],"timestamp":"2024-02-19T13:26:09.301420Z"}}`,
			want: []string{
				"object at=2024-02-19T13:26:09.301Z track=3 class=person vendor=Human score=0.6 box=0,0.8,0.2,1 centre=0.1,0.9 clothing_upper:Red",
				"track_end at=2024-02-19T13:26:09.301Z track=2",
				"track_rename at=2024-02-19T13:26:09.301Z track=1 other=3",
			},
		},
		{
			name: "a track", decoder: "axis-track",
			payload: `{"channel_id":1,"id":"7c01","classes":[{"type":"Vehicle","score":0.4},{"type":"Truck","score":0.8,"colors":[{"name":"White","score":0.9}]}],` +
				`"start_time":"2026-07-29T11:55:20.000000Z","end_time":"2026-07-29T11:55:30.500000Z","duration":10.5,"maximum_speed":13.9,"minimum_speed":0.2,"parts":[{"id":"7c00"}],` +
				`"path":[{"timestamp":"2026-07-29T11:55:20.000000Z","bounding_box":{"left":0.1,"right":0.2,"top":0.4,"bottom":0.6}},` +
				`{"timestamp":"2026-07-29T11:55:30.500000Z","bounding_box":{"left":0.5,"right":0.6,"top":0.4,"bottom":0.6}}],"image":{"data":"/9j/4AAQ"}}`,
			want: []string{"track at=2026-07-29T11:55:30.500Z track=7c01 class=truck vendor=Truck score=0.8 speed=13.9 heading=90 box=0.5,0.4,0.6,0.6 centre=0.55,0.5 value=10.5 colour:White"},
		},
		{
			name: "a track of the beta", decoder: "axis-track",
			payload: `{"id":"7","classes":[],"start_time":"2026-07-29T11:55:20Z","duration":2,"max_speed":null,"end_reason":null,"observations":[]}`,
			want:    []string{"track at=2026-07-29T11:55:22.000Z track=7 class=unknown value=2"},
		},
		{
			name: "counters of a line", decoder: "axis-event", topic: "axis/0123456789AB/event/tns:axis/CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1",
			payload: `{"topic":"axis:CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1","timestamp":1670518346712,"serial":"0123456789AB","message":{"source":{},"key":{},"data":{"reason":"car","total":"20960","totalCar":"18103","totalHuman":"0"}}}`,
			want: []string{
				"count at=2022-12-08T16:52:26.712Z class=car vendor=car rule=Device1Scenario1 value=18103",
				"count at=2022-12-08T16:52:26.712Z class=person vendor=human rule=Device1Scenario1 value=0",
			},
		},
		{
			name: "an occupancy", decoder: "axis-event", camera: "cam-3",
			payload: `{"topic":"axis:CameraApplicationPlatform/ObjectAnalytics/Device3Scenario2","timestamp":1670518346712,"message":{"source":{},"key":{},"data":{"total":"5","human":"4","bike":1,"car":null}}}`,
			want: []string{
				"occupancy at=2022-12-08T16:52:26.712Z class=person vendor=human zone=Device3Scenario2 rule=Device3Scenario2 value=4",
				"occupancy at=2022-12-08T16:52:26.712Z class=bicycle vendor=bike zone=Device3Scenario2 rule=Device3Scenario2 value=1",
			},
		},
		{
			name: "an occupancy of any class", decoder: "axis-event",
			payload: `{"topic":"axis:CameraApplicationPlatform/ObjectAnalytics/Device1Scenario2","timestamp":1670518346712,"message":{"data":{"total":"5"}}}`,
			want:    []string{"occupancy at=2022-12-08T16:52:26.712Z class=unknown vendor=total zone=Device1Scenario2 rule=Device1Scenario2 value=5"},
		},
		{
			name: "somebody in an area, retained", decoder: "axis-event", retained: true,
			payload: `{"topic":"axis:CameraApplicationPlatform/ObjectAnalytics/Device1Scenario4","timestamp":1760689684528,"serial":"B8A44F9EED3B","message":{"source":{},"key":{},"data":{"triggerTime":"2025-10-17T10:28:04.528+0200","active":"1","objectId":"4240","classTypes":"human,car"}}}`,
			want:    []string{"inside at=2025-10-17T08:28:04.528Z track=4240 class=person vendor=human zone=Device1Scenario4 rule=Device1Scenario4 value=1"},
		},
		{
			name: "nobody in it any more", decoder: "axis-event", topic: "axis/B8A44F9EED3B/event/CameraApplicationPlatform/ObjectAnalytics/Device1Scenario4",
			payload: `{"timestamp":1760689684528,"message":{"data":{"active":"0","objectId":"","classTypes":""}}}`,
			want:    []string{"inside at=2025-10-17T08:28:04.528Z zone=Device1Scenario4 rule=Device1Scenario4 value=0"},
		},
		{
			name: "what every scenario tells again", decoder: "axis-event",
			payload: `{"topic":"axis:CameraApplicationPlatform/ObjectAnalytics/Device1ScenarioANY","timestamp":1760689684528,"message":{"data":{"active":"1"}}}`,
			want:    []string{"alert at=2025-10-17T08:28:04.528Z rule=Device1ScenarioANY value=1"},
		},
		{
			name: "covered", decoder: "axis-event",
			payload: `{"topic":"onvif:VideoSource/axis:Tampering","timestamp":1760689684528,"message":{"source":{"channel":"1"},"key":{},"data":{"tampering":"1"}}}`,
			want:    []string{"tamper at=2025-10-17T08:28:04.528Z rule=axis:Tampering value=1"},
		},
		{
			name: "motion", decoder: "axis-event",
			payload: `{"topic":"axis:CameraApplicationPlatform/VMD/Camera1Profile1","timestamp":1760689684528,"message":{"source":{},"key":{},"data":{"active":"0"}}}`,
			want:    []string{"motion at=2025-10-17T08:28:04.528Z rule=Camera1Profile1 value=0"},
		},
		{
			name: "night", decoder: "axis-event", topic: "axis/B8A44F9EED3B/event/tns:onvif/VideoSource/tns:axis/DayNightVision",
			payload: `{"topic":"onvif:VideoSource/axis:DayNightVision","timestamp":1760689684528,"message":{"source":{"VideoSourceConfigurationToken":"1"},"key":{},"data":{"day":"0"}}}`,
			want:    []string{"alert at=2025-10-17T08:28:04.528Z rule=axis:DayNightVision value=0"},
		},
		{
			name: "over a fence", decoder: "axis-event",
			payload: `{"topic":"axis:CameraApplicationPlatform/FenceGuard/Camera1Profile1","timestamp":1760689684528,"message":{"data":{"active":"1"}}}`,
			want:    []string{"line_crossed at=2025-10-17T08:28:04.528Z rule=Camera1Profile1 value=1"},
		},
		{
			name: "and on", decoder: "axis-event",
			payload: `{"topic":"axis:CameraApplicationPlatform/FenceGuard/Camera1Profile1","timestamp":1760689684528,"message":{"data":{"active":"0"}}}`,
		},
	}
}

// box is a frame with one box.
func box(left, top, right, bottom string) string {
	return fmt.Sprintf(`{"timestamp":"2026-07-29T11:55:30Z","detections":[{"bounding_box":{"left":%s,"top":%s,"right":%s,"bottom":%s}}]}`, left, top, right, bottom)
}

func axisRefusals() []refusal {
	return []refusal{
		{"100,000 objects", "axis-scene", `{"detections":[` + strings.Repeat(`{},`, 99_999) + `{}]}`, ingest.ReasonTooMany},
		{"100,000 track events", "axis-scene", `{"track_events":[` + strings.Repeat(`{"type":"TrackEnded","object_track_id":"1"},`, 99_999) + `{}]}`, ingest.ReasonTooMany},
		{"a box elsewhere", "axis-scene", box("2.5", "0", "2.6", "0.1"), ingest.ReasonCoordinate},
		{"a box far below", "axis-scene", box("0", "1.1", "0.1", "1.51"), ingest.ReasonCoordinate},
		{"a box of NaN", "axis-scene", box(`"NaN"`, "0", "0.1", "0.1"), ingest.ReasonNumber},
		{"a box without end", "axis-scene", box("0", "0", `"Inf"`, "0.1"), ingest.ReasonNumber},
		{"a box of 1e999", "axis-scene", box("0", "0", "1e999", "0.1"), ingest.ReasonNumber},
		{"a box of words", "axis-scene", box("0", "0", `"wide"`, "0.1"), ingest.ReasonType},
		{"a box of boxes", "axis-scene", box("0", "0", `{}`, "0.1"), ingest.ReasonType},
		{"no frame", "axis-scene", `{}`, ingest.ReasonFormat},
		{"an array", "axis-scene", `[]`, ingest.ReasonType},
		{"detections of text", "axis-scene", `{"detections":"none"}`, ingest.ReasonType},
		{"a detection of text", "axis-scene", `{"detections":["none"]}`, ingest.ReasonType},
		{"a time of yesterday", "axis-scene", `{"timestamp":"yesterday"}`, ingest.ReasonTime},
		{"30 February", "axis-scene", `{"timestamp":"2026-02-30T00:00:00Z"}`, ingest.ReasonTime},
		{"before 1970", "axis-scene", `{"timestamp":-1}`, ingest.ReasonTime},
		{"a score of 70", "axis-scene", `{"detections":[{"class":{"score":70}}]}`, ingest.ReasonNumber},
		{"a long id", "axis-scene", `{"detections":[{"object_track_id":"` + strings.Repeat("a", 129) + `"}]}`, ingest.ReasonName},
		{"an end of nothing", "axis-scene", `{"timestamp":1,"track_events":[{"type":"TrackEnded"}]}`, ingest.ReasonMissing},
		{"a rename to nothing", "axis-scene", `{"timestamp":1,"track_events":[{"type":"Rename","from_id":"1"}]}`, ingest.ReasonMissing},
		{"half a channel", "axis-scene", `{"timestamp":1,"channel_id":1.5}`, ingest.ReasonNumber},
		{"cut", "axis-scene", `{"timestamp":1`, ingest.ReasonSyntax},
		{"two of them", "axis-scene", `{"timestamp":1}{"timestamp":1}`, ingest.ReasonSyntax},
		{"deep", "axis-scene", `{"x":` + strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40) + `}`, ingest.ReasonDepth},
		{"no id", "axis-track", `{"start_time":"2026-07-29T11:55:20Z"}`, ingest.ReasonMissing},
		{"no time", "axis-track", `{"id":"1"}`, ingest.ReasonMissing},
		{"a year of it", "axis-track", `{"id":"1","start_time":"2026-07-29T11:55:20Z","duration":31536000}`, ingest.ReasonTime},
		{"backwards", "axis-track", `{"id":"1","start_time":"2026-07-29T11:55:20Z","end_time":"2026-07-29T11:55:10Z"}`, ingest.ReasonTime},
		{"as fast as a rocket", "axis-track", `{"id":"1","start_time":"2026-07-29T11:55:20Z","maximum_speed":2000}`, ingest.ReasonNumber},
		{"no topic", "axis-event", `{"message":{"data":{"active":"1"}}}`, ingest.ReasonMissing},
		{"a negative counter", "axis-event", `{"topic":"x/ObjectAnalytics/y","message":{"data":{"total":"-1"}}}`, ingest.ReasonNumber},
		{"a state of maybe", "axis-event", `{"topic":"x/y","message":{"data":{"active":"maybe"}}}`, ingest.ReasonType},
		{"a message of text", "axis-event", `{"topic":"x/y","message":"z"}`, ingest.ReasonType},
	}
}
