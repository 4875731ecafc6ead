package main

import (
	"context"
	"io"
)

func ingestCommand(ctx context.Context, args []string, out io.Writer) error { return nil }
func checkEngine() finding                                                  { return finding{what: "engine"} }
