package storage

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2"

	"panormus/storage/embedded"
)

// busyErrors are the server's codes for "not now".
var busyErrors = []int32{
	159, 202, 209, 210, 241, 242, 252, 279, // timeouts, too many at once, memory, read only for now, too many parts
	243, 319, 439, 999, // no disk space, unknown status of an insert, no threads, the keeper
}

// IsAway reports whether err means that the database cannot be reached, or cannot answer, for now:
// the same call may succeed later.
func IsAway(err error) bool {
	if err == nil {
		return false
	}
	if ex, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return slices.Contains(busyErrors, ex.Code)
	}
	if h, ok := errors.AsType[*clickhouse.HTTPError](err); ok {
		return h.StatusCode == http.StatusBadGateway || h.StatusCode == http.StatusServiceUnavailable || h.StatusCode == http.StatusGatewayTimeout
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, embedded.ErrNotRunning) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, clickhouse.ErrAcquireConnTimeout) || errors.Is(err, context.DeadlineExceeded)
}
