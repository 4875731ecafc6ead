package city

import "time"

// Stations measure air (Smart Data Models: AirQualityObserved) and noise (NoiseLevelObserved).
var stations = class{
	domain: "environment", profile: "air_station", prefix: "air", digits: 3, count: 60,
	period: [2]time.Duration{time.Minute, time.Minute},
	where:  map[roadClass]float64{ring: 1, avenue: 2, residential: 0.4},
	faults: []share{{exceeding, 0.03}, {stuck, 0.017}, {silent, 0.017}, {mute, 0.005}, {slow, 0.017}, {ahead, 0.01}, {garbled, 0.01}},
	tags: func(a *asset) { // of the city's acoustic plan, after D.P.C.M. 14/11/1997
		a.device.Tags["noise_class"] = []string{"II", "III", "III", "IV"}[hash(a.key, 'z')%4]
	},
	say: sayStation,
}

func sayStation(c *City, a *asset, t time.Time, o *object) {
	h, _ := Hour(t)
	sun := max(sunUp(t), 0)
	traffic := demand(t, 0) * within(0.5, 1.3, a.key, 't')
	still := 1 + 0.35*wander(t, 17*time.Hour, c.seed, 'w') // how little the air moves, the city over
	own := 1 + 0.1*wander(t, 23*time.Minute, a.key, 'o')
	no2 := (9 + 42*traffic) * still * own
	o3 := (38 + 1.1*sun + 14*hump(h, 15, 3) - 0.35*no2) * (1 + 0.08*wander(t, 5*time.Hour, c.seed, 'z'))
	pm10 := (14 + 16*traffic + 5*hump(h, 21, 3)) * still * own
	fine := within(0.48, 0.62, a.key, 'q')
	if a.fault == exceeding { // a building site, a fire of rubbish
		pm10 = 75 + 2.2*pm10
		no2 += 170 + 40*wander(t, 50*time.Minute, a.key, 'x')
	}
	temperature := c.airTemperature(t) + within(-0.8, 0.8, a.key, 'h')
	noise := 47 + 21*clamp(traffic, 0, 1) + within(-3, 4, a.key, 'n') + 1.5*jitter(t, a.key, 'n')
	o.number("pm10", max(pm10+0.8*jitter(t, a.key, 1), 1), 1)
	o.number("pm2_5", max(fine*pm10+0.4*jitter(t, a.key, 2), 0.5), 1)
	o.number("no2", max(no2+0.8*jitter(t, a.key, 3), 1), 1)
	o.number("o3", max(o3+jitter(t, a.key, 4), 2), 1)
	o.number("co", max(0.2+0.5*traffic*still+0.02*jitter(t, a.key, 5), 0.1), 2)
	o.number("temperature", temperature+0.1*jitter(t, a.key, 6), 1)
	o.number("relative_humidity", clamp(0.66-0.014*(temperature-19)+0.1*wander(t, 9*time.Hour, c.seed, 'u')+0.005*jitter(t, a.key, 7), 0.15, 1), 2)
	o.number("atmospheric_pressure", 1015+8*wander(t, 60*time.Hour, c.seed, 'p')+0.1*jitter(t, a.key, 8), 1)
	o.number("laeq", noise, 1)
	o.number("la_max", noise+8+5*unit(a.key, uint64(t.Unix()), 'm'), 1)
}
