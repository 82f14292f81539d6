package dsapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"kubernaut.ai/kubernaut/internal/dsapi/internal/gen"
	"kubernaut.ai/kubernaut/internal/incident"
)

const problemPrefix = "https://kubernaut.ai/problems/"

// problemClass is how a kind of error is told on the wire.
type problemClass struct {
	kind   incident.ErrorKind
	status int
	slug   string
	title  string
	// detail replaces the error's text where that can hold details of the database.
	detail string
}

// problemClasses is the one table between kinds and statuses, for the server and the client. Of the
// rows with a status the first is what the client makes of it.
var problemClasses = []problemClass{
	{incident.KindInvalid, http.StatusBadRequest, "validation-error", "Invalid request", ""},
	{incident.KindUnauthorized, http.StatusUnauthorized, "unauthorized", "Not authenticated", ""},
	{incident.KindForbidden, http.StatusForbidden, "forbidden", "Not allowed", ""},
	{incident.KindNotFound, http.StatusNotFound, "not-found", "Not found", ""},
	{incident.KindInvalid, http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed", ""},
	{incident.KindConflict, http.StatusConflict, "conflict", "Conflict", ""},
	{incident.KindTooLarge, http.StatusRequestEntityTooLarge, "payload-too-large", "Request too large", ""},
	{incident.KindRateLimited, http.StatusTooManyRequests, "rate-limited", "Too many requests", ""},
	{incident.KindUnavailable, http.StatusServiceUnavailable, "service-unavailable", "Service unavailable", "The database cannot be used now. Try again later."},
	{incident.KindNetwork, http.StatusBadGateway, "service-unavailable", "Service unavailable", "The database cannot be reached now. Try again later."},
	{incident.KindTimeout, http.StatusGatewayTimeout, "timeout", "Timed out", "The request took too long. Try again later."},
	{incident.KindInternal, http.StatusInternalServerError, "internal-error", "Internal error", "The request failed for a reason that is in the server's log."},
}

func classOf(kind incident.ErrorKind) problemClass {
	for _, c := range problemClasses {
		if c.kind == kind {
			return c
		}
	}
	return problemClasses[len(problemClasses)-1]
}

func kindOfStatus(status int) incident.ErrorKind {
	for _, c := range problemClasses {
		if c.status == status {
			return c.kind
		}
	}
	switch {
	case status >= 500:
		return incident.KindUnavailable
	case status >= 400:
		return incident.KindInvalid
	}
	return incident.KindMalformed
}

// newProblem tells err to the client. Faults of fields are told one by one.
func newProblem(err error) gen.Problem {
	class := classOf(incident.KindOf(err))
	p := gen.Problem{Type: problemPrefix + class.slug, Title: class.title, Status: class.status}
	detail := class.detail
	var known *incident.Error
	if detail == "" && errors.As(err, &known) {
		detail = known.Err.Error()
	}
	p.Detail = optional(detail)
	if faults, ok := errors.AsType[incident.FieldErrors](err); ok {
		fields := make(map[string]string, len(faults))
		for _, f := range faults {
			if len(fields) == maxFieldErrors {
				break
			}
			if other, ok := fields[f.Field]; ok {
				fields[f.Field] = other + "; " + f.Rule
			} else {
				fields[f.Field] = f.Rule
			}
		}
		p.FieldErrors = &fields
		p.Detail = optional(faults[:min(len(faults), maxDetailFaults)].Error())
	}
	return p
}

const (
	maxFieldErrors  = 100
	maxDetailFaults = 10
)

// writeProblem answers with p.
func writeProblem(w http.ResponseWriter, r *http.Request, p gen.Problem) {
	p.Instance = &r.URL.Path
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// fail answers with err, and logs what the answer keeps back.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := newProblem(err)
	switch {
	case r.Context().Err() != nil:
		s.log.Debug("Request ended early", "method", r.Method, "path", r.URL.Path, "error", err)
	case p.Status >= http.StatusInternalServerError:
		s.log.LogAttrs(r.Context(), slog.LevelError, "Request failed",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", p.Status), slog.Any("error", err))
	}
	s.metrics.invalid(err)
	writeProblem(w, r, p)
}

// optional returns nil for the zero value.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// value returns the zero value for nil.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
