// Package hapi is the protocol of the investigation service: the server's handlers and the client
// of the HTTP API that api/openapi/holmesgpt-api.yaml describes.
//
// [Server] answers over an [Investigator]. Requests that carry an idempotency key share one
// investigation: whoever comes while it runs waits for it, whoever comes later is given the same
// bytes again, also after a restart, because finished answers are kept on disk. A caller that goes
// away does not end such an investigation. Failures are not kept, so that trying again means
// investigating again.
//
// Errors are problem documents; one table (problem.go) gives each kind of error its status.
package hapi
