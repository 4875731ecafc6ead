package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"panormus/storage/embedded"
)

// Config says which database and how long it keeps what.
type Config struct {
	// DSN is a server's: clickhouse://user:password@host:9000/database, or http(s)://host:8123/….
	DSN string
	// Embedded is a running embedded database, instead of DSN.
	Embedded *embedded.Server
	// Retention is how long rows of a table are kept; 0 for ever. Tables that are not named have
	// their default, see DefaultRetention.
	Retention map[string]time.Duration
	// Least returns the least number of objects that a count may tell of for good, or in an export, by
	// purpose; of purposes that it does not name, and where it is nil, that is privacy.DefaultK.
	Least func() map[string]int
	// Speakers say whose a message is that was rejected, by its topic; those with a part of the city see
	// none without.
	Speakers []Speaker

	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// A DB is an open database whose schema is this binary's. It is safe for concurrent use.
type DB struct {
	cfg     Config
	conn    driver.Conn
	http    bool // the server takes any format as a body
	metrics *metrics
	overdue sync.Map // table -> rows found past their time, uint64
	order   order
}

// Timeouts of the client. An insert of a large group may take long on a busy machine.
const (
	dialTimeout  = 5 * time.Second
	readTimeout  = 5 * time.Minute
	maxOpenConns = 12
)

// Open connects, brings the schema up to date and sets the retention. It fails when the server is
// away, when ctx ends, and when the database was made by a newer version of this program.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	opt, err := options(cfg)
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(opt)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	db := &DB{cfg: cfg, conn: conn, http: opt.Protocol == clickhouse.HTTP, metrics: newMetrics()}
	if err := db.prepare(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	if cfg.Embedded != nil {
		cfg.Embedded.First(func(ctx context.Context, dial embedded.Dialer) error { return mendFirst(ctx, cfg, dial) })
	}
	// Only now: whoever finds the server away opens again, with the same registry.
	db.metrics.register(cfg.Metrics)
	return db, nil
}

func options(cfg Config) (*clickhouse.Options, error) {
	var opt *clickhouse.Options
	switch {
	case (cfg.DSN == "") == (cfg.Embedded == nil):
		return nil, errors.New("open the database: want either a DSN or the embedded one")
	case cfg.Embedded != nil:
		opt = &clickhouse.Options{
			Protocol: clickhouse.HTTP,
			Addr:     []string{"localhost:80"}, // a name that no proxy setting applies to
			DialContext: func(ctx context.Context, _ string) (net.Conn, error) {
				return cfg.Embedded.Dial(ctx)
			},
		}
	default:
		var err error
		if opt, err = clickhouse.ParseDSN(cfg.DSN); err != nil {
			return nil, fmt.Errorf("open the database: DSN: %w", withoutPassword(err, cfg.DSN))
		}
	}
	opt.MaxOpenConns, opt.MaxIdleConns = maxOpenConns, maxOpenConns
	opt.DialTimeout, opt.ReadTimeout = dialTimeout, readTimeout
	opt.ClientInfo.Products = append(opt.ClientInfo.Products, struct{ Name, Version string }{"panormus", "1"})
	return opt, nil
}

// withoutPassword keeps a DSN's password out of a message.
func withoutPassword(err error, dsn string) error {
	if u, perr := url.Parse(dsn); perr == nil {
		return fmt.Errorf("%s: not understood", u.Redacted())
	}
	return errors.New("not a URL such as clickhouse://host:9000/default")
}

func (db *DB) prepare(ctx context.Context) error {
	if err := db.Ping(ctx); err != nil {
		return err
	}
	if err := db.migrate(ctx); err != nil {
		return err
	}
	return db.setRetention(ctx)
}

// Ping asks the server for a sign of life.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.conn.Ping(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return nil
}

// Close ends the connections. The embedded server goes on.
func (db *DB) Close() error { return db.conn.Close() }

// Conn is the client's connection, for what has no method here.
func (db *DB) Conn() driver.Conn { return db.conn }
