package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// micro runs the hot path's own benchmarks, each of which checks its answers.
func micro(ctx context.Context, quick bool, w io.Writer) error {
	benchtime := "200ms"
	if quick {
		benchtime = "50ms"
	}
	fmt.Fprintf(w, "\n## The parts of the hot path\n`go test -run - -bench . -cpu 1 -benchtime %s`, one package at a time: what one core does.\n\n```\n", benchtime)
	for _, pkg := range []string{
		"./ingest/telemetry", "./stream/batch", "./stream/rules", "./controlroom/live", "./storage",
		"./ingest/lorawan/frame", "./ingest/lorawan/envelope", "./ingest/codec", "./ingest/vds",
	} {
		out, err := exec.CommandContext(ctx, "go", "test", "-run", "-", "-bench", ".", "-cpu", "1", "-benchtime", benchtime, pkg).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", pkg, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "Benchmark") || strings.HasPrefix(line, "pkg:") {
				fmt.Fprint(w, line)
			}
		}
	}
	fmt.Fprint(w, "```\n")
	return nil
}
