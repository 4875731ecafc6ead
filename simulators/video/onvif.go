package video

import (
	"fmt"
	"strconv"
)

// objectNumber is an ONVIF object's id.
func objectNumber(id uint64) string { return strconv.FormatUint(id%1_000_000_000, 10) }

// prefix of the camera's topics: a MAC address alone, or a place or two before its name.
func (c *camera) prefix() string {
	switch c.variant % 3 {
	case 1:
		return "site-" + strconv.Itoa(c.index%4) + "/" + c.device.ID
	case 2:
		return "palermo/" + c.place.Zone + "/" + c.device.ID
	}
	return c.device.ID
}

// utc is how the camera writes the time.
func (c *camera) utc(at int64) string {
	if c.variant%3 == 1 {
		return clock(at, "2006-01-02T15:04:05.000") // as if it were local
	}
	return clock(at, millis)
}

var onvifClasses = [...]string{"Human", "Bike", "Motorcycle", "Vehicle", "Vehical", "Truck", "Bus"}

// bounding is b as an ONVIF camera measures it, and how to bring that to -1..1.
func (c *camera) bounding(b box) (left, top, right, bottom float64, pixels bool) {
	if c.variant%2 == 0 {
		return 640 * b.left, 480 * b.top, 640 * b.right, 480 * b.bottom, true
	}
	return 2*b.left - 1, 1 - 2*b.top, 2*b.right - 1, 1 - 2*b.bottom, false
}

// onvifFrame sends a picture in the JSON that follows ONVIF's schema.
func (w *watcher) onvifFrame(s *scene) {
	c := w.c
	number := "%.4f"
	if c.variant%4 == 3 {
		number = `"%.4f"`
	}
	b := fmt.Appendf(nil, `{"Frame":[{"@UtcTime":%q`, c.utc(s.at))
	if _, _, _, _, pixels := c.bounding(box{}); pixels {
		b = append(b, `,"Transformation":{"Translate":{"@x":-1,"@y":1},"Scale":{"@x":0.003125,"@y":-0.00416667}}`...)
	}
	for i, v := range s.seen {
		left, top, right, bottom, _ := c.bounding(v.box)
		b = append(b, separator(i, `,"Object":[`)...)
		b = fmt.Appendf(b, `{"@ObjectId":%s,"Appearance":{"Shape":{"BoundingBox":{"@left":`+number+`,"@top":`+number+`,"@right":`+number+`,"@bottom":`+number+`}}`,
			objectNumber(v.track), left, top, right, bottom)
		if v.told {
			b = fmt.Appendf(b, `,"Class":{"Type":[{"@Likelihood":`+number+`,"#text":%q}]}`, v.score, onvifClasses[v.class])
		}
		b = append(b, `}}`...)
	}
	b = append(closed(b, len(s.seen)), `}]}`...)
	w.send(message{topic: c.topic(), payload: b, frame: true, rows: frameRows(len(s.seen))})
}

// event is one of ONVIF's in its JSON, with the names and values of its source and data.
func (c *camera) event(at int64, source, data [][2]string) []byte {
	b := fmt.Appendf(nil, `{"UtcTime":%q`, c.utc(at))
	for _, part := range []struct {
		name  string
		items [][2]string
	}{{"Source", source}, {"Data", data}} {
		b = fmt.Appendf(b, `,%q:`, part.name)
		if c.variant%3 == 2 { // as in the XML
			b = append(b, `{"SimpleItem":[`...)
			for i, item := range part.items {
				b = append(b, separator(i, "")...)
				b = fmt.Appendf(b, `{"Name":%q,"Value":%q}`, item[0], item[1])
			}
			b = append(b, `]}`...)
			continue
		}
		b = append(b, '{')
		for i, item := range part.items {
			b = append(b, separator(i, "")...)
			if c.variant%2 == 1 && bare(item[1]) {
				b = fmt.Appendf(b, `%q:%s`, item[0], item[1])
			} else {
				b = fmt.Appendf(b, `%q:%q`, item[0], item[1])
			}
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// bare reports whether a value may stand without quotes.
func bare(v string) bool {
	_, err := strconv.ParseFloat(v, 64)
	return err == nil || v == "true" || v == "false"
}

// eventTopic is where an event goes.
func (c *camera) eventTopic(topic, source string) string {
	if c.variant%3 == 1 {
		topic = "tns1:" + topic
	}
	return c.prefix() + "/onvif-ej/" + topic + source
}

// analytics is the source of rule's events.
func analytics(rule string) [][2]string {
	return [][2]string{{"VideoSource", "1"}, {"AnalyticsConfiguration", "2"}, {"Rule", rule}}
}

func (w *watcher) onvifEvents(s *scene) {
	c := w.c
	for _, k := range s.crossed {
		w.send(message{
			topic:   c.eventTopic("RuleEngine/LineDetector/Crossed", "/&1/2/Fence1"),
			payload: c.event(s.at, analytics("Fence1"), [][2]string{{"ObjectId", objectNumber(k.track)}}), rows: rows{lineCrossed: 1},
		})
	}
	for _, k := range s.loitering {
		w.send(message{
			topic:   c.eventTopic("RuleEngine/LoiteringDetector/ObjectIsLoitering", "/&1/2/Loiter1"),
			payload: c.event(s.at, analytics("Loiter1"), [][2]string{{"ObjectId", objectNumber(k.track)}, {"IsLoitering", "true"}}), rows: rows{loitering: 1},
		})
	}
	if occupied := s.inside > 0; occupied != w.occupied {
		w.occupied = occupied
		topic := c.eventTopic("RuleEngine/FieldDetector/ObjectsInside", "/&1/2/Zone1")
		w.state(topic, c.event(s.at, analytics("Zone1"), [][2]string{{"ObjectId", "0"}, {"IsInside", strconv.FormatBool(occupied)}}), insideState)
		if !occupied && c.variant%2 == 0 { // some delete a state that is over
			w.send(message{topic: topic, retain: true})
			delete(w.states, topic)
		}
	}
	if len(s.crossed) > 0 {
		total := 0
		for _, n := range w.counts {
			total += n
		}
		word := "CountAggregation"
		if c.variant%4 == 1 {
			word = "CountAgregation" // sic
		}
		w.send(message{
			topic:   c.eventTopic("RuleEngine/"+word+"/Counter", "/&1/2/Count1"),
			payload: c.event(s.at, analytics("Count1"), [][2]string{{"Count", strconv.Itoa(total)}}), rows: rows{counted: 1},
		})
	}
}

// state sends a property event, which the broker is to keep.
func (w *watcher) state(topic string, payload []byte, what string) {
	w.states[topic] = payload
	w.send(message{topic: topic, payload: payload, retain: true, rows: rows{what: 1}})
}

func (w *watcher) onvifTrouble(at int64, what string, on bool) {
	topic := "VideoSource/SignalLoss"
	if what == tamperState {
		topic = "VideoSource/GlobalSceneChange/ImagingService"
	}
	w.state(w.c.eventTopic(topic, "/&1"), w.c.event(at, [][2]string{{"Source", "1"}}, [][2]string{{"State", strconv.FormatBool(on)}}), what)
}

// onvifStream sends a picture as tt:MetadataStream, and the events beside it in others.
func (w *watcher) onvifStream(s *scene) {
	c := w.c
	open, ns, soap := "tt:", ` xmlns:tt="http://www.onvif.org/ver10/schema"`, ` xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2"`
	if c.variant%3 == 2 {
		open, ns = "", "" // some leave the namespace out
	}
	b := fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?><%sMetadataStream%s><%[1]sVideoAnalytics><%[1]sFrame UtcTime=%[3]q>`, open, ns, c.utc(s.at))
	if _, _, _, _, pixels := c.bounding(box{}); pixels {
		b = fmt.Appendf(b, `<%[1]sTransformation><%[1]sTranslate x="-1" y="1"/><%[1]sScale x="0.003125" y="-0.00416667"/></%[1]sTransformation>`, open)
	}
	objects := 0
	object := func(id uint64, v *sight) {
		objects++
		left, top, right, bottom, _ := c.bounding(v.box)
		b = fmt.Appendf(b, `<%[1]sObject ObjectId="%[2]s"><%[1]sAppearance><%[1]sShape><%[1]sBoundingBox left="%.4[3]f" top="%.4[4]f" right="%.4[5]f" bottom="%.4[6]f"/><%[1]sCenterOfGravity x="%.4[7]f" y="%.4[8]f"/></%[1]sShape>`,
			open, objectNumber(id), left, top, right, bottom, (left+right)/2, (top+bottom)/2)
		if v.told {
			b = fmt.Appendf(b, `<%[1]sClass><%[1]sClassCandidate><%[1]sType>%[2]s</%[1]sType><%[1]sLikelihood>%.2[3]f</%[1]sLikelihood></%[1]sClassCandidate><%[1]sType Likelihood="%.2[3]f">%[2]s</%[1]sType></%[1]sClass>`, open, onvifClasses[v.class], v.score)
		}
		if v.told && v.class == person && v.woman {
			b = fmt.Appendf(b, `<%[1]sHumanFace><fc:Gender xmlns:fc="http://www.onvif.org/ver20/analytics/humanface">%[2]s</fc:Gender></%[1]sHumanFace>`, open, w.all.personal(female))
		}
		if v.plate != "" && v.told {
			b = fmt.Appendf(b, `<%[1]sLicensePlateInfo><%[1]sPlateNumber Likelihood="0.91">%[2]s</%[1]sPlateNumber><%[1]sCountryCode Likelihood="0.99">IT</%[1]sCountryCode></%[1]sLicensePlateInfo>`, open, w.all.plate(&v.object))
		}
		b = fmt.Appendf(b, `</%[1]sAppearance><%[1]sBehaviour><%[1]sSpeed>%.2[2]f</%[1]sSpeed></%[1]sBehaviour></%[1]sObject>`, open, v.speed)
	}
	for i := range s.seen {
		v := &s.seen[i]
		object(v.track, v)
		if v.twin != 0 {
			beside := *v
			beside.box.left, beside.box.right = max(v.box.left-0.03, 0), max(v.box.right-0.03, 0.002)
			object(v.twin, &beside)
		}
	}
	tree, ends := []byte(nil), 0
	for _, r := range s.renamed {
		tree = fmt.Appendf(tree, `<%[1]sRename><%[1]sfrom ObjectId="%[2]s"/><%[1]sto ObjectId="%[3]s"/></%[1]sRename>`, open, objectNumber(r.from), objectNumber(r.to))
	}
	for _, r := range s.split {
		tree = fmt.Appendf(tree, `<%[1]sSplit><%[1]sfrom ObjectId="%[2]s"/><%[1]sto ObjectId="%[3]s"/></%[1]sSplit>`, open, objectNumber(r.from), objectNumber(r.to))
	}
	for _, k := range s.ended {
		for _, id := range []uint64{k.track, k.twin} {
			if id != 0 {
				ends++
				tree = fmt.Appendf(tree, `<%[1]sDelete ObjectId="%[2]s"/>`, open, objectNumber(id))
			}
		}
	}
	if tree != nil {
		b = fmt.Appendf(b, `<%[1]sObjectTree>%[2]s</%[1]sObjectTree>`, open, tree)
	}
	b = fmt.Appendf(b, `</%[1]sFrame></%[1]sVideoAnalytics></%[1]sMetadataStream>`, open)
	r := frameRows(objects)
	r.add(trackRename, len(s.renamed))
	r.add(trackSplit, len(s.split))
	r.add(trackEnd, ends)
	w.send(message{topic: c.topic(), payload: b, frame: true, rows: r})
	for _, k := range s.crossed {
		e := fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?><%[1]sMetadataStream%[2]s%[3]s><%[1]sEvent><wsnt:NotificationMessage><wsnt:Topic Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">tns1:RuleEngine/LineDetector/Crossed</wsnt:Topic><wsnt:Message><%[1]sMessage UtcTime=%[4]q><%[1]sSource><%[1]sSimpleItem Name="VideoSource" Value="1"/><%[1]sSimpleItem Name="Rule" Value="Fence1"/></%[1]sSource><%[1]sData><%[1]sSimpleItem Name="ObjectId" Value="%[5]s"/></%[1]sData></%[1]sMessage></wsnt:Message></wsnt:NotificationMessage></%[1]sEvent></%[1]sMetadataStream>`,
			open, ns, soap, c.utc(s.at), objectNumber(k.track))
		w.send(message{topic: c.topic(), payload: e, rows: rows{lineCrossed: 1}})
	}
}
