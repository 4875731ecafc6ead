package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"panormus/devices"
	"panormus/ingest/codec"
)

// errExamples ends a test of codecs in which examples failed.
var errExamples = errors.New("examples failed")

// codecCommand tests published payload codecs, or imports them as profiles.
func codecCommand(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) > 1 && args[0] == "test":
		return testCodecs(args[1:], out)
	case len(args) > 0 && args[0] == "import":
		return importCodecs(ctx, args[1:], out)
	}
	return fmt.Errorf("want codec test FILE… or codec import DIR or FILE: %w", errUsage)
}

// testCodecs runs the examples of …-codec.yaml files and of layouts. Its last line counts those of all files.
func testCodecs(files []string, out io.Writer) error {
	passed, failed := 0, 0
	for _, file := range files {
		if len(files) > 1 {
			fmt.Fprintf(out, "%s\n", file)
		}
		p, f, err := codec.Test(out, file)
		if err != nil {
			return err
		}
		passed, failed = passed+p, failed+f
	}
	if len(files) > 1 {
		fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed)
	}
	if failed > 0 {
		return errExamples
	}
	return nil
}

// importCodecs enters a profile for every device of a folder in the layout of the public device
// repository, or for a file with a layout, through the API of the running process. A profile that is
// there keeps all but its codec.
func importCodecs(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("panormus codec import", flag.ContinueOnError)
	fs.SetOutput(out)
	at := runningAPI(fs)
	domain := fs.String("domain", "", "domain of profiles that have none")
	dry := fs.Bool("dry-run", false, "read and compile, and enter nothing")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return fmt.Errorf("import what? name a folder or a layout's file, after the flags: %w", errUsage)
	}
	profiles, problems, err := readCodecs(fs.Arg(0))
	if err != nil {
		return err
	}
	for _, p := range problems {
		fmt.Fprintf(out, "!!  %s\n", p)
	}
	if !*dry {
		c, err := at.client()
		if err != nil {
			return err
		}
		for i := range profiles {
			if profiles[i].Domain == "" {
				profiles[i].Domain = *domain
			}
			if err := putCodec(ctx, c, profiles[i]); err != nil {
				return fmt.Errorf("profile %s, after %d others: %w", profiles[i].ID, i, err)
			}
		}
	}
	_, err = fmt.Fprintf(out, "%d profiles imported, %d problems\n", len(profiles), len(problems))
	return err
}

// readCodecs reads a folder of the device repository, or a file with a layout.
func readCodecs(name string) ([]devices.Profile, []codec.Problem, error) {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		p, err := codec.ImportLayout(name)
		return []devices.Profile{p}, nil, err
	}
	return codec.Import(name)
}

// putCodec enters a profile, or changes the codec of the one there is.
func putCodec(ctx context.Context, c apiClient, p devices.Profile) error {
	path := "/api/v1/profiles/" + url.PathEscape(p.ID)
	if b, err := c.do(ctx, http.MethodGet, path, "", nil); err == nil {
		var old devices.Profile
		if err := json.Unmarshal(b, &old); err != nil {
			return err
		}
		if old.Domain == "" {
			old.Domain = p.Domain
		}
		old.Codec = p.Codec
		p = old
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPut, path, "application/json", bytes.NewReader(b))
	return err
}
