package live

import "math"

// A CameraCell is what a camera counted of a class in a minute; of a hidden one only that it was there.
type CameraCell struct {
	Class          string
	Hidden         bool
	In, Out, Queue int64
	Present        float64
}

// CameraMinute makes of a camera's cells of one whole minute the values that it has now of its newest one:
// people_in, vehicles_queued and so on, Fewer(k) where all cells of a group are hidden. Hidden cells beside
// others are left out. Classes are those counted lately: of those without a cell there was nobody where the
// camera was working, and nil stands for what is not known.
func CameraMinute(cells []CameraCell, classes []string, working bool, k int) map[string]any {
	values := map[string]any{}
	for g := range groups {
		var told CameraCell
		shown, hidden, known := false, false, false
		for _, class := range groups[g].classes {
			for _, c := range classes {
				known = known || c == class
			}
			for _, c := range cells {
				switch {
				case c.Class != class:
				case c.Hidden:
					hidden = true
				default:
					shown = true
					told.In, told.Out, told.Queue, told.Present = told.In+c.In, told.Out+c.Out, told.Queue+c.Queue, told.Present+c.Present
				}
			}
		}
		if !known && !shown && !hidden {
			continue
		}
		put := func(what string, v float64) {
			switch name := groups[g].name + what; {
			case hidden && !shown:
				values[name] = Fewer(k)
			case !shown && !working:
				values[name] = nil
			default:
				values[name] = v
			}
		}
		put("_in", float64(told.In))
		put("_out", float64(told.Out))
		put("_present", math.Round(told.Present*10)/10)
		if g == vehiclesGroup {
			put("_queued", float64(told.Queue))
		}
	}
	return values
}
