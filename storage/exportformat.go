package storage

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"

	"panormus/devices"
)

// A recordWriter writes records of one schema in some format.
type recordWriter interface {
	write(rec arrow.Record) error
	close() error
}

func newRecordWriter(w io.Writer, schema *arrow.Schema, format string) (recordWriter, error) {
	switch format {
	case "csv":
		c := &csvWriter{w: csv.NewWriter(w)}
		names := make([]string, schema.NumFields())
		for i := range names {
			names[i] = schema.Field(i).Name
		}
		return c, c.w.Write(names)
	case "jsonl":
		j := &jsonWriter{w: bufio.NewWriterSize(w, 64<<10)}
		for _, f := range schema.Fields() {
			name, err := json.Marshal(f.Name)
			if err != nil {
				return nil, err
			}
			j.names = append(j.names, string(name)+":")
		}
		return j, nil
	case "arrow":
		return arrowWriter{ipc.NewWriter(w, ipc.WithSchema(schema))}, nil
	case "parquet":
		p, err := pqarrow.NewFileWriter(schema, writeOnly{w}, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd)), pqarrow.DefaultWriterProps())
		if err != nil {
			return nil, err
		}
		return &parquetWriter{w: p}, nil
	}
	return nil, fmt.Errorf("BUG: no writer for %q", format)
}

// readable is s where it is text, and base64 of what is not.
func readable(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return "base64:" + base64.StdEncoding.EncodeToString([]byte(s))
}

// writeOnly hides a Close: whose writer it is closes it.
type writeOnly struct{ io.Writer }

type arrowWriter struct{ w *ipc.Writer }

func (a arrowWriter) write(rec arrow.Record) error { return a.w.Write(rec) }
func (a arrowWriter) close() error                 { return a.w.Close() }

// rowGroup is how many rows of a Parquet file are kept together.
const rowGroup = 128 << 10

type parquetWriter struct {
	w    *pqarrow.FileWriter
	rows int64
}

func (p *parquetWriter) write(rec arrow.Record) error {
	if p.rows += rec.NumRows(); p.rows > rowGroup {
		p.w.NewBufferedRowGroup()
		p.rows = rec.NumRows()
	}
	return p.w.WriteBuffered(rec)
}

func (p *parquetWriter) close() error { return p.w.Close() }

const timeLayout = "2006-01-02T15:04:05.000Z"

type csvWriter struct {
	w    *csv.Writer
	line []string
}

func (c *csvWriter) write(rec arrow.Record) error {
	c.line = make([]string, rec.NumCols())
	for row := range int(rec.NumRows()) {
		for i, col := range rec.Columns() {
			c.line[i] = cell(col, row)
		}
		if err := c.w.Write(c.line); err != nil {
			return err
		}
	}
	c.w.Flush()
	return c.w.Error()
}

func (c *csvWriter) close() error {
	c.w.Flush()
	return c.w.Error()
}

// cell is a value as text; a NaN, which stands for no number, is empty.
func cell(col arrow.Array, row int) string {
	switch col := col.(type) {
	case *array.Timestamp:
		return time.UnixMilli(int64(col.Value(row))).UTC().Format(timeLayout)
	case *array.String:
		return devices.Cell(col.Value(row))
	case *array.Float64:
		return number(col.Value(row), 64)
	case *array.Float32:
		return number(float64(col.Value(row)), 32)
	}
	return col.ValueStr(row)
}

func number(v float64, bits int) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, bits)
}

type jsonWriter struct {
	w     *bufio.Writer
	names []string
	buf   []byte
}

func (j *jsonWriter) write(rec arrow.Record) error {
	for row := range int(rec.NumRows()) {
		j.buf = append(j.buf[:0], '{')
		for i, col := range rec.Columns() {
			if i > 0 {
				j.buf = append(j.buf, ',')
			}
			j.buf = append(j.buf, j.names[i]...)
			switch col := col.(type) {
			case *array.String:
				s := col.Value(row)
				if rec.ColumnName(i) == "context" && json.Valid([]byte(s)) { // JSON as it is
					j.buf = append(j.buf, s...)
					continue
				}
				text, err := json.Marshal(s)
				if err != nil {
					return err
				}
				j.buf = append(j.buf, text...)
			case *array.Timestamp:
				j.buf = append(append(append(j.buf, '"'), cell(col, row)...), '"')
			case *array.Float64, *array.Float32: // JSON has no infinities and no NaN
				if s := cell(col, row); s == "" || s == "+Inf" || s == "-Inf" {
					j.buf = append(j.buf, "null"...)
				} else {
					j.buf = append(j.buf, s...)
				}
			default:
				j.buf = append(j.buf, cell(col, row)...)
			}
		}
		j.buf = append(j.buf, '}', '\n')
		if _, err := j.w.Write(j.buf); err != nil {
			return err
		}
	}
	return nil
}

func (j *jsonWriter) close() error { return j.w.Flush() }
