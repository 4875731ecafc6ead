// Package api is the control room's HTTP side: the API of /api/v1, /status, /metrics, its
// description at /openapi.json and /docs, and the handler that puts API, feed and page behind one
// guard. Every refusal is problem+json (RFC 9457); lists are wrapped and page by an opaque cursor.
//
// What the API shows comes from interfaces that the caller fills: where one is nil, its routes
// answer 501. Operations are described with huma, which writes the OpenAPI 3.1 document and checks
// parameters against it.
package api
