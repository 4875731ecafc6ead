package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/problem"
)

type statusBody struct {
	Body struct {
		Status  string `json:"status" enum:"ready"`
		Version string `json:"version"`
	}
}

type statsBody struct{ Body Stats }

func (a *api) status() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/status", Summary: "Whether the process is ready", Tags: []string{"operation"}, Errors: []int{503}},
		func(c *call, _ *struct{}) (*statusBody, error) {
			if err := a.Ready(); err != nil {
				return nil, huma.ErrorWithHeaders(problem.New(http.StatusServiceUnavailable, "not ready: %v", err), http.Header{"Retry-After": {"1"}})
			}
			out := &statusBody{}
			out.Body.Status, out.Body.Version = "ready", a.Version
			return out, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/stats", Summary: "Counters since start, and the log's consumers' lag", Tags: []string{"operation"}},
		func(*call, *struct{}) (*statsBody, error) { return &statsBody{a.Stats()}, nil })
}
