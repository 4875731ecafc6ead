package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dataDir is the folder of everything that is kept, held by one process at a time.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir makes the folder if it is missing and takes its lock. The lock goes with the
// process, however that ends.
func openDataDir(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data folder %s is in use by another panormus: stop it, or choose another folder with --data", path)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return &dataDir{path: path, lock: f}, nil
}

func (d *dataDir) join(name string) string { return filepath.Join(d.path, name) }

func (d *dataDir) close() { d.lock.Close() }

// runInfo is what run.json says of a running process: what was really bound.
type runInfo struct {
	PID        int    `json:"pid"`
	HTTP       string `json:"http,omitempty"`
	HTTPTLS    bool   `json:"http_tls,omitempty"`
	MQTT       string `json:"mqtt,omitempty"`
	LoRaWANUDP string `json:"lorawan_udp,omitempty"`
	// LoRaWANStation is where LoRa Basics Stations connect.
	LoRaWANStation string `json:"lorawan_station,omitempty"`
	// VDS is where cameras post, beside HTTP.
	VDS        string `json:"vds,omitempty"`
	ClickHouse string `json:"clickhouse,omitempty"`
	Version    string `json:"version"`
}

const runFile = "run.json"

// announce writes run.json, whole or not at all.
func (d *dataDir) announce(info runInfo) error {
	b, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", runFile, err)
	}
	next := d.join(runFile + ".next")
	if err := os.WriteFile(next, append(b, '\n'), 0o640); err != nil {
		return fmt.Errorf("write %s: %w", runFile, err)
	}
	return os.Rename(next, d.join(runFile))
}

func (d *dataDir) withdraw() { os.Remove(d.join(runFile)) }

// readRunInfo says where the process that uses the folder listens.
func readRunInfo(dir string) (runInfo, error) {
	var info runInfo
	b, err := os.ReadFile(filepath.Join(dir, runFile))
	if errors.Is(err, os.ErrNotExist) {
		return info, fmt.Errorf("nothing runs with the data folder %s (no %s there): start it with panormus run, or name its folder with --data", dir, runFile)
	}
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(b, &info); err != nil {
		return info, fmt.Errorf("read %s: %w", runFile, err)
	}
	return info, nil
}
