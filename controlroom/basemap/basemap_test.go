package basemap

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"panormus/controlroom/basemap/maptest"
)

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func tiles() string {
	return string(maptest.PMTiles([]maptest.Layer{{Name: "water", East: 1, South: 1}}))
}

// changed is s with one byte another.
func changed(s string, at int, b byte) string { return s[:at] + string([]byte{b}) + s[at+1:] }

func TestOpen(t *testing.T) {
	const collection = `{"type":"FeatureCollection","features":[{"type":"Feature","geometry":null,"properties":{}}]}`
	for _, tc := range []struct{ name, file, content, wrong string }{
		{"tiles", "a.pmtiles", tiles(), ""},
		{"tiles in capitals", "a.PMTiles", tiles(), ""},
		{"geojson", "a.geojson", collection, ""},
		{"json", "a.json", collection, ""},
		{"another ending", "a.mbtiles", "", "want FILE.pmtiles or FILE.geojson"},
		{"short", "a.pmtiles", tiles()[:126], "126 bytes, want a header of 127"},
		{"other magic", "a.pmtiles", changed(tiles(), 0, 'X'), `it begins with "XMTiles"`},
		{"version 2", "a.pmtiles", changed(tiles(), 7, 2), "PMTiles version 2, want 3"},
		{"unknown tiles", "a.pmtiles", changed(tiles(), 99, 0), "tiles of type 0"},
		{"tiles to come", "a.pmtiles", changed(tiles(), 99, 6), "tiles of type 6"},
		{"zstd", "a.pmtiles", changed(tiles(), 98, 4), "compression 4 of its tiles, want none or gzip"},
		{"brotli inside", "a.pmtiles", changed(tiles(), 97, 3), "compression 3 of its directories"},
		{"no tiles", "a.pmtiles", changed(tiles(), 16, 0), "root directory is empty"},
		{"no json", "a.geojson", "<kml/>", "not GeoJSON"},
		{"a feature", "a.geojson", `{"type":"Feature"}`, `type "Feature" with 0 features, want a FeatureCollection`},
		{"a national grid", "a.geojson", `{"type":"FeatureCollection","features":[{"geometry":null},{"geometry":{"type":"Polygon","coordinates":[[ [355000.5, 4220000], [0,0]]]}}]}`,
			"feature 2: position 355000.5, 4.22e+06, want longitude and latitude in degrees"},
		{"degrees", "a.geojson", `{"type":"FeatureCollection","features":[{"geometry":{"type":"Point","coordinates":[-180,90]}}]}`, ""},
		{"latitude first", "a.geojson", `{"type":"FeatureCollection","features":[{"geometry":{"type":"Point","coordinates":[38.1,113.3]}}]}`, "position 38.1, 113.3"},
		{"none", "a.geojson", `{"type":"FeatureCollection","features":[]}`, "with 0 features"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Open(file(t, tc.file, tc.content))
			if tc.wrong == "" && err != nil || tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)) {
				t.Errorf("Open: %v, want %q", err, tc.wrong)
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "gone.pmtiles")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Open of no file: %v", err)
	}
}

func TestTilesInRanges(t *testing.T) {
	path := file(t, "a.pmtiles", tiles())
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	get := func(header ...string) *http.Response {
		r := httptest.NewRequest("GET", "/map/base.pmtiles", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		m.ServeTiles(w, r)
		return w.Result()
	}
	res := get("Range", "bytes=0-6")
	b := make([]byte, 20)
	n, _ := res.Body.Read(b)
	etag := res.Header.Get("ETag")
	if res.StatusCode != http.StatusPartialContent || string(b[:n]) != "PMTiles" || etag == "" || res.Header.Get("Content-Range") == "" {
		t.Errorf("a range: %d %q, headers %v", res.StatusCode, b[:n], res.Header)
	}
	if res := get("Range", "bytes=999999999-"); res.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range beyond: %d, want 416", res.StatusCode)
	}
	if res := get("If-None-Match", etag); res.StatusCode != http.StatusNotModified {
		t.Errorf("the same again: %d, want 304", res.StatusCode)
	}
	// A file that is replaced has another tag, so that nobody mixes the two.
	if err := os.WriteFile(path, []byte(tiles()+"more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := get("Range", "bytes=0-6").Header.Get("ETag"); got == etag {
		t.Errorf("ETag %s of two files", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if res := get(); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a file that is gone: %d, want 503", res.StatusCode)
	}
}

func TestInfo(t *testing.T) {
	for _, tc := range []struct {
		m    *Map
		want string
	}{
		{nil, `{"geojson":false,"tiles":false}`},
		{GeoJSON([]byte("{}")), `{"geojson":true,"tiles":false}`},
		{&Map{tiles: "a"}, `{"geojson":false,"tiles":true}`},
	} {
		w := httptest.NewRecorder()
		tc.m.ServeInfo(w, httptest.NewRequest("GET", "/map/base.json", nil))
		if got := strings.TrimSpace(w.Body.String()); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.m, got, tc.want)
		}
	}
	for name, serve := range map[string]http.HandlerFunc{"tiles": (*Map)(nil).ServeTiles, "geojson": (*Map)(nil).ServeGeoJSON} {
		w := httptest.NewRecorder()
		serve(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("no %s: %d, want 404", name, w.Code)
		}
	}
}
