// Command chdbd is the embedded ClickHouse: it loads libchdb, the whole engine as a shared library,
// and answers ClickHouse's HTTP interface.
//
//	chdbd --dir DIR [--http ADDR | --http-fd N] [--with-parent]
//
// It listens twice. DIR/engine.sock, for the owner of the directory alone, takes everything. The
// TCP address, loopback only, takes nothing but reading: every statement there runs with the
// engine's readonly=1 and fixed limits, after the engine's own parser called it a reading one, and
// a Host or Origin of another machine is turned away so that no web page can ask through a browser.
//
// Under both the process itself is fenced in (Landlock, where the kernel has it): it opens no file
// outside DIR but what the system's libraries need, and connects to nothing.
//
// When it is ready it prints one line of JSON: {"socket":…,"http":…,"version":…}. It stops on
// SIGTERM, SIGINT and, with --with-parent, when its standard input ends, which it does when the
// process that started it dies in whatever way. A lock in DIR keeps a second chdbd out.
package main
