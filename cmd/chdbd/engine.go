package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// limits bound what the engine takes of the machine.
type limits struct {
	memory     int64 // of the whole engine
	threads    int
	statements int
	readers    int // of statements, those of the reading address
	readTime   time.Duration
	readMemory int64
}

// An engine is one open database. Every statement has a session of its own, which costs a third of
// a millisecond, so that no setting outlives it.
type engine struct {
	lib     *library
	args    []string
	limits  limits
	version string
	keep    *conn // keeps the database open between statements
	slots   chan struct{}
	readers chan struct{}
	serial  atomic.Uint64

	mu      sync.Mutex
	running map[string]context.CancelFunc
}

// The engine is sized for a machine that it shares with everything else of the city: pools of a
// server with dozens of cores only cost memory here.
const config = `<clickhouse>
<max_server_memory_usage>%d</max_server_memory_usage>
<mark_cache_size>67108864</mark_cache_size>
<index_mark_cache_size>16777216</index_mark_cache_size>
<primary_index_cache_size>33554432</primary_index_cache_size>
<uncompressed_cache_size>0</uncompressed_cache_size>
<mmap_cache_size>16</mmap_cache_size>
<query_condition_cache_size>8388608</query_condition_cache_size>
<compiled_expression_cache_size>8388608</compiled_expression_cache_size>
<background_pool_size>%d</background_pool_size>
<background_merges_mutations_concurrency_ratio>1</background_merges_mutations_concurrency_ratio>
<background_schedule_pool_size>4</background_schedule_pool_size>
<background_common_pool_size>2</background_common_pool_size>
<background_fetches_pool_size>1</background_fetches_pool_size>
<background_move_pool_size>1</background_move_pool_size>
<max_thread_pool_size>512</max_thread_pool_size>
<merge_tree>
<number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
<number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
<number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
<max_bytes_to_merge_at_max_space_in_pool>8589934592</max_bytes_to_merge_at_max_space_in_pool>
</merge_tree>
</clickhouse>
`

func openEngine(lib, dir string, l limits) (*engine, error) {
	file := filepath.Join(dir, "config.xml")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, l.memory, max(2, l.threads)), 0o600); err != nil {
		return nil, err
	}
	restore := saveSignals() // the engine takes Go's handlers away
	api, err := load(lib)
	if err != nil {
		return nil, err
	}
	api.setSignalHandlers(0)
	e := &engine{
		lib: api, limits: l, running: map[string]context.CancelFunc{},
		args:  []string{"--path=" + dir, "--config-file=" + file, fmt.Sprintf("--max_threads=%d", l.threads), "--max_insert_threads=1"},
		slots: make(chan struct{}, l.statements), readers: make(chan struct{}, l.readers),
	}
	e.keep, err = api.open(e.args)
	restore()
	if err != nil {
		return nil, err
	}
	v, _, err := e.keep.exec("SELECT version()", "TabSeparated")
	if err != nil {
		e.keep.close()
		return nil, fmt.Errorf("open the database in %s: %w", dir, err)
	}
	e.version = strings.TrimSpace(string(v))
	return e, nil
}

func (e *engine) close() { e.keep.close() }

// ping asks for a sign of life.
func (e *engine) ping() error {
	c, err := e.lib.open(e.args)
	if err != nil {
		return err
	}
	defer c.close()
	_, _, err = c.exec("SELECT 1", "Null")
	return err
}

// cancelAll gives up what still runs.
func (e *engine) cancelAll() {
	e.mu.Lock()
	for _, cancel := range e.running {
		cancel()
	}
	e.mu.Unlock()
	for range cap(e.slots) { // and waits for it to be gone
		e.slots <- struct{}{}
	}
}

// A session is a connection for one statement. A connection takes no other statement while an
// insert or a stream is open on it.
type session struct {
	*conn
	engine *engine
	name   string
	ctx    context.Context
	stop   func() // ends the watch over ctx
	done   []func()
}

// session opens one with the settings given; reading bounds it as the reading address must be.
// When ctx ends the statement is killed.
func (e *engine) session(ctx context.Context, settings url.Values, database string, reading bool) (_ *session, err error) {
	s := &session{engine: e, name: fmt.Sprintf("chdbd-%d", e.serial.Add(1))}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for _, slots := range []chan struct{}{e.readers, e.slots} {
		if slots == e.readers && !reading {
			continue
		}
		select {
		case slots <- struct{}{}:
			s.done = append(s.done, func() { <-slots })
		case <-ctx.Done():
			return nil, &exception{202, "Code: 202. DB::Exception: Too many simultaneous queries, none ended in time. (TOO_MANY_SIMULTANEOUS_QUERIES)"}
		}
	}
	if s.conn, err = e.lib.open(e.args); err != nil {
		return nil, err
	}
	s.done = append(s.done, s.conn.close)
	if database != "" && database != "default" {
		if _, _, err := s.exec("USE "+quoteName(database), "TabSeparated"); err != nil {
			return nil, err
		}
	}
	set := []string{"log_comment = " + quoteText(s.name)}
	for _, k := range slices.Sorted(mapKeys(settings)) {
		set = append(set, quoteName(k)+" = "+quoteText(settings.Get(k)))
	}
	if reading {
		set = append(set, e.readLimits(settings)...)
	}
	if _, _, err := s.exec("SET "+strings.Join(set, ", "), "TabSeparated"); err != nil {
		return nil, err
	}
	sctx, cancel := context.WithCancel(ctx)
	s.ctx = sctx
	e.mu.Lock()
	e.running[s.name] = cancel
	e.mu.Unlock()
	stop := context.AfterFunc(sctx, func() { e.kill(s.name) })
	s.stop = func() {
		stop()
		cancel()
		e.mu.Lock()
		delete(e.running, s.name)
		e.mu.Unlock()
	}
	return s, nil
}

func (e *engine) readLimits(settings url.Values) []string {
	limit := int64(e.limits.readTime / time.Second)
	if asked, err := strconv.ParseFloat(settings.Get("max_execution_time"), 64); err == nil && asked >= 1 {
		limit = min(limit, int64(asked))
	}
	return []string{
		fmt.Sprintf("max_execution_time = %d", limit), "timeout_overflow_mode = 'throw'",
		fmt.Sprintf("max_memory_usage = %d", e.limits.readMemory),
		fmt.Sprintf("max_bytes_before_external_group_by = %d", e.limits.readMemory/2),
		fmt.Sprintf("max_bytes_before_external_sort = %d", e.limits.readMemory/2),
		"max_subquery_depth = 32", "max_ast_elements = 20000", "max_expanded_ast_elements = 100000",
		"readonly = 1",
	}
}

func (s *session) close() {
	if s.stop != nil {
		s.stop()
	}
	for _, f := range slices.Backward(s.done) {
		f()
	}
}

// kill ends the statement of the session called name, from outside: the session itself is busy.
func (e *engine) kill(name string) {
	c, err := e.lib.open(e.args)
	if err != nil {
		return
	}
	defer c.close()
	c.exec("KILL QUERY WHERE Settings['log_comment'] = "+quoteText(name)+" ASYNC", "Null")
}

func quoteName(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`"
}

func quoteText(s string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'").Replace(s) + "'"
}
