package vds

import (
	"errors"
	"math"
	"strconv"
	"unsafe"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/jsonscan"
)

// maxWord is how many bytes a track's id, a class, a zone and the like may have.
const maxWord = 128

// rejectJSON turns an error of the scanner into a Reject that quotes nothing but one character.
func rejectJSON(err error) *ingest.Reject {
	var e *jsonscan.Error
	if errors.As(err, &e) && e.Kind == jsonscan.KindNumber {
		return ingest.Rejectf(ingest.ReasonNumber, "offset %d: found a number beyond 64-bit floats, want %s", e.Offset, e.Want)
	}
	return ingest.RejectJSON(err)
}

// mismatch is the Reject of what follows in s being valid but not what is wanted, or of its not being valid.
func mismatch(s *jsonscan.Scanner, want string) error {
	c, at := s.Peek(), s.Offset()
	if err := s.Skip(); err != nil {
		return rejectJSON(err)
	}
	return ingest.Rejectf(ingest.ReasonType, "offset %d: found %s, want %s", at, kindOf(c), want)
}

func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// members reads the object that follows in s, null counting as an empty one: read gets each name,
// which holds until it reads strings, and must read the value.
func members(s *jsonscan.Scanner, what string, read func(name []byte) error) error {
	if s.Peek() == 'n' {
		return skip(s)
	}
	if s.Peek() != '{' {
		return mismatch(s, what)
	}
	if err := s.Open('{'); err != nil {
		return rejectJSON(err)
	}
	for first := true; ; first = false {
		name, more, err := s.Member(first)
		if err != nil {
			return rejectJSON(err)
		}
		if !more {
			return nil
		}
		if err := read(name); err != nil {
			return err
		}
	}
}

// elements reads the array that follows in s, null counting as an empty one: read must read each
// element.
func elements(s *jsonscan.Scanner, what string, read func(i int) error) error {
	if s.Peek() == 'n' {
		return skip(s)
	}
	if s.Peek() != '[' {
		return mismatch(s, what)
	}
	if err := s.Open('['); err != nil {
		return rejectJSON(err)
	}
	for i := 0; ; i++ {
		more, err := s.Element(i == 0)
		if err != nil {
			return rejectJSON(err)
		}
		if !more {
			return nil
		}
		if err := read(i); err != nil {
			return err
		}
	}
}

// whole reads the object that all of payload is.
func whole(s *jsonscan.Scanner, payload []byte, what string, read func(name []byte) error) error {
	s.Reset(payload)
	if s.Peek() != '{' {
		return mismatch(s, what)
	}
	if err := members(s, what, read); err != nil {
		return err
	}
	if err := s.End(); err != nil {
		return rejectJSON(err)
	}
	return nil
}

func skip(s *jsonscan.Scanner) error {
	if err := s.Skip(); err != nil {
		return rejectJSON(err)
	}
	return nil
}

// number reads a number, or a string that holds one; null and an empty string are NaN, which is
// what says nothing.
func number(s *jsonscan.Scanner) (float64, error) {
	switch c := s.Peek(); {
	case c == '-' || c >= '0' && c <= '9':
		v, err := s.Number()
		if err != nil {
			return 0, rejectJSON(err)
		}
		return v, nil
	case c == '"':
		at := s.Offset()
		b, err := s.String()
		if err != nil {
			return 0, rejectJSON(err)
		}
		return parseNumber(b, at)
	case c == 'n':
		return math.NaN(), skip(s)
	}
	return 0, mismatch(s, "a number")
}

// parseNumber reads the number that a text at an offset of the message is.
func parseNumber(b []byte, at int) (float64, error) {
	if len(b) == 0 {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(view(b), 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, ingest.Rejectf(ingest.ReasonType, "offset %d: found a text, want a number", at)
	case err != nil || math.IsNaN(v) || math.IsInf(v, 0):
		return 0, ingest.Rejectf(ingest.ReasonNumber, "offset %d: found NaN or a number beyond 64-bit floats, want a finite one", at)
	}
	return v, nil
}

// word reads a string, or a number or boolean as it is written; null is "". What it returns lies in
// the message or in out.
func word(s *jsonscan.Scanner, out *ingest.Decoded) (string, error) {
	c := s.Peek()
	at := s.Offset()
	switch {
	case c == '"':
		b, err := s.String()
		if err != nil {
			return "", rejectJSON(err)
		}
		if len(b) > maxWord {
			return "", ingest.Rejectf(ingest.ReasonName, "offset %d: found a text of %d bytes, want at most %d", at, len(b), maxWord)
		}
		if s.Offset()-at == len(b)+2 { // no escapes: a part of the message
			return view(b), nil
		}
		return out.Copy(b), nil
	case c == 'n':
		return "", skip(s)
	case c == '{' || c == '[':
		return "", mismatch(s, "a text")
	}
	if err := skip(s); err != nil {
		return "", err
	}
	b := s.Since(at)
	if len(b) > maxWord {
		return "", ingest.Rejectf(ingest.ReasonName, "offset %d: found a number of %d bytes, want at most %d", at, len(b), maxWord)
	}
	return view(b), nil
}

// truth reads a state: 1 for true, 0 for false, NaN for null and an empty string.
func truth(s *jsonscan.Scanner, out *ingest.Decoded) (float64, error) {
	at := s.Offset()
	w, err := word(s, out)
	if err != nil {
		return 0, err
	}
	return parseTruth(w, at)
}

func parseTruth(w string, at int) (float64, error) {
	switch w {
	case "1", "true", "True", "TRUE", "on", "On", "ON", "yes":
		return 1, nil
	case "0", "false", "False", "FALSE", "off", "Off", "OFF", "no":
		return 0, nil
	case "":
		return math.NaN(), nil
	}
	return 0, ingest.Rejectf(ingest.ReasonType, "offset %d: found no state, want true or false", at)
}

// An instant is a time that a message told, Unix ms, if it did.
type instant struct {
	ms  int64
	own bool
}

// moment reads a time: RFC 3339, its zone being UTC where it is missing, or a number since the epoch
// whose size tells whether it counts s, ms, us or ns.
func moment(s *jsonscan.Scanner) (instant, error) {
	at := s.Offset()
	if s.Peek() == '"' {
		b, err := s.String()
		if err != nil {
			return instant{}, rejectJSON(err)
		}
		return parseMoment(b, at)
	}
	v, err := number(s)
	if err != nil {
		return instant{}, err
	}
	return epoch(v, at)
}

func parseMoment(b []byte, at int) (instant, error) {
	if len(b) == 0 {
		return instant{}, nil
	}
	if ms, ok := parseTime(b); ok {
		return instant{ms, true}, nil
	}
	v, err := strconv.ParseFloat(view(b), 64)
	if err != nil {
		return instant{}, ingest.Rejectf(ingest.ReasonTime, "offset %d: found no time, want RFC 3339 or a number since 1970", at)
	}
	return epoch(v, at)
}

// epoch is the time that v is since 1970, NaN being none.
func epoch(v float64, at int) (instant, error) {
	switch {
	case math.IsNaN(v):
		return instant{}, nil
	case v < 0 || v > 4e18:
		return instant{}, ingest.Rejectf(ingest.ReasonTime, "offset %d: found a time before 1970 or beyond 2096, want one between", at)
	case v < 1e11:
		v *= 1000
	case v < 1e14:
	case v < 1e17:
		v /= 1000
	default:
		v /= 1e6
	}
	return instant{int64(math.Round(v)), true}, nil
}

// parseTime reads yyyy-mm-ddThh:mm:ss, with or without a fraction and a zone, as Unix ms. A space may
// stand for the T.
func parseTime(b []byte) (ms int64, ok bool) {
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || b[10] != 'T' && b[10] != 't' && b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	year, month, day := digits(b[0:4]), digits(b[5:7]), digits(b[8:10])
	hour, minute, second := digits(b[11:13]), digits(b[14:16]), digits(b[17:19])
	if year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return 0, false
	}
	ms = (daysSince1970(year, month, day)*86400 + int64(hour*3600+minute*60+second)) * 1000
	b = b[19:]
	if len(b) > 1 && (b[0] == '.' || b[0] == ',') {
		b = b[1:]
		n := 0
		for scale := int64(100); n < len(b) && b[n]-'0' <= 9; n++ {
			ms += int64(b[n]-'0') * scale
			scale /= 10
		}
		if n == 0 {
			return 0, false
		}
		b = b[n:]
	}
	switch {
	case len(b) == 0, len(b) == 1 && (b[0] == 'Z' || b[0] == 'z'):
		return ms, true
	case len(b) != 3 && len(b) != 5 && (len(b) != 6 || b[3] != ':'):
		return 0, false
	}
	h, m := digits(b[1:3]), 0
	if len(b) > 3 {
		m = digits(b[len(b)-2:])
	}
	if h < 0 || h > 23 || m < 0 || m > 59 {
		return 0, false
	}
	offset := int64(h*3600+m*60) * 1000
	switch b[0] {
	case '+':
		return ms - offset, true
	case '-':
		return ms + offset, true
	}
	return 0, false
}

// digits is the number that b is, -1 where it is none.
func digits(b []byte) int {
	n := 0
	for _, c := range b {
		if c-'0' > 9 {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 counts the days of the Gregorian calendar, March being the first month of a year.
func daysSince1970(year, month, day int) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468)
}

// outside is how far beyond the image a box may lie and is cut to it: a wide object leaving the view.
const outside = 0.5

// setBox gives r a box whose edges are in 0..1, the origin at the top left, and its centre. Edges that
// are NaN leave r without one; those that lie outside of the image are cut.
func setBox(r *ingest.Detection, left, top, right, bottom float64, at int) error {
	if math.IsNaN(left) || math.IsNaN(top) || math.IsNaN(right) || math.IsNaN(bottom) {
		return nil
	}
	if left > right {
		left, right = right, left
	}
	if top > bottom {
		top, bottom = bottom, top
	}
	if left < -outside || top < -outside || right > 1+outside || bottom > 1+outside {
		return ingest.Rejectf(ingest.ReasonCoordinate, "offset %d: found a box outside of the image, want edges in 0..1, at most %g beyond", at, outside)
	}
	left, top, right, bottom = within01(left), within01(top), within01(right), within01(bottom)
	r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom = float32(left), float32(top), float32(right), float32(bottom)
	r.CenterX, r.CenterY = float32((left+right)/2), float32((top+bottom)/2)
	return nil
}

func within01(v float64) float64 { return min(max(v, 0), 1) }

// setClass gives r a vendor's class and the model's.
func setClass(r *ingest.Detection, vendor string) { r.VendorClass, r.Class = vendor, Class(vendor) }

// setScore gives r a confidence of 0..of.
func setScore(r *ingest.Detection, v, of float64, at int) error {
	if v /= of; v < 0 || v > 1 {
		return ingest.Rejectf(ingest.ReasonNumber, "offset %d: found a confidence beyond 0..%g", at, of)
	}
	r.Score = float32(v)
	return nil
}

// attribute adds one to r, an empty one not.
func attribute(r *ingest.Detection, name, value string, at int) error {
	if value == "" {
		return nil
	}
	if len(r.Extra) >= maxAttributes {
		return ingest.Rejectf(ingest.ReasonTooMany, "offset %d: more than %d attributes of an object", at, maxAttributes)
	}
	r.Extra = append(r.Extra, ingest.Attribute{Name: name, Value: value})
	return nil
}

// maxAttributes is how many attributes an object may have.
const maxAttributes = 32

// attributeAt reads a text and adds it to r.
func attributeAt(s *jsonscan.Scanner, out *ingest.Decoded, r *ingest.Detection, name string) error {
	at := s.Offset()
	w, err := word(s, out)
	if err != nil {
		return err
	}
	return attribute(r, name, w, at)
}

// nameCamera takes the name that a message has for its camera where the topic names none.
func nameCamera(in *ingest.Input, out *ingest.Decoded, name string) error {
	if in.Device != "" {
		return nil
	}
	return setCamera(out, name)
}

// setCamera names the camera that a message comes from.
func setCamera(out *ingest.Decoded, name string) error {
	if err := devices.CheckID(name); err != nil { // which quotes it
		return ingest.Rejectf(ingest.ReasonTopic, "camera: found a name of %d bytes that a device cannot have, want 1 to 128 bytes without spaces, control characters, /, + and #", len(name))
	}
	out.Device = name
	return nil
}

// setChannel names the n-th view, from 1, of the device of the topic: the first one has its name, the
// others are cameras of their own, name-2 and so on.
func setChannel(in *ingest.Input, out *ingest.Decoded, n float64) error {
	if math.IsNaN(n) || n == 1 {
		return nil
	}
	if n != math.Trunc(n) || n < 0 || n > 1024 {
		return ingest.Rejectf(ingest.ReasonNumber, "channel: found no whole number of 1 to 1024")
	}
	if n == 0 {
		return nil
	}
	b := append(append(out.Path[:0], in.Device...), '-')
	return setCamera(out, out.Copy(strconv.AppendInt(b, int64(n), 10)))
}

// stamp gives every row of out from the first-th on a time.
func stamp(out *ingest.Decoded, first int, t instant) {
	for i := first; i < len(out.Detections); i++ {
		out.Detections[i].Time, out.Detections[i].OwnTime = t.ms, t.own
	}
}

// view is b as a string that must not outlive it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
