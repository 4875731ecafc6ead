package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"panormus/simulators/load"
)

// What the page's part asks: a large city on one map, in a browser that draws without a graphics card.
const (
	pageAssets = 50_000
	pageRate   = 5_000 // changes a second
	pageBuses  = 1_000 // of the assets: they drive, and say every second where they are
	pageDir    = "controlroom/web"
)

// spread is of times in ms.
type spread struct{ P50, P95, Most float64 }

// pageFigures is what e2e/pagebench.mjs measured.
type pageFigures struct {
	First  struct{ Paint, Useful, WebGL spread }
	Frames struct {
		N         int
		PerS      float64 `json:"per_s"`
		Wall, CPU spread
		Busy      float64
	}
	PatchesPerS float64 `json:"patches_per_s"`
	HeapMB      float64 `json:"heap_mb"`
}

// page measures the page in headless Chromium: how soon it shows the city, and what its main thread
// does for a frame while the city changes. Server, generator, browser and its drawing share the cores.
func page(ctx context.Context, quick bool, w io.Writer) error {
	packed, err := packedBytes(filepath.Join(pageDir, "dist"))
	if err != nil {
		return err
	}
	s, stop, err := startFresh(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := s.spread(ctx); err != nil {
		return err
	}
	seconds, loads := 20, 5
	if quick {
		seconds, loads = 6, 2
	}
	lamps := load.Options{
		Broker: s.info.MQTT, Connections: 20, InFlight: 100, QoS: 1, Rate: pageRate - pageBuses,
		Devices: pageAssets - pageBuses, Metrics: 1, Seed: 1, Domain: "lighting", Prefix: "bench",
	}
	buses := load.Options{
		Broker: s.info.MQTT, Connections: 20, InFlight: 100, QoS: 1, Rate: pageBuses,
		Devices: pageBuses, Metrics: 3, Seed: 1, Domain: "mobility", Prefix: "bus", Moving: true,
	}
	lamps.Duration = pageAssets/pageRate*time.Second + time.Second
	buses.Duration = lamps.Duration
	if _, err := both(ctx, lamps, buses); err != nil { // each asset has a value
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	busy, quiet := context.WithCancel(ctx)
	lamps.Duration = 10 * time.Minute // until the browser has seen enough
	buses.Duration = lamps.Duration
	var rate float64
	var wg sync.WaitGroup
	wg.Go(func() { rate, _ = both(busy, lamps, buses) }) // its end by quiet is no error of ours
	f, err := browse(ctx, s.info.HTTP, seconds, loads)
	quiet()
	wg.Wait()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, `
## The page: %d assets, %d of them buses that drive, %.0f changes a second, headless software rendering
1280x720, %d loads with an empty cache, %d s of looking; server, generator, browser and its drawing share the cores.

| figure | reached | wanted |
|---|---|---|
| built assets, gzip | %d bytes | 600,000 |
| first paint, ms: median / most | %.0f / %.0f | |
| first useful view (all assets counted and drawn), ms: median / most | %.0f / %.0f | 2,000 |
| drawn by WebGL from, ms: median / most | %.0f / %.0f | |
| main thread's work for a frame, ms on the processor: p50 / p95 / most | %.1f / %.1f / %.1f | p95 16 |
| the same on the clock, with what others took | %.1f / %.1f / %.1f | |
| frames a second / times a second that what moved is shown | %.1f / %.1f | |
| main thread busy | %.0f %% | |
| memory of the page's main thread | %.0f MB | |
`, pageAssets, pageBuses, rate, loads, seconds, packed, f.First.Paint.P50, f.First.Paint.Most, f.First.Useful.P50, f.First.Useful.Most, f.First.WebGL.P50, f.First.WebGL.Most,
		f.Frames.CPU.P50, f.Frames.CPU.P95, f.Frames.CPU.Most, f.Frames.Wall.P50, f.Frames.Wall.P95, f.Frames.Wall.Most,
		f.Frames.PerS, f.PatchesPerS, f.Frames.Busy, f.HeapMB)
	return nil
}

// both sends two loads at once and returns how many messages a second they were together.
func both(ctx context.Context, a, b load.Options) (float64, error) {
	var wg sync.WaitGroup
	var second load.Report
	var failed error
	wg.Go(func() { second, failed = load.Run(ctx, b) })
	first, err := load.Run(ctx, a)
	wg.Wait()
	return first.SentRate + second.SentRate, errors.Join(err, failed)
}

// spread registers the devices of the load all over Palermo; where the buses are is what they say.
func (s *system) spread(ctx context.Context) error {
	type device struct {
		ID     string  `json:"id"`
		Domain string  `json:"domain"`
		Lat    float64 `json:"lat"`
		Lon    float64 `json:"lon"`
	}
	const columns = 250
	for first := 0; first < pageAssets; first += 1_000 {
		var list struct {
			Devices []device `json:"devices"`
		}
		for n := first; n < first+1_000; n++ {
			x, y := float64(n%columns)/columns, float64(n/columns)/(pageAssets/columns)
			d := device{fmt.Sprintf("bench-%07d", n), "lighting", 38.05 + 0.15*y, 13.28 + 0.15*x}
			if n >= pageAssets-pageBuses {
				d.ID, d.Domain = fmt.Sprintf("bus-%07d", n-(pageAssets-pageBuses)), "mobility"
			}
			list.Devices = append(list.Devices, d)
		}
		if err := s.send(ctx, http.MethodPost, "/api/v1/devices", list); err != nil {
			return err
		}
	}
	return nil
}

// browse looks at the page in a browser.
func browse(ctx context.Context, http string, seconds, loads int) (f pageFigures, err error) {
	cmd := exec.CommandContext(ctx, "node", "e2e/pagebench.mjs")
	cmd.Dir = pageDir
	cmd.Env = append(os.Environ(), "PANORMUS_URL=http://"+http, "PANORMUS_ASSETS="+strconv.Itoa(pageAssets),
		"PANORMUS_SECONDS="+strconv.Itoa(seconds), "PANORMUS_LOADS="+strconv.Itoa(loads))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("node %s: %w: %s", strings.Join(cmd.Args[1:], " "), err, out)
	}
	last := bytes.TrimSpace(out)
	if i := bytes.LastIndexByte(last, '\n'); i >= 0 {
		return f, fmt.Errorf("the page is not as wanted: %s", last[:i])
	}
	return f, json.Unmarshal(last, &f)
}

// packedBytes is what the built page takes on the wire: each file's gzip form, or itself where it has none.
func packedBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".br") {
			return err
		}
		info, err := os.Stat(name + ".gz")
		if os.IsNotExist(err) {
			info, err = d.Info()
		}
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
