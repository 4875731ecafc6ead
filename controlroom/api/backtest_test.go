package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"panormus/stream/batch"
	"panormus/stream/rules"
)

func TestBacktest(t *testing.T) {
	var asked struct {
		rule     *rules.Rule
		from, to time.Time
	}
	running, end := make(chan struct{}, 10), make(chan struct{})
	close(end)
	s := newSite(t, func(c *Config) {
		c.Backtest = func(ctx context.Context, r *rules.Rule, from, to time.Time, _ *Within) (*rules.BacktestResult, error) {
			asked.rule, asked.from, asked.to = r, from, to
			running <- struct{}{}
			<-end
			return &rules.BacktestResult{Rule: r, From: from, To: to, Raised: 2, Step: time.Hour,
				Events: []batch.Event{{ID: "e", Rule: r.ID, State: "raised", Time: from}}, Buckets: []rules.BacktestBucket{{Time: from, Raised: 2}}}, nil
		}
	})
	const path = "/api/v1/rules/hot/backtest"
	for _, c := range []struct {
		body string
		code int
		want string
	}{
		{`{"from":"2026-03-01T00:00:00Z","to":"2026-03-02T00:00:00Z"}`, 404, `no rule`},
		{`{"from":"2026-03-01T00:00:00Z","to":"2026-03-02T00:00:00Z","rule":{"on":"tracks","when":"score > 1"}}`, 200, `"on":"tracks"`},
		{`{"from":"2026-03-01T00:00:00Z","to":"2026-03-02T00:00:00Z","rule":{"when":"temp > 30"}}`, 200, `"more":true`},
		{`{"from":"2026-03-01T00:00:00Z","to":"2026-03-02T00:00:00Z","rule":"id: hot\nwhen: temp > 30\n"}`, 200, `"events":[{"id":"e","rule":"hot"`},
		{`{"from":"2026-03-01T00:00:00Z","rule":{"when":"temp >"}}`, 422, `line 1, column`},
		{`{"from":"2026-03-01T00:00:00Z","to":"2026-03-01T00:00:00Z","rule":{"when":"temp > 30"}}`, 422, `is not before`},
		{`{"from":"2025-03-01T00:00:00Z","to":"2026-03-01T00:00:00Z","rule":{"when":"temp > 30"}}`, 422, `found 365 days of the past, want at most 92`},
		{`{"from":"0001-01-01T00:00:00Z","to":"9999-01-01T00:00:00Z","rule":{"when":"temp > 30"}}`, 422, `found 3651694 days of the past, want at most 92`},
		{`{"from":"2026-01-01T00:00:00Z","to":"2026-04-03T00:00:01Z","rule":{"when":"temp > 30"}}`, 422, `found 92.1 days`},
		{`{"from":"2026-03-01T00:00:00Z","until":"2026-03-02T00:00:00Z","rule":{"when":"temp > 30"}}`, 400, `until`},
		{`{"from":"yesterday","rule":{"when":"temp > 30"}}`, 422, `body.from`},
		{`{"rule":{"when":"temp > 30"}}`, 422, `body.from: found none`},
		{`{`, 400, `body`},
	} {
		a := s.ask("POST", path, c.body)
		if a.Code != c.code || !strings.Contains(a.Body.String(), c.want) {
			t.Errorf("%s: %d, want %d with %q\n%s", c.body, a.Code, c.code, c.want, a.Body)
		}
	}
	if asked.rule == nil || asked.rule.When != "temp > 30" || asked.to.Sub(asked.from) != 24*time.Hour {
		t.Errorf("asked %+v", asked)
	}
	// So many at once and no more; what is refused says when to come again.
	end = make(chan struct{})
	for len(running) > 0 {
		<-running
	}
	const good = `{"from":"2026-03-01T00:00:00Z","to":"2026-03-02T00:00:00Z","rule":{"when":"temp > 30"}}`
	done := make(chan int, maxBacktests)
	for range maxBacktests {
		go func() { done <- s.ask("POST", path, good).Code }()
		<-running
	}
	if a := s.ask("POST", path, good); a.Code != http.StatusTooManyRequests || a.Header().Get("Retry-After") == "" {
		t.Errorf("one more: %d %s", a.Code, a.Body)
	}
	close(end)
	for range maxBacktests {
		if code := <-done; code != 200 {
			t.Errorf("%d, want 200", code)
		}
	}
}

func TestRuleStatsAndEvents(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.RuleStats = func() []rules.RuleStats {
			r := rules.Defaults().Rules[0]
			return []rules.RuleStats{{ID: r.ID, Version: r.Version, Raised: 7, Failed: "BUG: a panic: slot 7"}}
		}
	})
	for path, want := range map[string]string{
		"/api/v1/rule-stats": `"raised":7`,
		"/api/v1/rules":      "out of force until it is changed: BUG: a panic: slot 7",
		"/api/v1/events/e1":  `"rule_changed":true`,
	} {
		if a := s.ask("GET", path, ""); a.Code != 200 || !strings.Contains(a.Body.String(), want) {
			t.Errorf("%s: %d, want %q\n%.400s", path, a.Code, want, a.Body)
		}
	}
	if a := s.ask("GET", "/api/v1/events/none", ""); a.Code != 404 {
		t.Errorf("an event that is not there: %d %s", a.Code, fmt.Sprint(a.Body))
	}
}
