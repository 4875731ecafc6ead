package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/problem"
	"panormus/devices"
)

type deviceQuery struct {
	Domain  string `query:"domain"`
	Zone    string `query:"zone"`
	Profile string `query:"profile"`
	Q       string `query:"q" maxLength:"200" doc:"part of the id, the name or a tag's value, in any case"`
	Format  string `query:"format" enum:"json,csv,geojson" doc:"exports all that match, whatever the limit's default; an Accept header of text/csv or application/geo+json does too"`
	Limit   int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many at most; default 100"`
	Cursor  string `query:"cursor" maxLength:"1024" doc:"\"next\" of the page before"`
	Accept  string `header:"Accept"`
}

type devicesBody struct {
	Devices []devices.Device `json:"devices"`
	Next    string           `json:"next,omitempty"`
}

type rawBody struct {
	ContentType string `header:"Content-Type"`
	Generate    string `query:"generate" enum:"missing,all" doc:"make a secret for each of the devices, or for those that have none, here or in the registry"`
	RawBody     []byte
}

type idBody struct {
	ID      string `path:"id" maxLength:"128"`
	RawBody []byte
}

type idOnly struct {
	ID string `path:"id" maxLength:"128"`
}

type upserted struct {
	Body struct {
		Upserted int          `json:"upserted" doc:"devices entered or replaced"`
		Secrets  []madeSecret `json:"secrets,omitempty" doc:"with generate: those that were made, told now and never again"`
	}
}

// madeSecret is what a device logs in with.
type madeSecret struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

type one[T any] struct{ Body T }

const registryTag = "registry"

// bodyOf describes a request body that the handler reads itself, so that it can say where it is wrong.
func bodyOf[T any](a *api, description string, others ...string) *huma.RequestBody {
	content := map[string]*huma.MediaType{"application/json": {Schema: schemaOf[T](a)}}
	for _, media := range others {
		content[media] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return &huma.RequestBody{Description: description, Required: true, Content: content}
}

func (a *api) devices() {
	const path = "/api/v1/devices"
	tags := []string{registryTag}
	list := map[string]*huma.Response{"200": {Description: "A page, or an export", Content: map[string]*huma.MediaType{
		"application/json":     {Schema: schemaOf[devicesBody](a)},
		"text/csv":             {Schema: &huma.Schema{Type: huma.TypeString}},
		"application/geo+json": {Schema: &huma.Schema{Type: huma.TypeObject}},
	}}}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Devices of the registry, in order of id", Tags: tags, Errors: []int{422}, Responses: list}, a.listDevices)
	register(a, huma.Operation{Method: http.MethodPost, Path: path, Summary: "Enter or replace devices", Tags: tags, Errors: []int{400, 415, 422, 503},
		Description:  "All or none: where one device is at fault nothing is taken. Write-only fields left blank keep what was held.",
		MaxBodyBytes: maxImport, RequestBody: bodyOf[devicesBody](a, "Devices as JSON, CSV or GeoJSON", "text/csv", "application/geo+json")}, a.postDevices)
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One device", Tags: tags, Errors: []int{404}},
		func(c *call, in *idOnly) (*one[devices.Device], error) {
			d := c.asset(in.ID)
			if d == nil {
				return nil, noSuch("device", in.ID)
			}
			return &one[devices.Device]{d.Public()}, nil
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{id}", Summary: "Enter or replace one device", Tags: tags, Errors: []int{400, 422, 503}, RequestBody: bodyOf[devices.Device](a, "The device; its id may be left out")},
		func(c *call, in *idBody) (*one[devices.Device], error) {
			var d devices.Device
			if err := readOne(in, &d, &d.ID); err != nil {
				return nil, err
			}
			if err := d.Check(); err != nil {
				return nil, badBody(err)
			}
			if err := a.Registry.PutDevice(c.ctx, d); err != nil {
				return nil, c.away("the registry", err)
			}
			return &one[devices.Device]{a.Registry.Lookup(d.ID).Public()}, nil
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "Remove one device", Tags: tags, Errors: []int{404, 503}},
		func(c *call, in *idOnly) (*struct{}, error) {
			return c.remove("device", in.ID, a.Registry.DeleteDevice)
		})
}

func (a *api) listDevices(c *call, in *deviceQuery) (*huma.StreamResponse, error) {
	format, export := in.Format, in.Format != ""
	if format == "" {
		format = "json"
		switch first, _, _ := mime.ParseMediaType(strings.Split(in.Accept, ",")[0]); first {
		case "text/csv":
			format, export = "csv", true
		case "application/geo+json":
			format, export = "geojson", true
		}
	}
	p := Page{Limit: in.Limit, Cursor: in.Cursor}
	switch {
	case p.Limit == 0 && export:
		p.Limit = int(^uint(0) >> 1)
	case p.Limit == 0:
		p.Limit = 100
	}
	scope := c.scope()
	all, next, err := cut(p, a.Registry.All(), func(d *devices.Asset) string { return d.ID }, func(d *devices.Asset) bool { return sees(scope, d) && in.keeps(d) })
	if err != nil {
		return nil, err
	}
	out := devicesBody{Devices: make([]devices.Device, len(all)), Next: next}
	for i, d := range all {
		out.Devices[i] = d.Public()
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		w := ctx.BodyWriter()
		var err error
		switch format {
		case "csv":
			ctx.SetHeader("Content-Type", "text/csv; charset=utf-8")
			ctx.SetHeader("Content-Disposition", `attachment; filename="devices.csv"`)
			err = devices.WriteCSV(w, out.Devices)
		case "geojson":
			ctx.SetHeader("Content-Type", "application/geo+json")
			err = devices.WriteGeoJSON(w, out.Devices)
		default:
			ctx.SetHeader("Content-Type", "application/json")
			err = json.NewEncoder(w).Encode(out)
		}
		if err != nil {
			a.Log.Debug("a list of devices was not taken", "error", err)
		}
	}}, nil
}

func (q *deviceQuery) keeps(d *devices.Asset) bool {
	if q.Domain != "" && d.Domain != q.Domain || q.Zone != "" && d.Zone != q.Zone || q.Profile != "" && d.Profile != q.Profile {
		return false
	}
	if q.Q == "" {
		return true
	}
	text := strings.ToLower(q.Q)
	if strings.Contains(strings.ToLower(d.ID), text) || strings.Contains(strings.ToLower(d.Name), text) {
		return true
	}
	for _, v := range d.Tags {
		if strings.Contains(strings.ToLower(v), text) {
			return true
		}
	}
	return false
}

func (a *api) postDevices(c *call, in *rawBody) (*upserted, error) {
	media, _, err := mime.ParseMediaType(in.ContentType)
	if in.ContentType == "" {
		media, err = "application/json", nil
	}
	if err != nil {
		return nil, problem.New(http.StatusUnsupportedMediaType, "content type %.100q cannot be read", in.ContentType)
	}
	var ds []devices.Device
	switch media {
	case "application/json":
		ds, err = devices.ReadJSON(in.RawBody)
	case "text/csv":
		ds, err = devices.ReadCSV(bytes.NewReader(in.RawBody))
	case "application/geo+json":
		ds, err = devices.ReadGeoJSON(in.RawBody)
	default:
		return nil, problem.New(http.StatusUnsupportedMediaType, "content type %.100q, want application/json, text/csv or application/geo+json", media)
	}
	if err != nil {
		return nil, badBody(err)
	}
	out := &upserted{}
	for _, d := range ds {
		made := ""
		if held := a.Registry.Lookup(d.ID); in.Generate == "all" || in.Generate == "missing" && d.Secret == "" && (held == nil || !held.Locked()) {
			made = devices.NewSecret()
			d.Secret = made
		}
		if err := a.Registry.PutDevice(c.ctx, d); err != nil {
			return nil, c.away(fmt.Sprintf("the registry, after %d of %d devices", out.Body.Upserted, len(ds)), err)
		}
		out.Body.Upserted++
		if made != "" {
			out.Body.Secrets = append(out.Body.Secrets, madeSecret{d.ID, made})
		}
	}
	return out, nil
}

// readOne reads the JSON object of a PUT; its id is that of the path.
func readOne(in *idBody, v any, id *string) error {
	if err := devices.CheckID(in.ID); err != nil {
		return invalid("path.id", "%v", err)
	}
	if err := devices.StrictJSON(in.RawBody, v); err != nil {
		return badBody(err)
	}
	if *id == "" {
		*id = in.ID
	}
	if *id != in.ID {
		return invalid("body.id", "%q, want %q as in the path", *id, in.ID)
	}
	return nil
}

func noSuch(kind, id string) error {
	return problem.New(http.StatusNotFound, "no %s %.200q", kind, id)
}

func (c *call) remove(kind, id string, remove func(context.Context, string) error) (*struct{}, error) {
	err := remove(c.ctx, id)
	if errors.Is(err, devices.ErrNotFound) {
		return nil, noSuch(kind, id)
	}
	if err != nil {
		return nil, c.away("the registry", err)
	}
	return nil, nil
}

type profilesBody struct {
	Body struct {
		Profiles []devices.Profile `json:"profiles"`
		Next     string            `json:"next,omitempty"`
	}
}

func (a *api) profiles() {
	const path = "/api/v1/profiles"
	tags := []string{registryTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Profiles, in order of id", Tags: tags, Errors: []int{422}},
		func(c *call, in *Page) (*profilesBody, error) {
			all, next, err := cut(*in, a.Registry.Profiles(), func(p *devices.Profile) string { return p.ID }, nil)
			if err != nil {
				return nil, err
			}
			out := &profilesBody{}
			out.Body.Profiles, out.Body.Next = make([]devices.Profile, len(all)), next
			for i, p := range all {
				out.Body.Profiles[i] = *p
			}
			return out, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One profile", Tags: tags, Errors: []int{404}},
		func(c *call, in *idOnly) (*one[devices.Profile], error) {
			p := a.Registry.Profile(in.ID)
			if p == nil {
				return nil, noSuch("profile", in.ID)
			}
			return &one[devices.Profile]{*p}, nil
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{id}", Summary: "Enter or replace one profile", Tags: tags, Errors: []int{400, 422, 503}, RequestBody: bodyOf[devices.Profile](a, "The profile; its id may be left out")},
		func(c *call, in *idBody) (*one[devices.Profile], error) {
			var p devices.Profile
			if err := readOne(in, &p, &p.ID); err != nil {
				return nil, err
			}
			if err := a.Registry.CheckProfile(p); err != nil {
				return nil, badBody(err)
			}
			if err := a.Registry.PutProfile(c.ctx, p); err != nil {
				return nil, c.away("the registry", err)
			}
			return &one[devices.Profile]{p}, nil
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "Remove one profile", Tags: tags, Errors: []int{404, 503}},
		func(c *call, in *idOnly) (*struct{}, error) {
			return c.remove("profile", in.ID, a.Registry.DeleteProfile)
		})
}

// feature is a zone in the description: the document says GeoJSON, the code has devices.Zone.
type feature struct {
	Type       string         `json:"type" enum:"Feature"`
	Geometry   map[string]any `json:"geometry" doc:"Polygon or MultiPolygon"`
	Properties struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Kind string `json:"kind"`
	} `json:"properties"`
}

type zonesBody struct {
	Body struct {
		Zones []json.RawMessage `json:"zones" doc:"GeoJSON Features"`
		Next  string            `json:"next,omitempty"`
	}
}

func (a *api) zones() {
	const path = "/api/v1/zones"
	tags := []string{registryTag}
	features := func(schema *huma.Schema) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}}
	}
	list := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
		"zones": {Type: huma.TypeArray, Items: schemaOf[feature](a)}, "next": {Type: huma.TypeString},
	}, Required: []string{"zones"}}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Zones as GeoJSON Features, in order of id", Tags: tags, Errors: []int{422}, Responses: features(list)},
		func(c *call, in *Page) (*zonesBody, error) {
			all, next, err := cut(*in, a.Registry.Zones(), func(z *devices.Zone) string { return z.ID }, nil)
			if err != nil {
				return nil, err
			}
			out := &zonesBody{}
			out.Body.Zones, out.Body.Next = make([]json.RawMessage, len(all)), next
			for i, z := range all {
				if out.Body.Zones[i], err = json.Marshal(z); err != nil {
					return nil, err
				}
			}
			return out, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One zone as a GeoJSON Feature", Tags: tags, Errors: []int{404}, Responses: features(schemaOf[feature](a))},
		func(c *call, in *idOnly) (*one[json.RawMessage], error) {
			z := a.Registry.Zone(in.ID)
			if z == nil {
				return nil, noSuch("zone", in.ID)
			}
			b, err := json.Marshal(z)
			return &one[json.RawMessage]{b}, err
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{id}", Summary: "Enter or replace one zone", Tags: tags, Errors: []int{400, 422, 503}, RequestBody: bodyOf[feature](a, "A GeoJSON Feature; properties.id must be the path's", "application/geo+json"), Responses: features(schemaOf[feature](a))},
		func(c *call, in *idBody) (*one[json.RawMessage], error) {
			var any json.RawMessage
			if err := devices.StrictJSON(in.RawBody, &any); err != nil {
				return nil, badBody(err)
			}
			z, err := devices.ParseZone(in.RawBody)
			if err != nil {
				return nil, badBody(err)
			}
			if z.ID != in.ID {
				return nil, invalid("body.properties.id", "%q, want %q as in the path", z.ID, in.ID)
			}
			if err := a.Registry.PutZone(c.ctx, z); err != nil {
				return nil, c.away("the registry", err)
			}
			b, err := json.Marshal(z)
			return &one[json.RawMessage]{b}, err
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "Remove one zone", Tags: tags, Errors: []int{404, 503}},
		func(c *call, in *idOnly) (*struct{}, error) { return c.remove("zone", in.ID, a.Registry.DeleteZone) })
}

// schemaOf describes T among the document's components.
func schemaOf[T any](a *api) *huma.Schema {
	return a.huma.OpenAPI().Components.Schemas.Schema(typeOf[T](), true, "")
}
