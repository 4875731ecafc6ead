package api

import (
	"math"
	"slices"

	"panormus/devices"
)

// A limit of the law, for what a metric comes to in a way that the law says.
type limit struct {
	Index  string `json:"index" example:"no2_1h"`
	Metric string `json:"metric"`
	Unit   string `json:"unit" doc:"UCUM"`
	// Value is nil for noise, whose limit goes by the class of the zone.
	Value   *float64 `json:"limit" doc:"null: by class"`
	Alarm   *float64 `json:"alarm" doc:"threshold from which the public is warned; null for none"`
	Classes []limitC `json:"classes,omitempty" doc:"of noise: the limit by class, I first"`
	Allowed int      `json:"allowed_a_year,omitempty" doc:"times a year that it may be passed"`
	Source  string   `json:"source"`

	of func(Hours) float64
	// span is what is counted over a year; years is of how many, at most yearsBack, the mean is held against Allowed, 1 for 0.
	span  Span
	years int
	// inform is of a threshold from which the public is told: there is no number of times that it may be passed.
	inform bool
}

// Span is what of the hours is held against a limit.
type Span uint8

// The spans: the mean of each hour or day, and the greatest running mean of 8 hours that ends in the day.
const (
	EachHour Span = iota
	EachDay
	Max8h
)

// per is what is counted of a span.
func (s Span) per() string {
	if s == EachHour {
		return "hour"
	}
	return "day"
}

// passed is the least value that passes a limit: what is told of it is rounded to whole units first, as limits
// are, so that 50.4 ug/m3 keep one of 50.
func passed(limit float64) float64 { return limit + 0.5 }

type limitC struct {
	Class int     `json:"class"`
	Limit float64 `json:"limit"`
}

const (
	noiseMetric = "laeq"
	noiseSource = "D.P.C.M. 14/11/1997, tabella C: valori limite assoluti di immissione"
)

func num(v float64) *float64 { return &v }

func maxHour(h Hours) float64 { return h.MaxHour }
func max8h(h Hours) float64   { return h.Max8h }
func mean(h Hours) float64    { return h.Sum / float64(h.Hours) }

// limits are those of Italian and European law for what a station can measure by the hour.
var limits = []limit{
	{Index: "no2_1h", Metric: "no2", Unit: "ug/m3", Value: num(200), Alarm: num(400), Allowed: 18, Source: "D.Lgs. 155/2010, allegati XI e XII (direttiva 2008/50/CE)", of: maxHour},
	{Index: "pm10_24h", Metric: "pm10", Unit: "ug/m3", Value: num(50), Allowed: 35, Source: "D.Lgs. 155/2010, allegato XI (direttiva 2008/50/CE)", of: mean, span: EachDay},
	{Index: "pm2_5_24h", Metric: "pm2_5", Unit: "ug/m3", Value: num(25), Allowed: 18, Source: "Direttiva (UE) 2024/2881, allegato I: dal 1/1/2030", of: mean, span: EachDay},
	{Index: "o3_1h", Metric: "o3", Unit: "ug/m3", Value: num(180), Alarm: num(240), Source: "D.Lgs. 155/2010, allegato XII: soglie di informazione e di allarme", of: maxHour, inform: true},
	{Index: "o3_8h", Metric: "o3", Unit: "ug/m3", Value: num(120), Allowed: 25, Source: "D.Lgs. 155/2010, allegato VII: valore obiettivo, superamenti come media su tre anni", of: max8h, span: Max8h, years: 3},
	{Index: "co_8h", Metric: "co", Unit: "mg/m3", Value: num(10), Source: "D.Lgs. 155/2010, allegato XI (direttiva 2008/50/CE)", of: max8h, span: Max8h},
	{Index: "so2_1h", Metric: "so2", Unit: "ug/m3", Value: num(350), Alarm: num(500), Allowed: 24, Source: "D.Lgs. 155/2010, allegati XI e XII (direttiva 2008/50/CE)", of: maxHour},
	{Index: "so2_24h", Metric: "so2", Unit: "ug/m3", Value: num(125), Allowed: 3, Source: "D.Lgs. 155/2010, allegato XI (direttiva 2008/50/CE)", of: mean, span: EachDay},
	{Index: "noise_day", Metric: noiseMetric, Unit: "dB[A]", Classes: classes(50, 55, 60, 65, 70, 70), Source: noiseSource},
	{Index: "noise_night", Metric: noiseMetric, Unit: "dB[A]", Classes: classes(40, 45, 50, 55, 60, 70), Source: noiseSource},
}

// yearly are the limits of a calendar year's mean.
var yearly = []limit{
	{Index: "pm10_year", Metric: "pm10", Unit: "ug/m3", Value: num(40), Source: "D.Lgs. 155/2010, allegato XI (direttiva 2008/50/CE)"},
	{Index: "pm2_5_year", Metric: "pm2_5", Unit: "ug/m3", Value: num(25), Source: "D.Lgs. 155/2010, allegato XI (direttiva 2008/50/CE)"},
	{Index: "no2_year", Metric: "no2", Unit: "ug/m3", Value: num(40), Source: "D.Lgs. 155/2010, allegato XI (direttiva 2008/50/CE)"},
}

func classes(values ...float64) []limitC {
	out := make([]limitC, len(values))
	for i, v := range values {
		out[i] = limitC{i + 1, v}
	}
	return out
}

// limitedMetrics are the metrics of the air that have a limit.
func limitedMetrics() []string {
	var out []string
	for _, l := range limits {
		if l.of != nil && !slices.Contains(out, l.Metric) {
			out = append(out, l.Metric)
		}
	}
	return out
}

// airIndexes compares what a metric came to with its limits; d is nil where the registry does not know
// the station.
func airIndexes(h Hours, d *devices.Asset) []indexItem {
	var out []indexItem
	for i := range limits {
		l := &limits[i]
		if l.Metric != h.Metric || l.of == nil {
			continue
		}
		v := l.of(h)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		it := indexItem{Index: l.Index, Value: v, Hours: h.Hours}
		// A station that measures in another unit is shown, and not compared.
		if l.comparable(d) {
			it.Limit, it.Over, it.Alarm = l.Value, v >= passed(*l.Value), l.Alarm != nil && v >= passed(*l.Alarm)
		}
		out = append(out, it)
	}
	return out
}

// comparable reports whether a station measures in the limit's unit; d is nil where the registry does not know it.
func (l *limit) comparable(d *devices.Asset) bool {
	return d == nil || d.Metrics[l.Metric].Unit == "" || d.Metrics[l.Metric].Unit == l.Unit
}

// noiseIndexes compares levels with the limits of a class, 0 where it is not known.
func noiseIndexes(l Level, class int) []indexItem {
	var out []indexItem
	for _, part := range []struct {
		index string
		value float64
	}{{"noise_day", l.Day}, {"noise_night", l.Night}} {
		if math.IsNaN(part.value) || math.IsInf(part.value, 0) {
			continue
		}
		it := indexItem{Index: part.index, Value: part.value}
		if class > 0 {
			at := slices.IndexFunc(limits, func(l limit) bool { return l.Index == part.index })
			it.Limit = &limits[at].Classes[class-1].Limit
			it.Over = part.value > *it.Limit
		}
		out = append(out, it)
	}
	return out
}

// noiseClass reads the tag noise_class: I to VI or 1 to 6; 0 for anything else.
func noiseClass(tag string) int {
	for i, roman := range []string{"I", "II", "III", "IV", "V", "VI"} {
		if tag == roman || tag == string(rune('1'+i)) {
			return i + 1
		}
	}
	return 0
}
