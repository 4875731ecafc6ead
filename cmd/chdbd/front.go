package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A front answers ClickHouse's HTTP interface for one listener.
type front struct {
	engine   *engine
	readOnly bool
}

// maxStatement bounds a statement that comes as a body; rows that follow an INSERT in the URL have
// no bound.
const maxStatement = 64 << 20

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.readOnly {
		if err := checkLocal(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.URL.Path == "/ping" || r.URL.Path == "/replicas_status":
		f.ping(w)
	case r.URL.Path != "/":
		http.Error(w, "There is no handle "+r.URL.Path+"; statements go to /", http.StatusNotFound)
	case r.Method == http.MethodGet && !r.URL.Query().Has("query"):
		io.WriteString(w, "Ok.\n")
	case r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead:
		http.Error(w, r.Method+": want GET or POST", http.StatusMethodNotAllowed)
	default:
		f.statement(w, r)
	}
}

// checkLocal turns away what a browser sends on behalf of a page from elsewhere: the name it asked
// for (Host, which catches names rebound to this machine) and the page's origin must be local.
func checkLocal(r *http.Request) error {
	if !local(r.Host) {
		return fmt.Errorf("host %q: want localhost or a loopback address", r.Host)
	}
	if o := r.Header.Get("Origin"); o != "" {
		if u, err := url.Parse(o); err != nil || !local(u.Host) {
			return fmt.Errorf("origin %q: pages from elsewhere may not ask here", o)
		}
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return errors.New("pages from elsewhere may not ask here")
	}
	return nil
}

func local(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// ping runs a statement, outside the bounds of the others: a busy engine is a healthy one. Readers
// have to do with a sign of life of the process.
func (f *front) ping(w http.ResponseWriter) {
	if !f.readOnly {
		if err := f.engine.ping(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	io.WriteString(w, "Ok.\n")
}

// A request is what the parameters of one say.
type request struct {
	settings url.Values
	database string
	format   string // where the statement names none
	queryID  string
}

// notSettings are parameters that the HTTP interface itself understands, or need not here: there
// are no users and no sessions longer than a statement.
var notSettings = []string{
	"query", "database", "default_format", "user", "password", "query_id", "quota_key", "role", "stacktrace",
	"session_id", "session_timeout", "session_check", "client_protocol_version", "compress", "decompress",
	"buffer_size", "wait_end_of_query", "enable_http_compression", "http_zlib_compression_level",
	"network_compression_method", "network_zstd_compression_level", "send_progress_in_http_headers",
	"http_headers_progress_interval_ms", "cancel_http_readonly_queries_on_client_close", "add_http_cors_header",
	"http_native_compression_disable_checksumming_on_decompress", "readonly", "log_comment", "close_session",
}

// readSettings are what a reader may set: how the answer is written, and to be cut off earlier.
// None of them names a file.
func readSetting(name string) bool {
	if slices.Contains([]string{"max_execution_time", "max_result_rows", "result_overflow_mode", "date_time_output_format",
		"session_timezone", "extremes", "max_block_size", "output_format_decimal_trailing_zeros", "output_format_write_statistics",
		"output_format_binary_write_json_as_string", "output_format_native_write_json_as_string", "log_queries"}, name) {
		return true
	}
	for _, prefix := range []string{"param_", "output_format_json_", "output_format_csv_", "output_format_tsv_",
		"output_format_pretty_", "output_format_parquet_", "output_format_arrow_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (f *front) parse(r *http.Request) (*request, error) {
	q := r.URL.Query()
	req := &request{settings: url.Values{}, database: q.Get("database"), format: q.Get("default_format"), queryID: q.Get("query_id")}
	if req.database == "" {
		req.database = r.Header.Get("X-ClickHouse-Database")
	}
	if req.format == "" {
		req.format = r.Header.Get("X-ClickHouse-Format")
	}
	if req.format == "" {
		req.format = "TabSeparated"
	}
	if req.queryID == "" {
		req.queryID = rand.Text()
	}
	for k := range q {
		if slices.Contains(notSettings, k) {
			continue
		}
		if f.readOnly && !readSetting(k) {
			return nil, &exception{164, fmt.Sprintf("Code: 164. DB::Exception: Cannot modify '%s' setting in readonly mode. (READONLY)", k)}
		}
		req.settings.Set(k, q.Get(k))
	}
	return req, nil
}

func (f *front) statement(w http.ResponseWriter, r *http.Request) {
	out := newAnswer(w, r)
	if err := f.run(out, r); err != nil {
		out.fail(err)
		return
	}
	out.close()
}

func (f *front) run(out *answer, r *http.Request) error {
	req, err := f.parse(r)
	if err != nil {
		return err
	}
	out.header("X-ClickHouse-Query-Id", req.queryID)
	out.header("X-ClickHouse-Timezone", "UTC")
	body, err := decodeBody(r)
	if err != nil {
		return err
	}
	sql := r.URL.Query().Get("query")
	ins, inserting := parseInsert(sql)
	if !inserting { // then all is one statement
		rest, err := io.ReadAll(io.LimitReader(body, maxStatement+1))
		if err != nil {
			return fmt.Errorf("read the statement: %w", err)
		}
		if len(rest) > maxStatement {
			return &exception{307, fmt.Sprintf("Code: 307. DB::Exception: a statement of more than %d bytes; put INSERT in the URL and the rows in the body. (TOO_MANY_BYTES)", maxStatement)}
		}
		if sql != "" && len(rest) > 0 {
			sql += "\n"
		}
		sql += string(rest)
		ins, inserting = parseInsert(sql)
		body = strings.NewReader("")
	}
	reading := f.readOnly || r.Method != http.MethodPost
	if reading && strings.Contains(strings.ToLower(sql), "outfile") {
		return &exception{164, "Code: 164. DB::Exception: INTO OUTFILE would write on this machine; nothing that reads OUTFILE is run here. (READONLY)"}
	}
	if isHello(r, sql) {
		return out.hello(f.engine.version)
	}
	s, err := f.engine.session(r.Context(), req.settings, req.database, reading)
	if err != nil {
		return err
	}
	defer s.close()
	if reading && !s.reading(sql) {
		if _, _, err := s.exec("EXPLAIN AST "+sql, "Null"); err != nil {
			var e *exception
			if errors.As(err, &e) && e.code == 62 { // does not parse: say where
				return err
			}
		}
		return &exception{164, "Code: 164. DB::Exception: Cannot execute query in readonly mode: one reading statement is all that is run here. (READONLY)"}
	}
	if inserting {
		return f.insert(out, s, ins, req, body)
	}
	return f.query(out, s, sql, req)
}

func (f *front) insert(out *answer, s *session, ins insertion, req *request, body io.Reader) error {
	if ins.format == "" {
		ins.format = "Values"
	}
	if ins.inline != "" {
		body = io.MultiReader(strings.NewReader(ins.inline), body)
	}
	sum, err := s.insertFrom(ins.sql, ins.format, &contextReader{s.ctx, body})
	if err != nil {
		return err
	}
	out.summary(sum)
	return nil
}

func (f *front) query(out *answer, s *session, sql string, req *request) error {
	format := formatOf(sql, req.format)
	out.format(format)
	header, streams := headerOf(format)
	if streams {
		first := true
		_, err := s.stream(sql, req.format, func(piece []byte) error {
			if !first {
				piece = piece[header(piece):]
			}
			first = false
			if err := s.ctx.Err(); err != nil {
				return err
			}
			_, err := out.Write(piece)
			return err
		})
		if !errors.Is(err, errNotStreaming) {
			return err
		}
	}
	whole, sum, err := s.exec(sql, req.format)
	if err != nil {
		return err
	}
	out.summary(sum)
	_, err = out.Write(whole)
	return err
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func mapKeys(v url.Values) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range v {
			if !yield(k) {
				return
			}
		}
	}
}

func (s summary) header() string {
	b, _ := json.Marshal(map[string]string{
		"read_rows": strconv.FormatUint(s.readRows, 10), "written_rows": strconv.FormatUint(s.writtenRows, 10),
	})
	return string(b)
}
