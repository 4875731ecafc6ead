package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// system is a panormus under measurement.
type system struct {
	data string
	cmd  *exec.Cmd
	done chan struct{}
	info struct {
		PID                    int
		HTTP, MQTT, ClickHouse string
		LoRaWANUDP             string `json:"lorawan_udp"`
	}
}

// startSystem starts bin/panormus on free ports with the data folder and waits until it is ready.
// It returns how long that took.
func startSystem(ctx context.Context, data string, args ...string) (*system, time.Duration, error) {
	began := time.Now()
	s, err := launch(data, args...)
	if err != nil {
		return nil, 0, err
	}
	for time.Since(began) < time.Minute {
		select {
		case <-ctx.Done():
			s.stop()
			return nil, 0, ctx.Err()
		case <-s.done:
			return nil, 0, fmt.Errorf("panormus ended; see %s", filepath.Join(data, "panormus.log"))
		case <-time.After(5 * time.Millisecond):
		}
		b, err := os.ReadFile(filepath.Join(data, "run.json"))
		if err != nil || json.Unmarshal(b, &s.info) != nil {
			continue
		}
		if _, err := s.get("/status"); err == nil {
			return s, time.Since(began), nil
		}
	}
	s.stop()
	return nil, 0, errors.New("not ready after a minute")
}

// startFresh starts a system with a data folder of its own; stop ends it and removes the folder.
func startFresh(ctx context.Context, args ...string) (s *system, stop func(), err error) {
	data, err := os.MkdirTemp("", "panormus-bench-")
	if err != nil {
		return nil, nil, err
	}
	if s, _, err = startSystem(ctx, data, args...); err != nil {
		os.RemoveAll(data)
		return nil, nil, err
	}
	return s, func() { s.stop(); os.RemoveAll(data) }, nil
}

// launch starts bin/panormus and waits for nothing.
func launch(data string, args ...string) (*system, error) {
	s := &system{data: data, done: make(chan struct{})}
	os.Remove(filepath.Join(data, "run.json"))
	s.cmd = exec.Command("bin/panormus", append([]string{"run", "--data", data, "--http", "127.0.0.1:0",
		"--mqtt", "127.0.0.1:0", "--lorawan-udp", "127.0.0.1:0"}, args...)...)
	logs, err := os.OpenFile(filepath.Join(data, "panormus.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	s.cmd.Stdout, s.cmd.Stderr = logs, logs
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.cmd.Wait(); close(s.done) }()
	return s, nil
}

// stop ends it cleanly.
func (s *system) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.done
}

func (s *system) get(path string) ([]byte, error) { return fetch("http://" + s.info.HTTP + path) }

func fetch(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, b)
	}
	return b, err
}

// send asks the API to take v.
func (s *system) send(ctx context.Context, method, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.ask(ctx, method, path, body, nil)
}

// ask makes a request with a JSON body and reads the answer into out, which may be nil.
func (s *system) ask(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.info.HTTP+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(b, out)
}

func (s *system) sql(query string) (string, error) {
	b, err := fetch(s.info.ClickHouse + "/?query=" + url.QueryEscape(query))
	return strings.TrimSpace(string(b)), err
}

func (s *system) sqlFloat(query string) (float64, error) {
	v, err := s.sql(query)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(v, 64)
}

// stats is what /api/v1/stats counts.
type stats struct {
	Received, Decoded, Rejected, Logged, Stored, Events int64
	Lag                                                 struct{ Writer, Rules int64 }
}

func (s *system) stats() (stats, error) {
	var v stats
	b, err := s.get("/api/v1/stats")
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(b, &v)
}

// processes are the system's: panormus and the database engine it started.
func (s *system) processes() []int {
	pids := []int{s.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		for _, t := range tasks {
			b, _ := os.ReadFile(t)
			for _, f := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// usage is what the system's processes hold and have used.
type usage struct {
	rss int64 // bytes resident
	cpu time.Duration
}

func (s *system) usage() map[string]usage {
	out := map[string]usage{}
	for _, pid := range s.processes() {
		dir := fmt.Sprintf("/proc/%d/", pid)
		name, err := os.ReadFile(dir + "comm")
		if err != nil {
			continue
		}
		status, _ := os.ReadFile(dir + "status")
		stat, _ := os.ReadFile(dir + "stat")
		u := out[strings.TrimSpace(string(name))]
		for line := range strings.Lines(string(status)) {
			// Anonymous memory and shared memory; pages of files are the kernel's to take back.
			if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				u.rss += kb << 10
			}
		}
		if i := bytes.LastIndexByte(stat, ')'); i > 0 {
			f := strings.Fields(string(stat[i+1:]))
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			u.cpu += time.Duration(user+system) * 10 * time.Millisecond
		}
		out[strings.TrimSpace(string(name))] = u
	}
	return out
}

// most is the most memory in bytes that panormus itself has taken at once.
func (s *system) most() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.info.PID))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0, fmt.Errorf("the most memory of process %d: %w", s.info.PID, err)
	}
	return kb << 10, nil
}

// watch samples the memory every second until stop is called, which returns the samples in bytes.
func (s *system) watch() (stop func() []int64) {
	var samples []int64
	ended, wg := make(chan struct{}), sync.WaitGroup{}
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				total := int64(0)
				for _, u := range s.usage() {
					total += u.rss
				}
				samples = append(samples, total)
			}
		}
	})
	return func() []int64 { close(ended); wg.Wait(); return samples }
}
