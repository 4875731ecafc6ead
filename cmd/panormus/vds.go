package main

import (
	"fmt"

	"panormus/ingest"
	"panormus/ingest/vds"
)

type vdsConfig struct {
	Frames       map[string]string `yaml:"frames"`        // size of pictures by camera, * for all others
	FrigateSpeed string            `yaml:"frigate_speed"` // km/h or mph
	Mappings     []vds.Mapping     `yaml:"mappings"`
	vdsPush      `yaml:",inline"`
}

// decoders are those of video metadata, and the routes of mappings.
func (c *vdsConfig) decoders() (map[string]ingest.Decoder, []ingest.Route, error) {
	o := vds.Options{Frames: map[string]vds.Size{}}
	for camera, size := range c.Frames {
		z, err := vds.ParseSize(size)
		if err != nil {
			return nil, nil, fmt.Errorf("vds.frames: %s: %w", camera, err)
		}
		o.Frames[camera] = z
	}
	switch c.FrigateSpeed {
	case "", "km/h":
	case "mph":
		o.FrigateMPH = true
	default:
		return nil, nil, fmt.Errorf("vds.frigate_speed: %q, want km/h or mph", c.FrigateSpeed)
	}
	decoders := vds.Decoders(o)
	routes := make([]ingest.Route, 0, len(c.Mappings))
	for i, m := range c.Mappings {
		where := fmt.Sprintf("vds.mappings: %d, %q", i+1, m.Name)
		decoder, route, err := m.Compile(o)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", where, err)
		}
		if decoders[m.Name] != nil {
			return nil, nil, fmt.Errorf("%s: name: another mapping has it", where)
		}
		decoders[m.Name] = decoder
		routes = append(routes, route)
		if err := ingest.CheckRoutes(routes[i:], nil, decoders); err != nil {
			return nil, nil, fmt.Errorf("%s: topic: %w", where, err)
		}
	}
	return decoders, routes, nil
}
