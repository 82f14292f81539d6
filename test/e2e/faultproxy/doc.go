// Package faultproxy is an HTTP proxy that breaks requests as it is told while it runs. It stands in
// a cluster between services, so that a specification can make one of them fail for another without
// touching either.
//
// Proxy forwards what comes in by its routes and applies the first rule that matches a request. Each
// request is remembered, with its idempotency key and whether it reached the service behind, so that
// a specification can count what was really asked. Control serves the rules and the requests over
// HTTP; Client is its other side.
//
// Rules match by what a request holds, the id of one remediation say, so that specifications that
// run at the same time do not disturb each other.
package faultproxy
