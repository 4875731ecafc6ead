package main

import (
	"context"
	"time"

	"panormus/controlroom/api"
	"panormus/devices"
	"panormus/storage"
	"panormus/stream/batch"
	"panormus/stream/rules"
)

// backtest evaluates a rule over what the database holds of a part of the city, nil for the whole. Devices
// elsewhere are none that the rule could know of.
func (n *node) backtest(ctx context.Context, rule *rules.Rule, from, to time.Time, part *api.Within) (*rules.BacktestResult, error) {
	in := (*storage.Within)(part)
	b := rules.Backtest{Rule: rule, From: from, To: to, Config: rules.Config{Registry: n.registry}}
	b.Hours = n.hours()
	if part != nil {
		seen := newPartRegistry(n.registry, part.Devices)
		b.Config.Registry = seen
		if all := b.Hours; all != nil {
			b.Hours = func(ctx context.Context, q rules.HoursQuery, each func(rules.Hour) error) error {
				return all(ctx, q, func(h rules.Hour) error {
					if !seen.only[h.Device] {
						return nil
					}
					return each(h)
				})
			}
		}
	}
	b.Read = func(ctx context.Context, p rules.Past, each func(*batch.Observations) error) (int64, error) {
		return n.parts.db.Past(ctx, storage.PastQuery{From: p.From, To: p.To, Domain: p.Domain, Metrics: p.Metrics, Within: in}, each)
	}
	b.ReadRows = func(ctx context.Context, on string, p rules.Past, each func(*rules.Row) error) (int64, error) {
		return n.pastRows(ctx, on, p, in, each)
	}
	return b.Run(ctx)
}

// A partRegistry is the registry as somebody sees it who sees some devices only.
type partRegistry struct {
	*devices.Registry
	only map[string]bool
	all  []*devices.Asset
}

func newPartRegistry(r *devices.Registry, ids []string) *partRegistry {
	p := &partRegistry{Registry: r, only: make(map[string]bool, len(ids))}
	for _, id := range ids {
		p.only[id] = true
		if a := r.Lookup(id); a != nil {
			p.all = append(p.all, a)
		}
	}
	return p
}

// Lookup implements rules.Registry.
func (p *partRegistry) Lookup(id string) *devices.Asset {
	if !p.only[id] {
		return nil
	}
	return p.Registry.Lookup(id)
}

// All implements rules.Registry.
func (p *partRegistry) All() []*devices.Asset { return p.all }
