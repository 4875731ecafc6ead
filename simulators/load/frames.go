package load

import (
	"encoding/binary"
	"fmt"
	"time"

	"panormus/devices"
)

// FrameObjects is how many objects a frame has.
const FrameObjects = 8

// frameLife is how many frames an object is in; then another takes its place.
const frameLife = 100

// FrameRows is how many rows a receiver makes of a camera's first n frames: one an object, and one
// where a frame says that a track ended.
func FrameRows(n uint32) int64 { return FrameObjects*int64(n) + frameEnds(n) }

// FrameTracks is how many tracks there are in a camera's first n frames.
func FrameTracks(n uint32) int64 {
	if n == 0 {
		return 0
	}
	return FrameObjects + frameEnds(n)
}

// frameEnds is how many tracks ended in the first n frames.
func frameEnds(n uint32) (ends int64) {
	for i := range int64(FrameObjects) {
		ends += (int64(n) + frameOffset(i)) / frameLife
	}
	return ends
}

// frameOffset is how old the i-th object is at the first frame, less 1. No two end in one frame.
func frameOffset(i int64) int64 { return i * frameLife / FrameObjects }

// frameClasses are those of the objects. As in the field, most have none.
var frameClasses = [FrameObjects]string{"Human", "", "Car", "", "", "Human", "", ""}

// Cameras are what the registry is to be told of the n cameras of a load of frames.
func Cameras(prefix string, n int) []devices.Device {
	all := make([]devices.Device, n)
	for i := range all {
		lat, lon := 38.08+0.001*float64(i%100), 13.30+0.001*float64(i/100%100)
		all[i] = devices.Device{
			ID: fmt.Sprintf("%s-%0*d", prefix, deviceDigits, i), Domain: "safety", Lat: &lat, Lon: &lon, Status: devices.Claimed,
			Camera: &devices.Camera{
				Purpose: "traffic", LegalBasis: "D.Lgs. 285/1992 art. 7", Controller: "Comune di Palermo", DPIARef: "DPIA-2026-01",
				Homography: []float64{0, 1, lat, lon, 1, 1, lat, lon + 1e-4, 1, 0, lat + 4e-4, lon + 2e-4, 0, 0, lat + 4e-4, lon - 1e-4},
				Areas: []devices.Area{
					{Name: "middle", Kind: devices.AreaZone, Points: [][2]float64{{0.3, 0.1}, {0.7, 0.1}, {0.7, 0.9}, {0.3, 0.9}}},
					{Name: "centre", Kind: devices.AreaLine, Points: [][2]float64{{0.5, 1}, {0.5, 0}}},
				},
			},
		}
	}
	return all
}

// A frameEncoder turns messages into PUBLISH packets of com.axis.scene.frame.v1 by patching one
// packet in place. Objects go from left to right or back. It is not safe for concurrent use.
type frameEncoder struct {
	prefix  string
	seed    uint64
	qos     byte
	plain   frameLayout
	ending  frameLayout // with a track that ended
	second  int64       // that stamp is of
	stamp   [19]byte    // 2006-01-02T15:04:05
	scratch [8]byte
}

// A frameLayout is a packet and where in it is what changes.
type frameLayout struct {
	packet  []byte
	pid     int
	body    int
	id      field
	second  field
	ms      field
	objects [FrameObjects]struct{ bottom, left, right, top, track int }
	ended   int // track id; 0: none
}

func newFrameEncoder(prefix string, qos byte, seed int64) *frameEncoder {
	e := &frameEncoder{prefix: prefix, seed: uint64(seed), qos: qos, second: -1}
	e.plain, e.ending = e.layOut(false), e.layOut(true)
	return e
}

func (e *frameEncoder) layOut(ending bool) (l frameLayout) {
	const number, id = "0.0000", "00000000"
	body := []byte(`{"channel_id":1,"detections":[`)
	put := func(before, hole string) int {
		body = append(body, before...)
		at := len(body)
		body = append(body, hole...)
		return at
	}
	for i := range l.objects {
		o := &l.objects[i]
		if i > 0 {
			body = append(body, ',')
		}
		o.bottom = put(`{"bounding_box":{"bottom":`, number)
		o.left = put(`,"left":`, number)
		o.right = put(`,"right":`, number)
		o.top = put(`,"top":`, number)
		body = append(body, '}')
		if frameClasses[i] != "" {
			body = fmt.Appendf(body, `,"class":{"score":0.73,"type":%q}`, frameClasses[i])
		}
		o.track = put(`,"object_track_id":"`, id)
		body = append(body, `"}`...)
	}
	l.second = field{put(`],"timestamp":"`, "0000-00-00T00:00:00"), 19}
	l.ms = field{put(`.`, "000"), 3}
	body = append(body, `000Z"`...)
	if ending {
		l.ended = put(`,"track_events":[{"object_track_id":"`, id)
		body = append(body, `","type":"TrackEnded"}]`...)
	}
	body = append(body, '}')

	topic := "vds/" + e.prefix + "-" + zeros(deviceDigits) + "/axis-scene"
	first, size := byte(packetPublish), 2+len(topic)+len(body)
	if e.qos > 0 {
		first |= publishQoS1
		size += 2
	}
	l.packet = appendLength([]byte{first}, size)
	l.id = field{len(l.packet) + 2 + len("vds/") + len(e.prefix) + 1, deviceDigits}
	l.packet = appendString(l.packet, topic)
	if e.qos > 0 {
		l.pid = len(l.packet)
		l.packet = append(l.packet, 0, 0)
	}
	l.body = len(l.packet)
	l.packet = append(l.packet, body...)
	return l
}

// append appends the packet of m under packet identifier pid to b.
func (e *frameEncoder) append(b []byte, m message, pid uint16, dup bool) []byte {
	l := &e.plain
	for i := range int64(FrameObjects) {
		if age := int64(m.n) + frameOffset(i); age%frameLife == 0 {
			l = &e.ending
			e.track(m.device, i, age/frameLife-1)
			copy(l.packet[l.body+l.ended:], e.scratch[:])
		}
	}
	for i := range int64(FrameObjects) {
		age, o := int64(m.n)+frameOffset(i), &l.objects[i]
		own := mix(e.seed ^ uint64(m.device)<<32 ^ uint64(i)<<24 ^ uint64(age/frameLife))
		x := uint64(age%frameLife) * 92 // of 10,000
		if own&1 == 0 {
			x = 9200 - x
		}
		top := 500 + (own>>8)%6000
		e.tenThousandths(l, o.left, x)
		e.tenThousandths(l, o.right, x+300+(own>>32)%400)
		e.tenThousandths(l, o.top, top)
		e.tenThousandths(l, o.bottom, top+800+(own>>44)%1500)
		e.track(m.device, i, age/frameLife)
		copy(l.packet[l.body+o.track:], e.scratch[:])
	}
	if s := m.ts / 1000; s != e.second {
		e.second = s
		time.Unix(s, 0).UTC().AppendFormat(e.stamp[:0], "2006-01-02T15:04:05")
	}
	copy(l.packet[l.body+l.second.at:], e.stamp[:])
	patchDigits(l.packet[l.body+l.ms.at:][:3], uint64(m.ts%1000))
	patchDigits(l.packet[l.id.at:][:l.id.size], uint64(m.device))
	if e.qos > 0 {
		binary.BigEndian.PutUint16(l.packet[l.pid:], pid)
	}
	start := len(b)
	b = append(b, l.packet...)
	if dup {
		b[start] |= publishDup
	}
	return b
}

// tenThousandths writes v, below 10,000, behind the point of the number at a place of the body.
func (e *frameEncoder) tenThousandths(l *frameLayout, at int, v uint64) {
	patchDigits(l.packet[l.body+at+2:][:4], v)
}

// track writes a track's id into scratch.
func (e *frameEncoder) track(device int32, object, generation int64) {
	const digits = "0123456789abcdef"
	h := mix(e.seed ^ uint64(device)<<40 ^ uint64(object)<<32 ^ uint64(generation) ^ 't'<<56)
	for i := range e.scratch {
		e.scratch[i] = digits[h&15]
		h >>= 4
	}
}

func (e *frameEncoder) payloadBytes() int { return len(e.plain.packet) - e.plain.body }
