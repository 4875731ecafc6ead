package basemap

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"panormus/controlroom/problem"
)

// maxGeoJSON bounds a GeoJSON file: a browser has to read all of it before it draws any, and stands still as it does.
const maxGeoJSON = 16 << 20

// A Map is a base map. Nil is none.
type Map struct {
	geojson []byte
	tiles   string // path of a PMTiles file
}

// GeoJSON is a base map of a FeatureCollection (RFC 7946), which is not looked at.
func GeoJSON(b []byte) *Map { return &Map{geojson: b} }

// Open reads a base map from FILE.pmtiles, FILE.geojson or FILE.json.
func Open(file string) (*Map, error) {
	switch ext := strings.ToLower(filepath.Ext(file)); ext {
	case ".pmtiles":
		if err := checkTiles(file); err != nil {
			return nil, fmt.Errorf("base map %s: %w", file, err)
		}
		return &Map{tiles: file}, nil
	case ".geojson", ".json":
		b, err := readGeoJSON(file)
		if err != nil {
			return nil, fmt.Errorf("base map %s: %w", file, err)
		}
		return &Map{geojson: b}, nil
	}
	return nil, fmt.Errorf("base map %s: want FILE.pmtiles or FILE.geojson", file)
}

func readGeoJSON(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxGeoJSON+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxGeoJSON {
		return nil, fmt.Errorf("more than %d MiB of GeoJSON; make tiles of it (tippecanoe writes PMTiles)", maxGeoJSON>>20)
	}
	var head struct {
		Type     string            `json:"type"`
		Features []json.RawMessage `json:"features"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("not GeoJSON: %w", err)
	}
	if head.Type != "FeatureCollection" || len(head.Features) == 0 {
		return nil, fmt.Errorf("type %.40q with %d features, want a FeatureCollection with some", head.Type, len(head.Features))
	}
	for i, f := range head.Features {
		if err := checkPlace(f); err != nil {
			return nil, fmt.Errorf("feature %d: %w", i+1, err)
		}
	}
	return b, nil
}

// checkPlace reports a feature whose first position is no longitude and latitude, as in files of a national
// grid: it would be drawn nowhere.
func checkPlace(feature []byte) error {
	var f struct {
		Geometry struct {
			Coordinates json.RawMessage `json:"coordinates"`
		} `json:"geometry"`
	}
	if err := json.Unmarshal(feature, &f); err != nil {
		return fmt.Errorf("not GeoJSON: %w", err)
	}
	first := strings.TrimLeft(string(f.Geometry.Coordinates[:min(200, len(f.Geometry.Coordinates))]), "[ \t\r\n")
	var at [2]float64
	for i := range at {
		end := strings.IndexAny(first, ",]")
		if end < 0 {
			return nil // no place at all, which GeoJSON allows
		}
		var err error
		if at[i], err = strconv.ParseFloat(strings.TrimSpace(first[:end]), 64); err != nil {
			return nil // the page leaves out what it cannot read
		}
		first = first[end+1:]
	}
	if math.Abs(at[0]) > 180 || math.Abs(at[1]) > 90 {
		return fmt.Errorf("position %v, %v, want longitude and latitude in degrees (WGS 84; ogr2ogr -t_srs EPSG:4326 makes them)", at[0], at[1])
	}
	return nil
}

// What of PMTiles' header is looked at (specification, version 3).
const (
	headerLen       = 127
	magic           = "PMTiles"
	atVersion       = 7
	atInternal      = 97 // compression of directories and metadata
	atTileCompress  = 98
	atTileType      = 99
	atRootLength    = 16
	lastTileType    = 5 // unknown, mvt, png, jpeg, webp, avif
	compressionNone = 1
	compressionGzip = 2
)

// checkTiles reports what of a file the page could not draw.
func checkTiles(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := make([]byte, headerLen)
	if n, err := io.ReadFull(f, h); err != nil {
		return fmt.Errorf("not PMTiles: %d bytes, want a header of %d", n, headerLen)
	}
	switch {
	case string(h[:len(magic)]) != magic:
		return fmt.Errorf("not PMTiles: it begins with %q, want %q", h[:len(magic)], magic)
	case h[atVersion] != 3:
		return fmt.Errorf("PMTiles version %d, want 3 (pmtiles convert makes one)", h[atVersion])
	case h[atTileType] == 0 || h[atTileType] > lastTileType:
		return fmt.Errorf("tiles of type %d, want vector tiles or images (1 to %d)", h[atTileType], lastTileType)
	case binary.LittleEndian.Uint64(h[atRootLength:]) == 0:
		return fmt.Errorf("no tiles: its root directory is empty")
	}
	for what, c := range map[string]byte{"directories": h[atInternal], "tiles": h[atTileCompress]} {
		if c != compressionNone && c != compressionGzip {
			return fmt.Errorf("compression %d of its %s, want none or gzip (%d, %d), which browsers read", c, what, compressionNone, compressionGzip)
		}
	}
	return nil
}

// ServeInfo tells the page what there is, so that it need not try.
func (m *Map) ServeInfo(w http.ResponseWriter, _ *http.Request) {
	var out struct {
		GeoJSON bool `json:"geojson"`
		Tiles   bool `json:"tiles"`
	}
	if m != nil {
		out.GeoJSON, out.Tiles = len(m.geojson) > 0, m.tiles != ""
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // whoever asked is gone
}

// ServeGeoJSON serves the FeatureCollection, 404 where there is none.
func (m *Map) ServeGeoJSON(w http.ResponseWriter, r *http.Request) {
	if m == nil || len(m.geojson) == 0 {
		problem.New(http.StatusNotFound, "no base map of GeoJSON is configured; the page does without").Write(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/geo+json")
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.geojson))
}

// ServeTiles serves the PMTiles file in ranges, 404 where there is none. Who asks for all of it gets all of
// it, as of any file.
func (m *Map) ServeTiles(w http.ResponseWriter, r *http.Request) {
	if m == nil || m.tiles == "" {
		problem.New(http.StatusNotFound, "no base map of tiles is configured; the page does without").Write(w, r)
		return
	}
	f, err := os.Open(m.tiles)
	if err == nil {
		defer f.Close()
	}
	var info os.FileInfo
	if err == nil {
		info, err = f.Stat()
	}
	if err != nil {
		problem.New(http.StatusServiceUnavailable, "the base map's file cannot be read now").Write(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/vnd.pmtiles")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", strconv.Quote(strconv.FormatInt(info.Size(), 36)+"-"+strconv.FormatInt(info.ModTime().UnixNano(), 36)))
	http.ServeContent(w, r, "", info.ModTime(), f)
}
