package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Answers to the removal of a route.
var (
	ErrNotFound = errors.New("not found")
	ErrFromFile = errors.New("the route is of the settings")
)

// A Bucket keeps entries durably and tells of every change; the log's KV is one.
type Bucket interface {
	Get(ctx context.Context, key string) ([]byte, bool, error)
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	Watch(ctx context.Context, change func(key string, value []byte), synced func()) error
}

// Routes are those in force: the settings' and over them those of the API, which a bucket keeps and every
// process follows. Reads take no lock.
type Routes struct {
	bucket    Bucket
	log       *slog.Logger
	receivers []string          // that there are; guarded by applying, as the next two
	file      map[string]*Route // of the settings
	own       map[string]*Route // of the API
	all       atomic.Pointer[[]*Route]

	writing, applying sync.Mutex
}

// NewRoutes makes them of the settings' routes; what the bucket holds is known when Run calls ready.
func NewRoutes(file []Route, receivers []string, bucket Bucket, log *slog.Logger) (*Routes, error) {
	r := &Routes{bucket: bucket, log: log, own: map[string]*Route{}}
	return r, r.settle(file, receivers)
}

// settle puts the routes and receivers of other settings in force, all or none. Routes of the API that name a
// receiver which is not there any more stay, and do nothing for it.
func (r *Routes) settle(file []Route, receivers []string) error {
	routes := map[string]*Route{}
	for i := range file {
		route := &file[i]
		if err := check(route, receivers); err != nil {
			return err
		}
		if routes[route.ID] != nil {
			return fmt.Errorf("route %q: there are two", route.ID)
		}
		routes[route.ID] = route
	}
	r.applying.Lock()
	defer r.applying.Unlock()
	r.receivers, r.file = receivers, routes
	r.merge()
	return nil
}

// Check reports what of route is not acceptable, a receiver that is not there too.
func (r *Routes) Check(route *Route) error {
	r.applying.Lock()
	receivers := r.receivers
	r.applying.Unlock()
	return check(route, receivers)
}

func check(route *Route, receivers []string) error {
	if err := route.Check(); err != nil {
		return err
	}
	for _, name := range route.Receivers {
		if !slices.Contains(receivers, name) {
			return fmt.Errorf("route %q: receivers: no receiver %.100q in the settings, want any of %s", route.ID, name, strings.Join(receivers, ", "))
		}
	}
	return nil
}

func (r *Routes) merge() {
	all := maps.Clone(r.file)
	maps.Copy(all, r.own)
	sorted := slices.SortedFunc(maps.Values(all), func(a, b *Route) int { return strings.Compare(a.ID, b.ID) })
	r.all.Store(&sorted)
}

// Run follows the bucket until ctx ends.
func (r *Routes) Run(ctx context.Context, ready func()) error {
	return r.bucket.Watch(ctx, r.apply, ready)
}

// apply takes in one entry. The follower and the writers both call it; news of an older entry that
// comes after a write is mended by the news of that write.
func (r *Routes) apply(id string, value []byte) {
	r.applying.Lock()
	defer r.applying.Unlock()
	defer r.merge()
	if value == nil {
		delete(r.own, id)
		return
	}
	route := &Route{}
	err := json.Unmarshal(value, route)
	if err == nil {
		err = route.Check()
	}
	if err != nil || route.ID != id {
		r.log.Error("a route of notices cannot be used", "route", id, "error", err)
		delete(r.own, id)
		return
	}
	r.own[id] = route
}

// All returns the routes in force, in order of id. They are not to be changed.
func (r *Routes) All() []*Route { return *r.all.Load() }

// Route returns one, nil where there is none.
func (r *Routes) Route(id string) *Route {
	for _, route := range r.All() {
		if route.ID == id {
			return route
		}
	}
	return nil
}

// Put enters or replaces a route; it is in force in this process when Put returns, in others soon.
func (r *Routes) Put(ctx context.Context, route *Route) error {
	if err := r.Check(route); err != nil {
		return err
	}
	b, err := json.Marshal(route)
	if err != nil {
		return fmt.Errorf("route %q: %w", route.ID, err)
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.Route(route.ID) == nil && len(r.All()) >= maxRoutes {
		return fmt.Errorf("route %q: there are %d already, which is the most", route.ID, maxRoutes)
	}
	if err := r.bucket.Put(ctx, route.ID, b); err != nil {
		return &storeError{err}
	}
	r.apply(route.ID, b)
	return nil
}

// Delete removes a route that came through the API: one of the settings counts again.
func (r *Routes) Delete(ctx context.Context, id string) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.applying.Lock()
	own, file := r.own[id] != nil, r.file[id] != nil
	r.applying.Unlock()
	switch {
	case !own && file:
		return fmt.Errorf("route %q: %w", id, ErrFromFile)
	case !own:
		return fmt.Errorf("route %.100q: %w", id, ErrNotFound)
	}
	if err := r.bucket.Delete(ctx, id); err != nil {
		return &storeError{err}
	}
	r.apply(id, nil)
	return nil
}

// storeError is a failure of the store, not of what it was given.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// Away reports whether err is of the store and not of what it was given.
func Away(err error) bool {
	_, ok := errors.AsType[*storeError](err)
	return ok
}
