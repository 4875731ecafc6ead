// Command bench measures a running Panormus from outside, as its users have it: built binaries,
// real sockets, the load generator on the same machine. It prints a report in Markdown and writes
// it to bench/report.md. Run it through `make bench`; --quick is for trying the benchmark itself.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	quick := flag.Bool("quick", false, "short runs, for trying the benchmark itself")
	only := flag.String("only", "", "throughput, latency, watchers, page, storage, api, lorawan, video, alarms, rules or micro; all when empty")
	file := flag.String("o", "bench/report.md", "file to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *quick, *only, *file); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A part of the benchmark writes its section of the report.
type part struct {
	name    string
	measure func(ctx context.Context, quick bool, w io.Writer) error
}

func run(ctx context.Context, quick bool, only, file string) error {
	var report strings.Builder
	w := io.MultiWriter(&report, os.Stdout)
	fmt.Fprintf(w, "# What Panormus does on this machine\n%s, %d cores (%s), %s; generator and system on the same machine.\nEvery figure is of one run of `make bench`.\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), cpuModel(), runtime.Version())
	for _, p := range []part{
		{"throughput", throughput}, {"latency", latency}, {"watchers", watchers}, {"page", page}, {"storage", storage}, {"api", askAPI}, {"lorawan", radio}, {"video", video}, {"alarms", manyAlarms}, {"rules", ruleBench}, {"micro", micro},
	} {
		if only != "" && only != p.name {
			continue
		}
		if err := p.measure(ctx, quick, w); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return os.WriteFile(file, []byte(report.String()), 0o644)
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown"
}
