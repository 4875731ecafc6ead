package main

import (
	"bufio"
	"compress/gzip"
	"compress/zlib"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	chcompress "github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/klauspost/compress/zstd"
)

// decodeBody undoes what the client did to the body to make it smaller.
func decodeBody(r *http.Request) (io.Reader, error) {
	body := io.Reader(bufio.NewReaderSize(r.Body, 64<<10))
	var err error
	switch enc := r.Header.Get("Content-Encoding"); strings.ToLower(enc) {
	case "", "identity":
	case "gzip":
		body, err = gzip.NewReader(body)
	case "deflate":
		body, err = zlib.NewReader(body)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20)); err == nil {
			body = d.IOReadCloser()
		}
	default:
		return nil, fmt.Errorf("Content-Encoding %q: want gzip, deflate or zstd", enc)
	}
	if err != nil {
		return nil, fmt.Errorf("read the body as %s: %w", r.Header.Get("Content-Encoding"), err)
	}
	if r.URL.Query().Get("decompress") == "1" {
		body = bufio.NewReaderSize(chcompress.NewReader(body), 64<<10)
	}
	return body, nil
}

// An answer writes what a statement gives. Nothing is sent before the first piece, so that until
// then a failure has a status of its own.
type answer struct {
	w      http.ResponseWriter
	r      *http.Request
	began  bool
	tag    string // announces an exception in the middle of the body
	body   io.Writer
	finish func() error
}

func newAnswer(w http.ResponseWriter, r *http.Request) *answer {
	return &answer{w: w, r: r, tag: rand.Text()[:16]}
}

func (a *answer) header(name, value string) { a.w.Header().Set(name, value) }

func (a *answer) summary(s summary) { a.header("X-ClickHouse-Summary", s.header()) }

func (a *answer) format(format string) {
	a.header("X-ClickHouse-Format", format)
	f, kind := strings.ToLower(format), "text/plain; charset=UTF-8"
	switch {
	case strings.HasPrefix(f, "json") && strings.Contains(f, "eachrow"), f == "jsonlines", f == "ndjson":
		kind = "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(f, "json"):
		kind = "application/json; charset=UTF-8"
	case strings.HasPrefix(f, "csv"):
		kind = "text/csv; charset=UTF-8; header=absent"
		if strings.Contains(f, "withnames") {
			kind = "text/csv; charset=UTF-8; header=present"
		}
	case strings.HasPrefix(f, "tabseparated"), strings.HasPrefix(f, "tsv"):
		kind = "text/tab-separated-values; charset=UTF-8"
	case f == "native", f == "parquet", f == "orc", strings.HasPrefix(f, "rowbinary"), strings.HasPrefix(f, "arrow"):
		kind = "application/octet-stream"
	}
	a.header("Content-Type", kind)
}

func (a *answer) begin() error {
	a.began = true
	a.header("X-ClickHouse-Exception-Tag", a.tag)
	a.body, a.finish = a.w, func() error { return nil }
	q := a.r.URL.Query()
	switch {
	case q.Get("compress") == "1":
		method := chcompress.LZ4
		if strings.EqualFold(q.Get("network_compression_method"), "zstd") {
			method = chcompress.ZSTD
		}
		a.body = &blockWriter{w: a.w, c: chcompress.NewWriter(chcompress.LevelZero, method)}
	case q.Get("enable_http_compression") == "1":
		accept := a.r.Header.Get("Accept-Encoding")
		switch {
		case strings.Contains(accept, "zstd"):
			z, err := zstd.NewWriter(a.w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
			if err != nil {
				return err
			}
			a.header("Content-Encoding", "zstd")
			a.body, a.finish = z, z.Close
		case strings.Contains(accept, "gzip"):
			z, _ := gzip.NewWriterLevel(a.w, gzip.BestSpeed)
			a.header("Content-Encoding", "gzip")
			a.body, a.finish = z, z.Close
		case strings.Contains(accept, "deflate"):
			z, _ := zlib.NewWriterLevel(a.w, zlib.BestSpeed)
			a.header("Content-Encoding", "deflate")
			a.body, a.finish = z, z.Close
		}
	}
	return nil
}

func (a *answer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !a.began {
		if err := a.begin(); err != nil {
			return 0, err
		}
	}
	return a.body.Write(p)
}

func (a *answer) close() {
	if a.began {
		a.finish()
	}
}

// fail tells of an error: by status while nothing was sent, else within the body as servers do.
func (a *answer) fail(err error) {
	e, ok := errors.AsType[*exception](err)
	if !ok {
		e = &exception{1001, "Code: 1001. DB::Exception: " + err.Error() + " (STD_EXCEPTION)"}
	}
	if a.began {
		fmt.Fprintf(a.body, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", a.tag, e.text, len(e.text)+1, a.tag)
		a.finish()
		return
	}
	a.header("Content-Type", "text/plain; charset=UTF-8")
	a.header("X-ClickHouse-Exception-Code", strconv.Itoa(e.code))
	a.w.WriteHeader(e.status())
	io.WriteString(a.w, e.text+"\n")
}

// blockWriter writes ClickHouse's own compressed blocks.
type blockWriter struct {
	w io.Writer
	c *chcompress.Writer
}

func (b *blockWriter) Write(p []byte) (n int, err error) {
	const block = 1 << 20
	for len(p) > 0 {
		part := p[:min(len(p), block)]
		if err := b.c.Compress(part); err != nil {
			return n, err
		}
		if _, err := b.w.Write(b.c.Data); err != nil {
			return n, err
		}
		n, p = n+len(part), p[len(part):]
	}
	return n, nil
}

// The Go client asks this on connecting and decides by the answer how it reads all later ones.
const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

// isHello reports whether the client asks for the revision it shall speak. The library writes
// Native blocks only as of revision 0, so the client must be told 0, in a block of the revision
// that it asked in.
func isHello(r *http.Request, sql string) bool {
	v, err := strconv.Atoi(r.URL.Query().Get("client_protocol_version"))
	return err == nil && v > 0 && strings.TrimSpace(sql) == helloQuery
}

func (a *answer) hello(version string) error {
	revision, _ := strconv.Atoi(a.r.URL.Query().Get("client_protocol_version"))
	var name, ver, zone proto.ColStr
	name.Append("chdbd")
	ver.Append(version)
	zone.Append("UTC")
	rev := proto.ColUInt32{0}
	input := proto.Input{
		{Name: "displayName()", Data: name}, {Name: "version()", Data: ver},
		{Name: "revision()", Data: rev}, {Name: "timezone()", Data: zone},
	}
	b := proto.Block{Columns: len(input), Rows: 1, Info: proto.BlockInfo{BucketNum: -1}}
	var buf proto.Buffer
	if err := b.EncodeBlock(&buf, revision, input); err != nil {
		return fmt.Errorf("encode the greeting: %w", err)
	}
	a.format("Native")
	_, err := a.Write(buf.Buf)
	return err
}
