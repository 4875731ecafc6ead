package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// mediaTypes are the formats of the registry, by what a file's name ends in.
var mediaTypes = map[string]string{
	"csv": "text/csv", "json": "application/json", "geojson": "application/geo+json",
}

// devicesCommand moves the registry in and out through the API of the running process, so that the
// same checks hold and every worker learns of the change.
func devicesCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == "claims" {
		return claimsCommand(ctx, args[1:], out)
	}
	if len(args) == 0 || args[0] != "import" && args[0] != "export" {
		return fmt.Errorf("want devices import FILE…, devices export or devices claims: %w", errUsage)
	}
	fs := flag.NewFlagSet("panormus devices "+args[0], flag.ContinueOnError)
	fs.SetOutput(out)
	at := runningAPI(fs)
	format := fs.String("format", "", "csv, json or geojson (import: by the file's name; export: csv)")
	file := fs.String("o", "-", "file to write, - for standard output; import: what is made of secrets")
	generate := fs.String("generate-secrets", "", "import: make secrets for devices that have none (missing), or for all, and write them as CSV")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if *format != "" && mediaTypes[*format] == "" {
		return fmt.Errorf("format %q, want csv, json or geojson: %w", *format, errUsage)
	}
	c, err := at.client()
	if err != nil {
		return err
	}
	if args[0] == "export" {
		if *format == "" {
			*format = "csv"
		}
		return exportDevices(ctx, c, *format, *file, out)
	}
	if fs.NArg() == 0 {
		return fmt.Errorf("import what? name a file: %w", errUsage)
	}
	var secrets io.Writer // nil: none are made
	switch {
	case *generate == "":
	case *generate != "missing" && *generate != "all":
		return fmt.Errorf("generate-secrets %q, want missing or all: %w", *generate, errUsage)
	case *file == "-":
		secrets = out
	default:
		f, err := os.OpenFile(*file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		secrets = f
	}
	for _, name := range fs.Args() {
		if err := importDevices(ctx, c, *format, *generate, name, secrets, out); err != nil {
			return fmt.Errorf("import %s: %w", name, err)
		}
	}
	return nil
}

func importDevices(ctx context.Context, c apiClient, format, generate, name string, secrets, out io.Writer) error {
	if format == "" {
		format = strings.TrimPrefix(strings.ToLower(filepath.Ext(name)), ".")
	}
	media, ok := mediaTypes[format]
	if !ok {
		return fmt.Errorf("cannot tell its format: name one with --format csv, json or geojson")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	path := "/api/v1/devices"
	if secrets != nil {
		path += "?generate=" + generate
	}
	answer, err := c.do(ctx, http.MethodPost, path, media, bytes.NewReader(b))
	if err != nil {
		return err
	}
	if secrets != nil {
		return writeSecrets(answer, name, secrets, out)
	}
	_, err = fmt.Fprintf(out, "%s: %s\n", name, bytes.TrimSpace(answer))
	return err
}

// writeSecrets writes what was made of secrets, for whoever puts them into the devices: the answer is the only
// place where they are.
func writeSecrets(answer []byte, name string, secrets, out io.Writer) error {
	var made struct {
		Upserted int
		Secrets  []struct{ ID, Secret string }
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return fmt.Errorf("read the secrets: %w", err)
	}
	w := csv.NewWriter(secrets)
	_ = w.Write([]string{"id", "secret"}) // Flush tells of errors
	for _, s := range made.Secrets {
		_ = w.Write([]string{s.ID, s.Secret})
	}
	if w.Flush(); w.Error() != nil {
		return fmt.Errorf("write the secrets: %w", w.Error())
	}
	_, err := fmt.Fprintf(out, "%s: %d devices, %d new secrets\n", name, made.Upserted, len(made.Secrets))
	return err
}

func exportDevices(ctx context.Context, c apiClient, format, name string, out io.Writer) error {
	answer, err := c.do(ctx, http.MethodGet, "/api/v1/devices?format="+format, "", nil)
	if err != nil {
		return err
	}
	if name == "-" {
		_, err = out.Write(answer)
		return err
	}
	return os.WriteFile(name, answer, 0o640)
}

// apiClient speaks to the HTTP API of a running process.
type apiClient struct {
	base, token string
	http        *http.Client
}

// apiFlags are the flags that say where the API is, and who asks.
type apiFlags struct {
	set              *flag.FlagSet
	data, url, token string
	tls              *tlsFlags
}

// apiAt adds them to a command's; about says what the data folder, data by default, is for.
func apiAt(fs *flag.FlagSet, data, about string) *apiFlags {
	a := &apiFlags{set: fs, tls: tlsAt(fs, "server")}
	fs.StringVar(&a.data, "data", data, about)
	fs.StringVar(&a.url, "url", "", "address of the API, http://host:port or https://host:port, instead of --data")
	// The variable is no default of the flag: the help prints those.
	fs.StringVar(&a.token, "token", "", "API token, where one is asked for; PANORMUS_TOKEN, where not given")
	return a
}

// runningAPI adds them to a command's that needs a running process.
func runningAPI(fs *flag.FlagSet) *apiFlags {
	return apiAt(fs, "./data", "data folder of the running process, to find its address")
}

func (a *apiFlags) client() (apiClient, error) {
	if err := fromEnvironment(a.set, os.LookupEnv, tlsVariables); err != nil {
		return apiClient{}, err
	}
	return newAPIClient(a.url, a.data, cmp.Or(a.token, os.Getenv("PANORMUS_TOKEN")), a.tls)
}

// newAPIClient finds the API at url, or where the process with the data folder says that it is.
func newAPIClient(url, data, token string, secure *tlsFlags) (apiClient, error) {
	if url == "" {
		info, err := readRunInfo(data)
		if err != nil {
			return apiClient{}, err
		}
		url = "http://" + info.HTTP
		if info.HTTPTLS {
			url = "https://" + info.HTTP
		}
	}
	c := apiClient{base: strings.TrimSuffix(url, "/"), token: token, http: http.DefaultClient}
	if !strings.HasPrefix(url, "https://") { // what the variables say is for others then
		return c, nil
	}
	settings, err := secure.config(url)
	if err != nil {
		return c, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = settings
	c.http = &http.Client{Transport: transport}
	return c, nil
}

// pages reads a list of the API to its end and gives each page, of type P, to take, which says where the next
// begins: "" for the last one.
func pages[P any](ctx context.Context, c apiClient, list string, take func(*P) (next string, err error)) error {
	for path := "/api/v1/" + list + "?limit=1000"; ; {
		answer, err := c.do(ctx, http.MethodGet, path, "", nil)
		if err != nil {
			return err
		}
		page := new(P)
		if err := json.Unmarshal(answer, page); err != nil {
			return fmt.Errorf("read /api/v1/%s: %w", list, err)
		}
		next, err := take(page)
		if err != nil || next == "" {
			return err
		}
		path = "/api/v1/" + list + "?limit=1000&cursor=" + url.QueryEscape(next)
	}
}

// do returns the body of a good answer, or what the problem document says.
func (c apiClient) do(ctx context.Context, method, path, media string, body io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return b, nil
	}
	var problem struct{ Title, Detail string }
	if json.Unmarshal(b, &problem) != nil || problem.Title == "" {
		return nil, fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return nil, fmt.Errorf("%s %s: %s: %s", method, path, problem.Title, problem.Detail)
}
