package hapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/hapi/wire"
	"kubernaut.ai/kubernaut/internal/incident"
)

const problemBase = "https://kubernaut.ai/problems/"

// problemKind is one row of the table of problems.
type problemKind struct {
	status int
	slug   string
	title  string
}

var (
	badRequest     = problemKind{http.StatusBadRequest, "validation-error", "Bad Request"}
	notFound       = problemKind{http.StatusNotFound, "not-found", "Not Found"}
	wrongMethod    = problemKind{http.StatusMethodNotAllowed, "method-not-allowed", "Method Not Allowed"}
	tooLarge       = problemKind{http.StatusRequestEntityTooLarge, "payload-too-large", "Payload Too Large"}
	keyReused      = problemKind{http.StatusUnprocessableEntity, "idempotency-key-reused", "Idempotency Key Reused"}
	tooMany        = problemKind{http.StatusTooManyRequests, "too-many-requests", "Too Many Requests"}
	internalError  = problemKind{http.StatusInternalServerError, "internal-error", "Error"}
	badGateway     = problemKind{http.StatusBadGateway, "bad-gateway", "Bad Gateway"}
	unavailable    = problemKind{http.StatusServiceUnavailable, "service-unavailable", "Service Unavailable"}
	gatewayTimeout = problemKind{http.StatusGatewayTimeout, "gateway-timeout", "Gateway Timeout"}
)

// problemOf maps the kind of an error that an investigation ended with to its problem. Only what is
// about the request itself is a 4xx: a caller takes a 4xx as final, and what a dependency refuses to
// this service is no fault of the caller's.
func problemOf(kind incident.ErrorKind) problemKind {
	switch kind {
	case incident.KindInvalid:
		return badRequest
	case incident.KindTooLarge:
		return tooLarge
	case incident.KindConflict:
		return keyReused
	case incident.KindRateLimited:
		return tooMany
	case incident.KindUnavailable:
		return unavailable
	case incident.KindTimeout:
		return gatewayTimeout
	case incident.KindNetwork, incident.KindMalformed,
		incident.KindUnauthorized, incident.KindForbidden, incident.KindNotFound:
		return badGateway
	}
	return internalError
}

// kindOfStatus is the reverse of problemOf, for the client. It covers statuses that this service
// does not send too, since proxies do. ok is false for a status that no answer should have.
func kindOfStatus(status int) (kind incident.ErrorKind, ok bool) {
	switch status {
	case http.StatusUnauthorized:
		return incident.KindUnauthorized, true
	case http.StatusForbidden:
		return incident.KindForbidden, true
	case http.StatusNotFound:
		return incident.KindNotFound, true
	case http.StatusConflict:
		return incident.KindConflict, true
	case http.StatusRequestEntityTooLarge:
		return incident.KindTooLarge, true
	case http.StatusTooManyRequests:
		return incident.KindRateLimited, true
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return incident.KindTimeout, true
	case http.StatusTooEarly:
		return incident.KindUnavailable, true
	}
	switch {
	case status >= 500 && status <= 599:
		return incident.KindUnavailable, true
	case status >= 400 && status <= 499:
		return incident.KindInvalid, true
	}
	return "", false
}

// problem is a failure on its way to the caller.
type problem struct {
	problemKind
	detail     string
	faults     []wire.Fault
	retryAfter time.Duration
}

// problemFor tells the caller about err. The text of an error that is not of the domain stays in the
// log: nobody wrote it for a caller to read.
func problemFor(err error) problem {
	kind := incident.KindOf(err)
	p := problem{problemKind: problemOf(kind)}
	var e *incident.Error
	switch {
	case errors.As(err, &e) && kind != incident.KindInternal:
		p.detail, p.retryAfter = e.Error(), e.RetryAfter
	case kind == incident.KindTimeout:
		p.detail = "The investigation did not end in time."
	default:
		p.detail = "The investigation failed; the log of the service has the reason under the request id."
	}
	return p
}

// write sends p as the answer to r.
func (p problem) write(w http.ResponseWriter, r *http.Request) {
	body, err := json.Marshal(wire.Problem{
		Type: problemBase + p.slug, Title: p.title, Status: p.status, Detail: p.detail,
		Instance: r.URL.Path, RequestID: incident.RequestOf(r.Context()).ID, Errors: p.faults,
	})
	if err != nil { // it holds strings only
		body = []byte(`{}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(p.retryAfter.Seconds())), 10))
	}
	if rec, ok := w.(*recorder); ok {
		rec.problem = p.slug
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(append(body, '\n')) // a caller that is gone gets nothing
}

// faultsText joins faults to one sentence for Problem.Detail.
func faultsText(faults []wire.Fault) string {
	parts := make([]string, len(faults))
	for i, f := range faults {
		parts[i] = f.Field + ": " + f.Detail
	}
	return strings.Join(parts, "; ")
}
