package city

import (
	"math"
	"time"
)

// localTime is the legal time of Palermo. The European rule is written out (directive 2000/84/EC:
// summer time from the last Sunday of March to the last of October, at 01:00 UTC), so that a
// machine without a time zone database runs the same city.
func localTime(t time.Time) time.Time {
	t = t.UTC()
	lastSunday := func(m time.Month) time.Time {
		end := time.Date(t.Year(), m, 31, 1, 0, 0, 0, time.UTC)
		return end.AddDate(0, 0, -int(end.Weekday()))
	}
	if !t.Before(lastSunday(time.March)) && t.Before(lastSunday(time.October)) {
		return t.In(summerTime)
	}
	return t.In(winterTime)
}

var (
	winterTime = time.FixedZone("CET", 3600)
	summerTime = time.FixedZone("CEST", 7200)
)

// Hour is the legal hour of the day in Palermo, 0 to 24, and whether the day is one of work.
func Hour(t time.Time) (h float64, workday bool) {
	l := localTime(t)
	wd := l.Weekday()
	return float64(l.Hour()) + float64(l.Minute())/60 + float64(l.Second())/3600, wd != time.Saturday && wd != time.Sunday
}

// Sun returns the sun's elevation above the horizon, refraction included, and its azimuth clockwise
// from north, both in degrees, seen from lat and lon in degrees. The formulas are NOAA's (Global
// Monitoring Laboratory, solar calculation details, after Meeus, Astronomical Algorithms): good to
// some hundredths of a degree between 1900 and 2100.
func Sun(t time.Time, lat, lon float64) (elevation, azimuth float64) {
	const rad = math.Pi / 180
	days := float64(t.UnixMilli()) / 86_400_000
	c := (days + 2440587.5 - 2451545) / 36525 // Julian centuries since 2000
	meanLon := math.Mod(280.46646+c*(36000.76983+c*0.0003032), 360)
	anomaly := (357.52911 + c*(35999.05029-0.0001537*c)) * rad
	eccentricity := 0.016708634 - c*(0.000042037+0.0000001267*c)
	centre := math.Sin(anomaly)*(1.914602-c*(0.004817+0.000014*c)) +
		math.Sin(2*anomaly)*(0.019993-0.000101*c) + math.Sin(3*anomaly)*0.000289
	node := (125.04 - 1934.136*c) * rad
	apparent := (meanLon + centre - 0.00569 - 0.00478*math.Sin(node)) * rad
	obliquity := (23 + (26+(21.448-c*(46.815+c*(0.00059-c*0.001813)))/60)/60 + 0.00256*math.Cos(node)) * rad
	declination := math.Asin(math.Sin(obliquity) * math.Sin(apparent))
	y := math.Tan(obliquity/2) * math.Tan(obliquity/2)
	l := meanLon * rad
	equation := 4 / rad * (y*math.Sin(2*l) - 2*eccentricity*math.Sin(anomaly) +
		4*eccentricity*y*math.Sin(anomaly)*math.Cos(2*l) - y*y/2*math.Sin(4*l) -
		1.25*eccentricity*eccentricity*math.Sin(2*anomaly)) // minutes

	minutes := (days - math.Floor(days)) * 1440
	angle := (math.Mod(minutes+equation+4*lon+1440, 1440)/4 - 180) * rad // hour angle
	sinLat, cosLat := math.Sincos(lat * rad)
	sinDec, cosDec := math.Sincos(declination)
	zenith := math.Acos(clamp(sinLat*sinDec+cosLat*cosDec*math.Cos(angle), -1, 1))
	elevation = 90 - zenith/rad
	azimuth = math.Mod(math.Atan2(math.Sin(angle), math.Cos(angle)*sinLat-sinDec/cosDec*cosLat)/rad+540, 360)
	return elevation + refraction(elevation), azimuth
}

// refraction is how much the air lifts the sun, in degrees, at a true elevation in degrees.
func refraction(e float64) float64 {
	const rad = math.Pi / 180
	tan := math.Tan(e * rad)
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

// sunUp is the sun's elevation over Palermo.
func sunUp(t time.Time) float64 {
	e, _ := Sun(t, originLat, originLon)
	return e
}

// daylight is the illuminance of the open sky in lux at a sun's elevation, under clouds from 0
// (clear) to 1 (dark).
func daylight(elevation, clouds float64) float64 {
	var lux float64
	switch {
	case elevation > 0:
		lux = 400 + 120_000*math.Pow(math.Sin(elevation*math.Pi/180), 1.15)
	default: // twilight: a decade every 4.5 degrees
		lux = 400 * math.Pow(10, elevation/4.5)
	}
	return 0.1 + lux*(1-0.75*clouds)
}

// clouds over the city, 0 to 1.
func (c *City) clouds(t time.Time) float64 {
	return clamp(0.35+0.45*wander(t, 7*time.Hour, c.seed, 'c')+0.15*wander(t, time.Hour, c.seed, 'd'), 0, 1)
}

// airTemperature in the shade, in degrees Celsius: season, hour and weather.
func (c *City) airTemperature(t time.Time) float64 {
	h, _ := Hour(t)
	season := math.Cos(2 * math.Pi * (float64(t.UTC().YearDay()) - 215) / 365.25) // warmest early in August
	return 19.3 + 7.4*season + (3.6-1.5*c.clouds(t))*math.Cos(2*math.Pi*(h-14.5)/24) + 2.2*wander(t, 31*time.Hour, c.seed, 't')
}
