package codec

import (
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/dop251/goja"
)

// normalUnits are the UCUM units of the device repository's payload schema, by the names we give its
// fields.
var normalUnits = map[string]string{
	"air_temperature": "Cel", "air_relative_humidity": "%", "air_pressure": "hPa", "air_co2": "[ppm]", "air_light_intensity": "lx",
	"soil_depth": "cm", "soil_moisture": "%", "soil_temperature": "Cel", "soil_ec": "dS/m", "soil_ph": "[pH]",
	"soil_n": "[ppm]", "soil_p": "[ppm]", "soil_k": "[ppm]",
	"wind_speed": "m/s", "wind_direction": "deg", "rain_intensity": "mm/h", "rain_cumulative": "mm",
	"water_temperature": "Cel", "water_temperature_min": "Cel", "water_temperature_max": "Cel", "water_temperature_avg": "Cel",
	"water_temperature_current": "Cel", "water_leak": "", "metering_water_total": "L", "battery": "V",
	"action_motion_detected": "", "action_motion_count": "", "action_contact_state": "",
	"position_latitude": "deg", "position_longitude": "deg", "position_altitude": "m",
}

// normalize calls normalizeUplink and reads its measurements. What goes wrong in it costs the
// normalized form only: it becomes a warning, unless a bound was broken.
func (r *jsRuntime) normalize(f goja.Callable, data goja.Value, out *Result) error {
	input := r.rt.NewObject()
	must(input.Set("data", data))
	v, err := f(goja.Undefined(), input)
	if err != nil {
		if e := r.asError(err); spoiled(e) {
			return e
		} else if e != nil {
			out.warnf("normalizeUplink: %s", e.Detail)
		}
		return nil
	}
	var normal Result
	x := reader{r: r, out: &normal}
	o, ok := v.(*goja.Object)
	if !ok {
		out.warnf("normalizeUplink returned %s, want an object", kindOf(v))
		return nil
	}
	if normal.Errors, err = x.messages(o.Get("errors"), nil); err != nil {
		return err
	}
	if normal.Warnings, err = x.messages(o.Get("warnings"), nil); err != nil {
		return err
	}
	for _, m := range append(normal.Errors, normal.Warnings...) {
		out.warnf("normalizeUplink: %s", m)
	}
	if len(normal.Errors) > 0 {
		return nil
	}
	t, err := x.tree(o.Get("data"), 0)
	if err != nil {
		return err
	}
	list, ok := t.([]any)
	if !ok {
		list = []any{t}
	}
	total := 0
	for _, e := range list {
		m, ok := e.(*Object)
		if !ok {
			continue
		}
		n, err := Normalize(m, out)
		if err != nil {
			return err
		}
		if total += len(n.Values); total > MaxValues {
			return errorf(ReasonOutput, "more than %d normalized values", MaxValues)
		}
		out.Normalized = append(out.Normalized, n)
	}
	return nil
}

// Normalize maps one normalized measurement to our metric names and UCUM units: air.relativeHumidity
// becomes air_relative_humidity in %. Members the schema does not know keep their name, without a
// unit. What is left out is told in the warnings of out. Network servers send the same form.
func Normalize(m *Object, out *Result) (Measurement, error) {
	var n Measurement
	rest := &Object{}
	for i, k := range m.Keys {
		if s, ok := m.Values[i].(string); k == "time" && ok {
			t, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				out.warnf("normalized time %.40q is not RFC 3339", s)
			} else {
				n.Time = t.UTC()
			}
			continue
		}
		rest.Keys, rest.Values = append(rest.Keys, snake(k)), append(rest.Values, snakeKeys(m.Values[i]))
	}
	values, err := flatten(rest, nil, out)
	if err != nil {
		return n, err
	}
	for i := range values {
		if !math.IsNaN(values[i].Number) {
			values[i].Unit = normalUnits[values[i].Name]
		}
	}
	n.Values = values
	return n, nil
}

func snakeKeys(v any) any {
	o, ok := v.(*Object)
	if !ok {
		return v
	}
	out := &Object{Keys: make([]string, len(o.Keys)), Values: make([]any, len(o.Keys))}
	for i, k := range o.Keys {
		out.Keys[i], out.Values[i] = snake(k), snakeKeys(o.Values[i])
	}
	return out
}

// snake turns relativeHumidity into relative_humidity and pH into ph.
func snake(s string) string {
	if s == "pH" {
		return "ph"
	}
	var b strings.Builder
	lower := false
	for _, r := range s {
		if unicode.IsUpper(r) && lower {
			b.WriteByte('_')
		}
		lower = unicode.IsLower(r) || unicode.IsDigit(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
