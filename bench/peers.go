package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/expr-lang/expr"

	"panormus/stream/rules"
)

// Two conditions that peers evaluate too, in CEL, which expr takes as it is.
var peerConditions = []string{"power_w > 100", "power_w > 100 && dim < 0.2 && volt != 230.0"}

var peerMetrics = []string{"power_w", "dim", "volt"}

// peerValue is what a device reports: that all is true of some, and the first part of half of them.
func peerValue(device, metric int) float64 {
	switch metric {
	case 0:
		return float64(device % 2 * 200)
	case 1:
		return float64(device%5) / 5
	}
	return 229
}

// peersBench has other evaluators decide the same conditions on the same values, in the same run. They are given
// the values ready in their own form, and keep no state, no time and no episodes; ours is the whole engine.
func peersBench(ctx context.Context, quick bool, w io.Writer) error {
	for i, condition := range peerConditions {
		metrics := peerMetrics[:1+2*i]
		ours, err := engineOn(ctx, quick, condition, metrics)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| `%s`: the engine, ns a message of %d readings | %.0f | |\n", condition, len(metrics), ours)
		const devices = 1000
		values, want := make([]map[string]any, devices), 0
		for d := range devices {
			values[d] = map[string]any{}
			for m, name := range metrics {
				values[d][name] = peerValue(d, m)
			}
			if v := values[d]; v["power_w"].(float64) > 100 && (i == 0 || v["dim"].(float64) < 0.2 && v["volt"].(float64) != 230) {
				want++
			}
		}
		for _, peer := range []struct {
			name    string
			compile func(condition string, metrics []string) (func(map[string]any) (bool, error), error)
		}{{"cel-go 0.33.2", celPeer}, {"expr 1.17.8", exprPeer}} {
			decide, err := peer.compile(condition, metrics)
			if err != nil {
				return err
			}
			least := time.Hour
			for range ruleRounds {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				matches, before := 0, processorTime()
				const rounds = 20
				for range rounds {
					for _, v := range values {
						yes, err := decide(v)
						if err != nil {
							return fmt.Errorf("%s: %w", peer.name, err)
						}
						if yes {
							matches++
						}
					}
				}
				least = min(least, (processorTime()-before)/rounds)
				if matches != rounds*want {
					return fmt.Errorf("%s: %d matches, want %d", peer.name, matches, rounds*want)
				}
			}
			fmt.Fprintf(w, "| the same: %s, its evaluator alone, ns | %.0f | |\n", peer.name, float64(least.Nanoseconds())/devices)
		}
	}
	return nil
}

// engineOn is the processor time of the engine for a message. Nothing is raised while it is measured: what
// holds is pending for longer.
func engineOn(ctx context.Context, quick bool, condition string, metrics []string) (ns float64, err error) {
	set, err := parseRules(`rules: [{id: r, when: '` + condition + `', for: 1000h}]`)
	if err != nil {
		return 0, err
	}
	f, err := newRepeatedFleet(1000, 4096, 16/len(metrics), metrics, false, peerValue)
	if err != nil {
		return 0, err
	}
	e := rules.New(rules.Config{}, set)
	f.turn(e, 0, time.Minute)
	ns, events, err := f.perReading(ctx, e, 1, turnsFor(quick, f.rows), time.Minute)
	if err == nil && events != 0 {
		err = fmt.Errorf("%s: %d events, want none", condition, events)
	}
	return ns * float64(len(metrics)), err
}

func celPeer(condition string, metrics []string) (func(map[string]any) (bool, error), error) {
	options := []cel.EnvOption{cel.CrossTypeNumericComparisons(true)}
	for _, m := range metrics {
		options = append(options, cel.Variable(m, cel.DoubleType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(condition)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	return func(values map[string]any) (bool, error) {
		v, _, err := program.Eval(values)
		if err != nil {
			return false, err
		}
		return v.Value().(bool), nil
	}, nil
}

func exprPeer(condition string, metrics []string) (func(map[string]any) (bool, error), error) {
	env := map[string]any{}
	for _, m := range metrics {
		env[m] = 0.0
	}
	program, err := expr.Compile(condition, expr.Env(env), expr.AsBool())
	if err != nil {
		return nil, err
	}
	return func(values map[string]any) (bool, error) {
		v, err := expr.Run(program, values)
		if err != nil {
			return false, err
		}
		return v.(bool), nil
	}, nil
}
