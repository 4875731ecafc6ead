package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// The C API of libchdb (chdb.h of chdb-core 26.7). Handles are opaque pointers of C memory, so the
// garbage collector must not know them: they are uintptr here.
type library struct {
	setSignalHandlers func(enabled int32)
	connect           func(argc int32, argv unsafe.Pointer) uintptr
	closeConn         func(conn uintptr)
	query             func(conn uintptr, sql unsafe.Pointer, n uintptr, format unsafe.Pointer, fn uintptr) uintptr
	streamQuery       func(conn uintptr, sql unsafe.Pointer, n uintptr, format unsafe.Pointer, fn uintptr) uintptr
	classify          func(conn uintptr, sql unsafe.Pointer, n uintptr, database unsafe.Pointer, dn uintptr, out unsafe.Pointer) int32
	fetch             func(conn, result uintptr) uintptr
	cancelQuery       func(conn, result uintptr)
	insert            func(conn uintptr, sql unsafe.Pointer, n uintptr, format unsafe.Pointer, fn uintptr) uintptr
	insertAppend      func(stream uintptr, data unsafe.Pointer, n uintptr) int32
	insertDone        func(stream uintptr) uintptr
	insertCancel      func(stream uintptr)
	insertError       func(stream uintptr) uintptr
	destroyInsert     func(stream uintptr)
	buffer            func(result uintptr) uintptr
	length            func(result uintptr) uintptr
	rowsRead          func(result uintptr) uint64
	rowsWritten       func(result uintptr) uint64
	resultError       func(result uintptr) uintptr
	destroyResult     func(result uintptr)
}

// load opens libchdb.so and binds what is used of it.
func load(path string) (*library, error) {
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load the engine from %s: %w", path, err)
	}
	l := &library{}
	for _, f := range []struct {
		fn   any
		name string
	}{
		{&l.setSignalHandlers, "chdb_set_signal_handlers_enabled"},
		{&l.connect, "chdb_connect"}, {&l.closeConn, "chdb_close_conn"},
		{&l.query, "chdb_query_n"}, {&l.streamQuery, "chdb_stream_query_n"},
		{&l.classify, "chdb_classify_query_n"},
		{&l.fetch, "chdb_stream_fetch_result"}, {&l.cancelQuery, "chdb_stream_cancel_query"},
		{&l.insert, "chdb_stream_insert_n"}, {&l.insertAppend, "chdb_stream_append"},
		{&l.insertDone, "chdb_stream_done"}, {&l.insertCancel, "chdb_stream_cancel_insert"},
		{&l.insertError, "chdb_stream_insert_error"}, {&l.destroyInsert, "chdb_destroy_insert_stream"},
		{&l.buffer, "chdb_result_buffer"}, {&l.length, "chdb_result_length"},
		{&l.rowsRead, "chdb_result_rows_read"}, {&l.rowsWritten, "chdb_result_rows_written"},
		{&l.resultError, "chdb_result_error"}, {&l.destroyResult, "chdb_destroy_query_result"},
	} {
		sym, err := purego.Dlsym(h, f.name)
		if err != nil {
			return nil, fmt.Errorf("load the engine from %s: %w", path, err)
		}
		purego.RegisterFunc(f.fn, sym)
	}
	return l, nil
}

// A conn is one session of the engine. It takes one statement at a time.
type conn struct {
	lib    *library
	handle uintptr // chdb_connection *, what chdb_close_conn takes
	inner  uintptr // chdb_connection, what everything else takes
}

func (l *library) open(args []string) (*conn, error) {
	argv := make([]*byte, 0, len(args)+2)
	for _, a := range append([]string{"clickhouse"}, args...) {
		argv = append(argv, unsafe.SliceData(append([]byte(a), 0)))
	}
	argv = append(argv, nil)
	var pin runtime.Pinner
	for _, p := range argv[:len(argv)-1] {
		pin.Pin(p)
	}
	pin.Pin(unsafe.SliceData(argv))
	defer pin.Unpin()
	h := l.connect(int32(len(argv)-1), unsafe.Pointer(unsafe.SliceData(argv)))
	if h == 0 {
		return nil, errors.New("open the database: the engine refused; see the lines above")
	}
	return &conn{lib: l, handle: h, inner: *(*uintptr)(pointer(h))}, nil
}

func (c *conn) close() { c.lib.closeConn(c.handle) }

// pointer turns an address of C memory into a pointer without vet's suspicion of one that the
// garbage collector could move: this memory is not Go's.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

func text(s string) (unsafe.Pointer, uintptr) {
	return unsafe.Pointer(unsafe.StringData(s)), uintptr(len(s))
}

func cString(addr uintptr) string {
	if addr == 0 {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(pointer(addr), n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(pointer(addr)), n))
}

// result takes what a statement answered and frees it.
func (l *library) result(r uintptr) ([]byte, summary, error) {
	if r == 0 {
		return nil, summary{}, errors.New("the engine gave no answer")
	}
	defer l.destroyResult(r)
	if msg := cString(l.resultError(r)); msg != "" {
		return nil, summary{}, parseException(msg)
	}
	s := summary{readRows: l.rowsRead(r), writtenRows: l.rowsWritten(r)}
	n := l.length(r)
	if n == 0 {
		return nil, s, nil
	}
	out := make([]byte, n)
	copy(out, unsafe.Slice((*byte)(pointer(l.buffer(r))), n))
	return out, s, nil
}

type summary struct{ readRows, writtenRows uint64 }

// exec runs a statement to its end and returns the whole answer.
func (c *conn) exec(sql, format string) ([]byte, summary, error) {
	sp, sn := text(sql)
	fp, fn := text(format)
	r := c.lib.query(c.inner, sp, sn, fp, fn)
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	return c.lib.result(r)
}

// classReading is the class of statements that leave no trace: SELECT, SHOW, DESCRIBE, EXPLAIN…
const classReading = 0

// reading reports whether the engine's parser takes sql for one statement that only reads. What it
// cannot parse is not reading.
func (c *conn) reading(sql string) bool {
	out := struct{ size, statements, flags, class uint32 }{size: 16, class: 4}
	sp, sn := text(sql)
	state := c.lib.classify(c.inner, sp, sn, nil, 0, unsafe.Pointer(&out))
	runtime.KeepAlive(sql)
	return state == 0 && out.class == classReading && out.statements == 1
}

// errNotStreaming is what a statement answers that has no rows to stream.
var errNotStreaming = errors.New("not a statement to stream")

// stream runs sql and hands every piece of the answer to put as it comes, the slice being put's
// for the call only. Each piece is a whole document of the format, with its header if it has one.
func (c *conn) stream(sql, format string, put func(chunk []byte) error) (s summary, err error) {
	sp, sn := text(sql)
	fp, fn := text(format)
	r := c.lib.streamQuery(c.inner, sp, sn, fp, fn)
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	if r == 0 {
		return s, errors.New("the engine gave no answer")
	}
	defer c.lib.destroyResult(r)
	if msg := cString(c.lib.resultError(r)); msg != "" {
		if strings.Contains(msg, "Streaming query is not supported") || strings.Contains(msg, "Multi-statements are not allowed") {
			return s, errNotStreaming
		}
		return s, parseException(msg)
	}
	for {
		chunk := c.lib.fetch(c.inner, r)
		if chunk == 0 {
			return s, errors.New("the engine gave no answer")
		}
		if msg := cString(c.lib.resultError(chunk)); msg != "" {
			c.lib.destroyResult(chunk)
			return s, parseException(msg)
		}
		n := c.lib.length(chunk)
		if n == 0 {
			c.lib.destroyResult(chunk)
			return s, nil
		}
		s.readRows += c.lib.rowsRead(chunk)
		err := put(unsafe.Slice((*byte)(pointer(c.lib.buffer(chunk))), n))
		c.lib.destroyResult(chunk)
		if err != nil {
			c.lib.cancelQuery(c.inner, r)
			return s, err
		}
	}
}

// insertFrom runs an INSERT without its FORMAT clause, the rows being read from body in format.
// When body fails nothing more is inserted.
func (c *conn) insertFrom(sql, format string, body io.Reader) (_ summary, err error) {
	sp, sn := text(sql)
	fp, fn := text(format)
	st := c.lib.insert(c.inner, sp, sn, fp, fn)
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	if st == 0 {
		return summary{}, errors.New("the engine gave no answer")
	}
	defer c.lib.destroyInsert(st)
	if msg := cString(c.lib.insertError(st)); msg != "" {
		return summary{}, parseException(msg)
	}
	buf := insertBuffers.Get().(*[]byte)
	defer insertBuffers.Put(buf)
	for {
		n, err := io.ReadFull(body, *buf)
		if n > 0 && c.lib.insertAppend(st, unsafe.Pointer(unsafe.SliceData(*buf)), uintptr(n)) != 0 {
			if msg := cString(c.lib.insertError(st)); msg != "" {
				c.lib.insertCancel(st)
				return summary{}, parseException(msg)
			}
			_, s, err := c.lib.result(c.lib.insertDone(st))
			if err == nil {
				err = errors.New("the engine refused a piece of the insert without a reason")
			}
			return s, err
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			c.lib.insertCancel(st)
			return summary{}, fmt.Errorf("read the body: %w", err)
		}
	}
	_, s, err := c.lib.result(c.lib.insertDone(st))
	return s, err
}

// insertBuffers are the pieces in which rows pass to the engine, which copies them.
var insertBuffers = sync.Pool{New: func() any { b := make([]byte, 1<<20); return &b }}
