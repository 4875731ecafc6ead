package rules

import "math"

// sunElevation is the sun's elevation above the horizon in degrees, refraction included, at ms (Unix)
// and a place in degrees. The formulas are those of NOAA's Global Monitoring Laboratory (solar
// calculation details, after Meeus, Astronomical Algorithms): good to some hundredths of a degree
// between 1900 and 2100.
func sunElevation(ms int64, lat, lon float64) float64 {
	const rad = math.Pi / 180
	days := float64(ms) / 86_400_000
	t := (days + 2440587.5 - 2451545) / 36525 // Julian centuries since 2000
	meanLon := math.Mod(280.46646+t*(36000.76983+t*0.0003032), 360)
	anomaly := (357.52911 + t*(35999.05029-0.0001537*t)) * rad
	eccentricity := 0.016708634 - t*(0.000042037+0.0000001267*t)
	centre := math.Sin(anomaly)*(1.914602-t*(0.004817+0.000014*t)) +
		math.Sin(2*anomaly)*(0.019993-0.000101*t) + math.Sin(3*anomaly)*0.000289
	node := (125.04 - 1934.136*t) * rad
	apparent := (meanLon + centre - 0.00569 - 0.00478*math.Sin(node)) * rad
	obliquity := (23 + (26+(21.448-t*(46.815+t*(0.00059-t*0.001813)))/60)/60 + 0.00256*math.Cos(node)) * rad
	declination := math.Asin(math.Sin(obliquity) * math.Sin(apparent))
	y := math.Tan(obliquity / 2)
	y *= y
	l := meanLon * rad
	equation := 4 / rad * (y*math.Sin(2*l) - 2*eccentricity*math.Sin(anomaly) +
		4*eccentricity*y*math.Sin(anomaly)*math.Cos(2*l) - y*y/2*math.Sin(4*l) -
		1.25*eccentricity*eccentricity*math.Sin(2*anomaly)) // of time, in minutes
	minutes := (days - math.Floor(days)) * 1440
	angle := (math.Mod(minutes+equation+4*lon+2880, 1440)/4 - 180) * rad // hour angle
	cosZenith := math.Sin(lat*rad)*math.Sin(declination) + math.Cos(lat*rad)*math.Cos(declination)*math.Cos(angle)
	e := 90 - math.Acos(min(max(cosZenith, -1), 1))/rad
	return e + refraction(e)
}

// refraction is how much the air lifts the sun, in degrees, at a true elevation in degrees.
func refraction(e float64) float64 {
	tan := math.Tan(e * math.Pi / 180)
	switch {
	case e > 85:
		return 0
	case e > 5:
		return (58.1/tan - 0.07/(tan*tan*tan) + 0.000086/(tan*tan*tan*tan*tan)) / 3600
	case e > -0.575:
		return (1735 + e*(-518.2+e*(103.4+e*(-12.79+e*0.711)))) / 3600
	}
	return -20.772 / tan / 3600
}

// sunCache remembers elevations by minute and hundredth of a degree (about a kilometre): devices
// near one another that report in the same minute share one. It belongs to one shard.
type sunCache [512]sunEntry

type sunEntry struct {
	minute   int64
	lat, lon int32 // hundredths of a degree
	ok       bool
	degrees  float64
}

func (c *sunCache) at(ms int64, lat, lon float64) float64 {
	minute, la, lo := ms/60_000, int32(math.Round(lat*100)), int32(math.Round(lon*100))
	h := (uint64(minute)*0x9e3779b97f4a7c15 ^ uint64(uint32(la))*0xc2b2ae3d27d4eb4f ^ uint64(uint32(lo))*0x165667b19e3779f9) >> 32
	e := &c[h%uint64(len(c))]
	if !e.ok || e.minute != minute || e.lat != la || e.lon != lo {
		*e = sunEntry{minute, la, lo, true, sunElevation(minute*60_000, float64(la)/100, float64(lo)/100)}
	}
	return e.degrees
}
