package city

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"panormus/devices"
)

// Profiles returns what the city's devices measure: names after the Smart Data Models in snake case,
// units in UCUM.
func (c *City) Profiles() []devices.Profile {
	return []devices.Profile{
		profileOf(&lamps, map[string]devices.Metric{
			"power_w":         metric("W", 0, 400, "Power", "Potenza"),
			"dimming":         metric("1", 0, 1, "Light level", "Livello di luce"),
			"on":              metric("1", 0, 1, "On", "Accesa"),
			"status":          text("Status", "Stato"),
			"illuminance_lux": metric("lx", 0, 150_000, "Illuminance", "Illuminamento"),
			"energy_kwh":      metric("kW.h", 0, 1e6, "Energy", "Energia"),
			"voltage_v":       metric("V", 180, 270, "Voltage", "Tensione"),
		}),
		profileOf(&loops, map[string]devices.Metric{
			"intensity":            metric("/h", 0, 10_000, "Vehicles an hour", "Veicoli all'ora"),
			"occupancy":            metric("1", 0, 1, "Occupancy", "Occupazione"),
			"speed_kmh":            metric("km/h", 0, 200, "Average speed", "Velocità media"),
			"average_headway_time": metric("s", 0, 600, "Time between vehicles", "Tempo tra i veicoli"),
			"congested":            metric("1", 0, 1, "Congested", "Congestione"),
		}),
		profileOf(&buses, map[string]devices.Metric{
			"position_lat": metric("deg", 37.9, 38.4, "Latitude", "Latitudine"),
			"position_lon": metric("deg", 13.0, 13.7, "Longitude", "Longitudine"),
			"speed_mps":    metric("m/s", 0, 40, "Speed", "Velocità"),
			"heading":      metric("deg", 0, 360, "Heading", "Direzione"),
			"passengers":   metric("{passenger}", 0, 250, "Passengers", "Passeggeri"),
			"delay_s":      metric("s", -1800, 14_400, "Delay", "Ritardo"),
		}),
		profileOf(&stations, map[string]devices.Metric{
			"pm10":                 metric("ug/m3", 0, 2000, "PM10", "PM10"),
			"pm2_5":                metric("ug/m3", 0, 1500, "PM2.5", "PM2,5"),
			"no2":                  metric("ug/m3", 0, 1500, "Nitrogen dioxide", "Biossido di azoto"),
			"o3":                   metric("ug/m3", 0, 800, "Ozone", "Ozono"),
			"co":                   metric("mg/m3", 0, 100, "Carbon monoxide", "Monossido di carbonio"),
			"temperature":          metric("Cel", -15, 55, "Temperature", "Temperatura"),
			"relative_humidity":    metric("1", 0, 1, "Relative humidity", "Umidità relativa"),
			"atmospheric_pressure": metric("hPa", 900, 1080, "Atmospheric pressure", "Pressione atmosferica"),
			"laeq":                 metric("dB[A]", 20, 130, "Noise, equivalent level", "Rumore, livello equivalente"),
			"la_max":               metric("dB[A]", 20, 140, "Noise, maximum", "Rumore, massimo"),
		}),
		profileOf(&bins, map[string]devices.Metric{
			"filling_level": metric("1", 0, 1, "Filling level", "Riempimento"),
			"temperature":   metric("Cel", -15, 200, "Temperature", "Temperatura"),
			"battery_level": metric("1", 0, 1, "Battery", "Batteria"),
			"status":        text("Status", "Stato"),
		}),
		profileOf(&parkings, map[string]devices.Metric{
			"available_spot_number": metric("{spot}", 0, 5000, "Free places", "Posti liberi"),
			"total_spot_number":     metric("{spot}", 0, 5000, "Places", "Posti"),
			"occupancy":             metric("1", 0, 1, "Occupancy", "Occupazione"),
		}),
	}
}

func profileOf(k *class, metrics map[string]devices.Metric) devices.Profile {
	return devices.Profile{ID: k.profile, Domain: k.domain, ExpectedPeriod: devices.Duration(k.period[1].Round(time.Second)), Metrics: metrics}
}

func metric(unit string, least, greatest float64, en, it string) devices.Metric {
	return devices.Metric{Unit: unit, Min: &least, Max: &greatest, Label: map[string]string{"en": en, "it": it}}
}

// text is a metric without unit or range.
func text(en, it string) devices.Metric {
	return devices.Metric{Label: map[string]string{"en": en, "it": it}}
}

// Zones returns the districts.
func (c *City) Zones() []devices.Zone {
	zones := make([]devices.Zone, len(drawnDistricts))
	for i, d := range drawnDistricts {
		b, err := json.Marshal(feature{"Feature", map[string]any{"id": d.id, "name": d.name, "kind": "district"}, polygon(c.drawing.districts[i])})
		if err == nil {
			zones[i], err = devices.ParseZone(b)
		}
		if err != nil {
			panic(fmt.Sprintf("BUG: district %s is no zone: %v", d.id, err))
		}
	}
	return zones
}

// Basemap returns a plain background as a GeoJSON FeatureCollection (RFC 7946): features whose
// property kind is land or mountain (polygons, with a name) and street (lines, with name and class:
// ring, avenue or residential).
func (c *City) Basemap() []byte {
	features := []feature{{"Feature", map[string]any{"kind": "land", "name": "Palermo"}, polygon(c.drawing.land)}}
	for i, m := range c.drawing.mountains {
		features = append(features, feature{"Feature", map[string]any{"kind": "mountain", "name": drawnMountains[i].name}, polygon(m)})
	}
	for _, s := range c.drawing.streets {
		features = append(features, feature{"Feature", map[string]any{"kind": "street", "name": s.name, "class": s.class},
			geometry{"LineString", coordinates(s.line)}})
	}
	b, err := json.Marshal(map[string]any{"type": "FeatureCollection", "features": features})
	if err != nil {
		panic(fmt.Sprintf("BUG: the base map is no JSON: %v", err))
	}
	return b
}

type feature struct {
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties"`
	Geometry   geometry       `json:"geometry"`
}

type geometry struct {
	Type        string `json:"type"`
	Coordinates any    `json:"coordinates"`
}

func polygon(o outline) geometry {
	o = o.anticlockwise()
	return geometry{"Polygon", [][]lonLat{coordinates(append(o[:len(o):len(o)], o[0]))}}
}

// coordinates are rounded to 5 decimals, a metre.
func coordinates(ps []point) []lonLat {
	out := make([]lonLat, len(ps))
	for i, p := range ps {
		lon, lat := p.degrees()
		out[i] = lonLat{math.Round(lon*1e5) / 1e5, math.Round(lat*1e5) / 1e5}
	}
	return out
}
