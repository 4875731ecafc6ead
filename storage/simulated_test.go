package storage

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"panormus/stream/batch"
)

// simulatedCity makes observations such as a city's: values rounded as sensors round them, times
// jittered, each message on its way for 1 to 300 ms. It is seeded: the same calls give the same rows.
type simulatedCity struct {
	rng     *rand.Rand
	devices []*simulatedDevice
	now     int64 // Unix ms
}

type simulatedDevice struct {
	id, domain string
	period     int64 // ms
	next       int64
	state      [6]float64
	emit       func(c *simulatedCity, d *simulatedDevice, put func(metric string, v float64, text string))
}

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

func newSimulatedCity(start time.Time, seed uint64) *simulatedCity {
	c := &simulatedCity{rng: rand.New(rand.NewPCG(seed, 1)), now: start.UnixMilli()}
	add := func(n int, id, domain string, period time.Duration, emit func(*simulatedCity, *simulatedDevice, func(string, float64, string))) {
		for i := range n {
			d := &simulatedDevice{id: fmt.Sprintf(id, i), domain: domain, period: period.Milliseconds(), emit: emit}
			d.next = c.now + c.rng.Int64N(d.period)
			for k := range d.state {
				d.state[k] = c.rng.Float64()
			}
			c.devices = append(c.devices, d)
		}
	}
	add(5000, "light-%05d", "lighting", time.Minute, func(c *simulatedCity, d *simulatedDevice, put func(string, float64, string)) {
		hour := time.UnixMilli(d.next).UTC().Hour()
		on, dim := 0.0, 0.0
		if hour >= 17 || hour < 6 {
			on, dim = 1, 1
			if hour >= 23 || hour < 5 {
				dim = 0.7
			}
		}
		power := on * (80*dim + 10*d.state[0] + c.rng.NormFloat64()*0.6)
		d.state[1] += power / 60 / 1000
		put("power_w", round(power, 1), "")
		put("dimming", dim, "")
		put("on", on, "")
		put("voltage_v", round(230+3*d.state[2]+c.rng.NormFloat64()*0.8, 1), "")
		put("energy_kwh", round(1000*d.state[3]+d.state[1], 3), "")
		put("status", math.NaN(), "ok")
	})
	add(300, "loop-%03d", "mobility", 30*time.Second, func(c *simulatedCity, d *simulatedDevice, put func(string, float64, string)) {
		n := math.Floor(20 * d.state[0] * c.rng.Float64())
		put("vehicle_count", n, "")
		put("occupancy", round(n/40, 3), "")
		put("speed_kmh", round(30+20*d.state[1]+c.rng.NormFloat64()*5, 1), "")
	})
	add(250, "bus-%03d", "mobility", 5*time.Second, func(c *simulatedCity, d *simulatedDevice, put func(string, float64, string)) {
		d.state[0] += c.rng.NormFloat64() * 0.0004
		d.state[1] += c.rng.NormFloat64() * 0.0004
		put("position_lat", round(38.1+0.05*d.state[0], 6), "")
		put("position_lon", round(13.3+0.05*d.state[1], 6), "")
		put("speed_kmh", round(math.Abs(25+c.rng.NormFloat64()*10), 1), "")
		put("heading_deg", math.Floor(c.rng.Float64()*360), "")
		put("delay_s", math.Floor(d.state[2]*300), "")
		put("passengers", math.Floor(d.state[3]*60), "")
	})
	add(60, "air-%02d", "environment", time.Minute, func(c *simulatedCity, d *simulatedDevice, put func(string, float64, string)) {
		for i, m := range []string{"pm10", "pm2_5", "no2", "o3", "temperature", "relative_humidity", "laeq"} {
			k := i % len(d.state)
			d.state[k] += c.rng.NormFloat64() * 0.01
			put(m, round(20+20*d.state[k], 1), "")
		}
	})
	add(800, "bin-%03d", "waste", 10*time.Minute, func(c *simulatedCity, d *simulatedDevice, put func(string, float64, string)) {
		d.state[0] += 0.001
		put("filling_level", round(d.state[0], 2), "")
		put("battery_v", round(3.3+0.3*d.state[1], 2), "")
		put("temperature", round(15+10*d.state[2]+c.rng.NormFloat64()*0.3, 1), "")
	})
	add(200, "parking-%03d", "parking", time.Minute, func(c *simulatedCity, d *simulatedDevice, put func(string, float64, string)) {
		total := 20 + math.Floor(200*d.state[0])
		put("available_spots", math.Floor(total*c.rng.Float64()), "")
		put("total_spots", total, "")
	})
	return c
}

// run advances the city by d and returns what it reported meanwhile, in order of arrival but for
// the delays, spread over parts as the log spreads devices.
func (c *simulatedCity) run(d time.Duration, parts int) []*batch.Observations {
	out := make([]*batch.Observations, parts)
	for i := range out {
		out[i] = &batch.Observations{}
	}
	var full []*batch.Observations
	end := c.now + d.Milliseconds()
	const step = 1000
	for ; c.now < end; c.now += step {
		for i, dev := range c.devices {
			for dev.next < c.now+step {
				o := out[i%parts]
				received := dev.next + 1 + c.rng.Int64N(300)
				h := o.Begin(dev.next, received, dev.domain, dev.id)
				dev.emit(c, dev, func(metric string, v float64, text string) { o.Append(h, metric, v, text, 0) })
				if o.Len() >= batch.MaxRows {
					full = append(full, o)
					out[i%parts] = &batch.Observations{}
				}
				dev.next += dev.period + c.rng.Int64N(400) - 200
			}
		}
	}
	for _, o := range out {
		if o.Len() > 0 {
			full = append(full, o)
		}
	}
	return full
}
