package vds

import (
	"strings"

	"panormus/ingest"
)

const (
	frigateBefore = `{"id":"1718987129.308396-fqk5ka","camera":"porta_felice","frame_time":1718987129.3,"label":"car","sub_label":null,"top_score":0.8,"false_positive":false,` +
		`"box":[100,300,400,500],"current_zones":["viale","sosta"],"entered_zones":["viale"],"stationary":false,"average_estimated_speed":0,"velocity_angle":0,"recognized_license_plate":null,"end_time":null}`
	frigateAfter = `{"id":"1718987129.308396-fqk5ka","camera":"porta_felice","frame_time":1718987130.25,"label":"car","sub_label":["Rosalia Spina",0.94],"top_score":0.9,"score":0.85,"false_positive":false,` +
		`"snapshot":{"frame_time":1718987130.1,"box":[1,2,3,4]},"box":[320,360,640,540],"area":57600,"region":[0,200,640,840],"current_zones":["viale","incrocio"],"entered_zones":["viale","incrocio"],` +
		`"stationary":false,"average_estimated_speed":36.0,"current_estimated_speed":54,"velocity_angle":180,"recognized_license_plate":"AB123CD","recognized_license_plate_score":0.93,"end_time":null}`
)

func vendorGoldens() []golden {
	return []golden{
		{
			name: "a car moves on", decoder: "frigate-event", camera: "porta_felice", payload: `{"before":` + frigateBefore + `,"after":` + frigateAfter + `,"type":"update"}`,
			want: []string{
				"object at=2024-06-21T16:25:30.250Z track=1718987129.308396-fqk5ka class=car vendor=car score=0.85 speed=15 heading=270 box=0.25,0.5,0.5,0.75 centre=0.375,0.625 sub_label:Rosalia Spina",
				"zone_entered at=2024-06-21T16:25:30.250Z track=1718987129.308396-fqk5ka class=car vendor=car zone=incrocio",
				"zone_left at=2024-06-21T16:25:30.250Z track=1718987129.308396-fqk5ka class=car vendor=car zone=sosta",
				"plate at=2024-06-21T16:25:30.250Z track=1718987129.308396-fqk5ka class=car vendor=car plate=AB123CD sub_label:Rosalia Spina",
			},
			secrets: []string{"AB123CD", "Rosalia", "Spina"},
		},
		{
			name: "a car ends", decoder: "frigate-event", camera: "porta_felice",
			payload: `{"type":"end","before":` + frigateAfter + `,"after":` + strings.Replace(frigateAfter, `"end_time":null`, `"end_time":1718987140.5`, 1) + `}`,
			want:    []string{"track_end at=2024-06-21T16:25:40.500Z track=1718987129.308396-fqk5ka class=car vendor=car"},
			secrets: []string{"AB123CD", "Rosalia"},
		},
		{
			name: "a new one, of a camera whose pictures are not known", decoder: "frigate-event", camera: "molo",
			payload: `{"type":"new","before":{"id":"1","camera":"molo","current_zones":["riva"]},"after":{"id":"1","camera":"molo","frame_time":1718987130,"label":"person","sub_label":"Santa","top_score":0.7,"box":[1,2,3,4],"current_zones":["riva"]}}`,
			want: []string{
				"object at=2024-06-21T16:25:30.000Z track=1 class=person vendor=person score=0.7 sub_label:Santa",
				"zone_entered at=2024-06-21T16:25:30.000Z track=1 class=person vendor=person zone=riva",
			},
			secrets: []string{"Santa"},
		},
		{
			name: "a mistake", decoder: "frigate-event", camera: "molo",
			payload: `{"type":"new","before":{},"after":{"id":"1","camera":"molo","frame_time":1718987130,"label":"person","false_positive":true}}`,
		},
		{
			name: "a review", decoder: "frigate-review", camera: "porta_felice",
			payload: `{"type":"new","before":{"id":"r","camera":"porta_felice","severity":"detection"},"after":{"id":"r","camera":"porta_felice","start_time":1718987129.3,"end_time":null,"severity":"alert",` +
				`"thumb_path":"/media/x.webp","data":{"detections":["1718987129.3-a","1718987130.1-b"],"objects":["person-verified","car"],"sub_labels":["Rosalia Spina"],"zones":["viale"],"audio":[]}}}`,
			want:    []string{"alert at=2024-06-21T16:25:29.300Z track=1718987129.3-a class=person vendor=person zone=viale rule=alert value=1"},
			secrets: []string{"Rosalia"},
		},
		{
			name: "the same review again", decoder: "frigate-review", camera: "c",
			payload: `{"type":"update","before":{"camera":"c","severity":"alert"},"after":{"camera":"c","severity":"alert","data":{"zones":[]}}}`,
		},
		{
			name: "its end", decoder: "frigate-review", camera: "c",
			payload: `{"type":"end","before":{"camera":"c","severity":"alert"},"after":{"camera":"c","severity":"alert","start_time":1718987129.3,"end_time":1718987159.3,"data":{}}}`,
			want:    []string{"alert at=2024-06-21T16:25:59.300Z rule=alert value=0"},
		},
		{
			name: "a plate", decoder: "frigate-update", camera: "porta_felice",
			payload: `{"type":"lpr","id":"1607123955.475377-mxklsc","name":"Rosalia","plate":"AB123CD","score":0.95,"camera":"porta_felice","timestamp":1607123958.748393}`,
			want:    []string{"plate at=2020-12-04T23:19:18.748Z track=1607123955.475377-mxklsc plate=AB123CD score=0.95 sub_label:Rosalia"},
			secrets: []string{"Rosalia", "AB123CD"},
		},
		{
			name: "a face", decoder: "frigate-update", camera: "porta_felice",
			payload: `{"type":"face","id":"1607123955.475377-mxklsc","name":"Rosalia","score":0.95,"camera":"porta_felice","timestamp":1607123958.748393}`,
			want:    []string{"alert at=2020-12-04T23:19:18.748Z track=1607123955.475377-mxklsc class=person rule=face score=0.95 sub_label:Rosalia"},
			secrets: []string{"Rosalia"},
		},

		{
			name: "a line", decoder: "dahua",
			payload: `Code=CrossLineDetection;action=Start;index=0;data={"Class":"Normal","Direction":"LeftToRight","Name":"Molo; sud","Object":{"BoundingBox":[4816,4552,5248,5272],"ObjectID":542,"ObjectType":"Human"},"UTC":1620477656,"UTCMS":180}`,
			want:    []string{"line_crossed at=2021-05-08T12:40:56.180Z track=542 class=person vendor=Human rule=Molo; sud direction=left_to_right box=0.588,0.5557,0.6407,0.6436 centre=0.6143,0.5997"},
		},
		{
			name: "a line, no more", decoder: "dahua", payload: `Code=CrossLineDetection;action=Stop;index=0`,
		},
		{
			name: "into an area of the second channel", decoder: "dahua", camera: "cam-2",
			payload: "Code=CrossRegionDetection;action=Pulse;index=1;data={\n  \"Action\" : \"Cross\",\n \"Direction\" : \"Leave\",\n \"Name\" : \"Piazza\",\n \"Objects\" : [ { \"ObjectID\" : 7, \"ObjectType\" : \"Vehicle\" }, { \"ObjectID\" : 8 } ],\n \"RealUTC\" : 1620477656, \"UTC\" : 1620484856 }\n\r\n",
			want:    []string{"zone_left at=2021-05-08T12:40:56.000Z track=7 class=vehicle vendor=Vehicle zone=Piazza rule=Piazza direction=out"},
		},
		{
			name: "in an area", decoder: "dahua",
			payload: `Code=CrossRegionDetection;action=Stop;index=0;data={"Action":"Inside","Name":"Piazza","Object":{"ObjectID":7,"ObjectType":"NonMotor"},"UTC":1620477656}`,
			want:    []string{"inside at=2021-05-08T12:40:56.000Z track=7 class=bicycle vendor=NonMotor zone=Piazza rule=Piazza value=0"},
		},
		{
			name: "left behind", decoder: "dahua",
			payload: `Code=LeftDetection;action=Start;index=0;data={"Name":"Atrio","Object":{"ObjectID":7,"ObjectType":"Bag"},"UTC":1620477656}`,
			want:    []string{"alert at=2021-05-08T12:40:56.000Z track=7 class=bag vendor=Bag zone=Atrio rule=LeftDetection value=1"},
		},
		{name: "motion", decoder: "dahua", payload: `Code=VideoMotion;action=Stop;index=0`, want: []string{"motion rule=VideoMotion value=0"}},
		{name: "blind", decoder: "dahua", payload: `Code=VideoBlind;action=Start;index=0`, want: []string{"tamper rule=VideoBlind value=1"}},
		{name: "no signal", decoder: "dahua", payload: `Code=VideoLoss;action=Start;index=0`, want: []string{"signal_loss rule=VideoLoss value=1"}},
		{
			name: "loitering", decoder: "dahua", payload: `Code=WanderDetection;action=Start;index=0;data={"Name":"Vicolo","UTC":1620477656}`,
			want: []string{"loitering at=2021-05-08T12:40:56.000Z zone=Vicolo rule=Vicolo value=1"},
		},
		{
			name: "people who passed", decoder: "dahua", payload: `Code=NumberStat;action=Pulse;index=0;data={"Name":"Porta","EnteredSubtotal":31,"ExitedSubtotal":"4","UTC":1620477656}`,
			want: []string{"count at=2021-05-08T12:40:56.000Z class=person rule=Porta direction=in value=31", "count at=2021-05-08T12:40:56.000Z class=person rule=Porta direction=out value=4"},
		},
		{
			name: "people who are there", decoder: "dahua", payload: `Code=ManNumDetection;action=Pulse;index=0;data={"Name":"Atrio","ManList":[{},{},{}],"UTC":1620477656}`,
			want: []string{"occupancy at=2021-05-08T12:40:56.000Z class=person zone=Atrio rule=Atrio value=3"},
		},
		{
			name: "a plate", decoder: "dahua",
			payload: `Code=TrafficJunction;action=Pulse;index=0;data={"Object":{"BoundingBox":[1000,2000,3000,4000],"Confidence":204,"ObjectID":9,"ObjectType":"Plate","Text":"AB123CD"},` +
				`"TrafficCar":{"PlateNumber":"AB123CD","PlateColor":"White","VehicleColor":"Red","Speed":54,"DrivingDirection":["Approach","Mondello","Centro"]},"Vehicle":{"Category":"SaloonCar"},"UTC":1620477656}`,
			want:    []string{"plate at=2021-05-08T12:40:56.000Z track=9 class=car vendor=SaloonCar rule=TrafficJunction direction=in plate=AB123CD score=0.8 speed=15 box=0.1221,0.2442,0.3663,0.4883 centre=0.2442,0.3663 colour:Red"},
			secrets: []string{"AB123CD"},
		},
		{name: "still there", decoder: "dahua", payload: "Heartbeat\r\n"},

		{
			name: "a road", decoder: "deepstream",
			payload: `{"version":"4.0","id":"1440","@timestamp":"2018-04-11T04:59:59.828Z","sensorId":"HWY_20","objects":["957|192|108|1920|540|Vehicle|#|sedan|Bugatti|M|blue|CA444XY|CA|0.8","958|0|0|96|108|Person|#|female|45|black|none|formal|0.5","959|0|0|96|108|Face|#|male|30|brown|none|none|none|Rosalia|green","960|1|2|3|4|Bag"]}`,
			want: []string{
				"object at=2018-04-11T04:59:59.828Z track=957 class=car vendor=Vehicle plate=CA444XY score=0.8 box=0.1,0.1,1,0.5 centre=0.55,0.3 make:Bugatti model:M colour:blue plate_region:CA",
				"object at=2018-04-11T04:59:59.828Z track=958 class=person vendor=Person score=0.5 box=0,0,0.05,0.1 centre=0.025,0.05 gender:female age:45 hair:black hat:none clothing:formal",
				"object at=2018-04-11T04:59:59.828Z track=959 class=face vendor=Face box=0,0,0.05,0.1 centre=0.025,0.05 gender:male age:30 hair:brown hat:none glasses:none beard:none name:Rosalia eye_colour:green",
				"object at=2018-04-11T04:59:59.828Z track=960 class=bag vendor=Bag box=0.0005208,0.001852,0.001563,0.003704 centre=0.001042,0.002778",
			},
			secrets: []string{"CA444XY", "Rosalia"},
		},
		{name: "an empty road", decoder: "deepstream", payload: `{"version":"4.0","@timestamp":"2018-04-11T04:59:59.828Z","sensorId":"HWY_20","objects":[]}`, want: []string{"frame at=2018-04-11T04:59:59.828Z"}},

		{
			name: "a group", decoder: "rekor",
			payload: `{"data_type":"alpr_group","version":2,"epoch_start":1788761104000,"epoch_end":1788761105500,"camera_id":1,"best_uuid":"u-1","best_plate_number":"AB123CD","best_confidence":92.5,"best_region":"it","travel_direction":184.5,` +
				`"best_image_width":1280,"best_image_height":720,"best_plate":{"plate":"AB123CD","coordinates":[{"x":429,"y":502}],"vehicle_region":{"x":320,"y":360,"width":320,"height":180}},` +
				`"candidates":[{"plate":"AB123CD","confidence":92.5},{"plate":"AB723CD","confidence":56.7}],"vehicle":{"color":[{"name":"white","confidence":80},{"name":"gray","confidence":2}],"make":[{"name":"fiat"}],"make_model":[{"name":"fiat_panda"}],"body_type":[{"name":"sedan-compact"}]},"vehicle_crop_jpeg":"/9j/"}`,
			want:    []string{"plate at=2026-09-07T06:05:04.000Z track=u-1 class=car vendor=sedan-compact plate=AB123CD score=0.925 heading=184.5 box=0.25,0.5,0.5,0.75 centre=0.375,0.625 plate_region:it colour:white make:fiat model:fiat_panda"},
			secrets: []string{"AB123CD", "AB723CD"},
		},
		{name: "still there", decoder: "rekor", payload: `{"data_type":"heartbeat","timestamp":1788761104000}`},
		{
			name: "a webhook", decoder: "platerecognizer",
			payload: `{"hook":{"target":"x","id":"camera-1","event":"recognition"},"data":{"filename":"camera-1_screenshots/image.jpg","timestamp":"2026-08-19T13:11:25.2Z","camera_id":"camera-1","results":[{"box":{"xmin":192,"ymin":540,"xmax":384,"ymax":594},"plate":"ab123cd",` +
				`"region":{"code":"it","score":0.3},"score":0.9,"candidates":[{"plate":"ab123cd","score":0.9},{"plate":"a8123cd","score":0.7}],"dscore":0.6,"direction":210,"vehicle":{"type":"Sedan","score":0.8,"box":{"xmin":0,"ymin":108,"xmax":960,"ymax":1080}},"color":[{"color":"red","score":0.9}],"model_make":[{"make":"Fiat","model":"Panda"}]}]}}`,
			want:    []string{"plate at=2026-08-19T13:11:25.200Z class=car vendor=Sedan plate=ab123cd score=0.9 heading=210 box=0,0.1,0.5,1 centre=0.25,0.55 plate_region:it colour:red make:Fiat"},
			secrets: []string{"ab123cd", "a8123cd"},
		},
		{
			name: "readings of a plate", decoder: "platerecognizer",
			payload: `{"timestamp":"2026-08-19T13:11:25Z","camera_id":"1","results":[{"plate":{"box":{"xmin":1},"score":0.8,"props":{"plate":[{"value":"ab123cd","score":0.9},{"value":"a8123cd","score":0.7}],"region":[]}},"vehicle":{"type":"Unheard Of"}}]}`,
			want:    []string{"plate at=2026-08-19T13:11:25.000Z class=vehicle vendor=Unheard Of plate=ab123cd score=0.8"},
			secrets: []string{"ab123cd", "a8123cd"},
		},
	}
}

func vendorRefusals() []refusal {
	return []refusal{
		{"no after", "frigate-event", `{"type":"new"}`, ingest.ReasonMissing},
		{"an after of null", "frigate-event", `{"type":"new","after":null}`, ingest.ReasonMissing},
		{"a camera in a folder", "frigate-event", `{"type":"new","after":{"id":"1","camera":"a/b"}}`, ingest.ReasonTopic},
		{"100 zones", "frigate-event", `{"type":"new","after":{"id":"1","camera":"a","current_zones":["z"` + strings.Repeat(`,"z"`, 99) + `]}}`, ingest.ReasonTooMany},
		{"a negative time", "frigate-event", `{"type":"new","after":{"id":"1","camera":"a","frame_time":-5}}`, ingest.ReasonTime},
		{"a box beyond the picture", "frigate-event", `{"type":"new","after":{"id":"1","camera":"cam","box":[0,0,1920,2000]}}`, ingest.ReasonCoordinate},
		{"a speed of light", "frigate-event", `{"type":"new","after":{"id":"1","camera":"cam","average_estimated_speed":3e8}}`, ingest.ReasonNumber},
		{"a score of 7", "frigate-event", `{"type":"new","after":{"id":"1","camera":"cam","top_score":7}}`, ingest.ReasonNumber},
		{"no severity", "frigate-review", `{"type":"new","after":{"camera":"a"}}`, ingest.ReasonMissing},
		{"a description", "frigate-update", `{"type":"description","id":"1","description":"Rosalia walks"}`, ingest.ReasonEvent},
		{"no plate", "frigate-update", `{"type":"lpr","id":"1","camera":"a"}`, ingest.ReasonMissing},
		{"no camera", "frigate-update", `{"type":"lpr","id":"1","plate":"AB123CD"}`, ingest.ReasonMissing},
		{"no code", "dahua", `action=Start;index=0`, ingest.ReasonMissing},
		{"no text of an event", "dahua", `hello`, ingest.ReasonFormat},
		{"another header", "dahua", `Code=VideoMotion;colour=red`, ingest.ReasonFormat},
		{"an index of x", "dahua", `Code=VideoMotion;index=x`, ingest.ReasonFormat},
		{"JSON cut at ;", "dahua", `Code=CrossLineDetection;action=Start;index=0;data={"Name":"Molo`, ingest.ReasonSyntax},
		{"more behind the JSON", "dahua", `Code=CrossLineDetection;action=Start;index=0;data={};more=1`, ingest.ReasonSyntax},
		{"a box beyond the grid", "dahua", `Code=CrossLineDetection;action=Start;index=0;data={"Object":{"BoundingBox":[0,0,0,65536]}}`, ingest.ReasonCoordinate},
		{"a count of nobody", "dahua", `Code=NumberStat;action=Pulse;index=0;data={}`, ingest.ReasonMissing},
		{"an occupancy of nobody", "dahua", `Code=ManNumDetection;action=Pulse;index=0`, ingest.ReasonMissing},
		{"a negative count", "dahua", `Code=NumberStat;action=Pulse;index=0;data={"EnteredSubtotal":-1}`, ingest.ReasonNumber},
		{"no frame", "deepstream", `{"version":"4.0"}`, ingest.ReasonFormat},
		{"an object of the full schema", "deepstream", `{"objects":[{"id":"1"}]}`, ingest.ReasonType},
		{"five fields", "deepstream", `{"objects":["1|2|3|4|5"]}`, ingest.ReasonFormat},
		{"edges of words", "deepstream", `{"objects":["1|a|3|4|5|Person"]}`, ingest.ReasonType},
		{"edges of NaN", "deepstream", `{"objects":["1|NaN|3|4|5|Person"]}`, ingest.ReasonNumber},
		{"a long object", "deepstream", `{"objects":["` + strings.Repeat("1", 1025) + `"]}`, ingest.ReasonName},
		{"100,000 objects", "deepstream", `{"objects":["1|1|3|4|5|Person"` + strings.Repeat(`,"1|1|3|4|5|Person"`, 50_000) + `]}`, ingest.ReasonTooMany},
		{"no plate", "rekor", `{"data_type":"alpr_group"}`, ingest.ReasonMissing},
		{"results of single frames", "rekor", `{"data_type":"alpr_results"}`, ingest.ReasonEvent},
		{"a confidence of 101", "rekor", `{"data_type":"alpr_group","best_confidence":101}`, ingest.ReasonNumber},
		{"no results", "platerecognizer", `{"data":{}}`, ingest.ReasonMissing},
		{"a result without plate", "platerecognizer", `{"data":{"results":[{}]}}`, ingest.ReasonMissing},
	}
}
