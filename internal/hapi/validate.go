package hapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"
	nethttpmiddleware "github.com/oapi-codegen/nethttp-middleware"

	"kubernaut.ai/kubernaut/internal/hapi/wire"
	"kubernaut.ai/kubernaut/internal/incident"
)

// identify gives the request its id: the caller's own where it can be logged as it is, else a new
// one. The id is echoed.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-ID")
		if !printable(id, 128) {
			id = uuid.NewString()
		}
		w.Header().Set("X-Request-ID", id)
		next.ServeHTTP(w, r.WithContext(incident.WithRequest(r.Context(), incident.Request{ID: id})))
	})
}

// printable reports whether s has 1 to most bytes, all visible ASCII.
func printable(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// readBody reads the body of a request to analyze once, bounded, checks that it is JSON and hashes it.
func (s *Server) readBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || (r.URL.Path != PathIncident && r.URL.Path != PathRecovery) {
			next.ServeHTTP(w, r)
			return
		}
		if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
			invalid([]wire.Fault{{Field: "header:Content-Type", Detail: "must be application/json"}}).write(w, r)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.o.MaxBodyBytes))
		var over *http.MaxBytesError
		switch {
		case errors.As(err, &over):
			problem{problemKind: tooLarge, detail: fmt.Sprintf("The body has more than %d bytes.", over.Limit)}.write(w, r)
			return
		case err != nil:
			invalid([]wire.Fault{{Detail: "the body ended before it was complete"}}).write(w, r)
			return
		case !json.Valid(body):
			invalid([]wire.Fault{{Detail: notJSON(body)}}).write(w, r)
			return
		}
		sum := sha256.Sum256(body)
		request := incident.RequestOf(r.Context())
		request.Hash = hex.EncodeToString(sum[:])
		r = r.WithContext(incident.WithRequest(r.Context(), request))
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// notJSON says where a body stops being JSON without quoting it.
func notJSON(body []byte) string {
	var v json.RawMessage
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal(body, &v), &syntax) && len(body) > 0 {
		return fmt.Sprintf("is not valid JSON at byte %d", syntax.Offset)
	}
	return "is empty; a JSON object is required"
}

// validator checks requests against the document.
func validator(spec *openapi3.T) func(http.Handler) http.Handler {
	spec.Servers = nil // this service does not know under which names it is reached
	return nethttpmiddleware.OapiRequestValidatorWithOptions(spec, &nethttpmiddleware.Options{
		Options:              openapi3filter.Options{MultiError: true, SkipSettingDefaults: true},
		ErrorHandlerWithOpts: refused,
		// The handlers decode the bytes again: binding the validated value would keep unknown fields in memory.
		DiscardValidatedValue: true,
	})
}

// refused answers a request that the validator did not let through.
func refused(_ context.Context, err error, w http.ResponseWriter, r *http.Request, o nethttpmiddleware.ErrorHandlerOpts) {
	switch {
	case errors.Is(err, routers.ErrMethodNotAllowed):
		allow := http.MethodGet
		if r.URL.Path == PathIncident || r.URL.Path == PathRecovery {
			allow = http.MethodPost
		}
		w.Header().Set("Allow", allow)
		problem{problemKind: wrongMethod, detail: "This path takes " + allow + " only."}.write(w, r)
	case o.MatchedRoute == nil:
		problem{problemKind: notFound, detail: "There is nothing at this path."}.write(w, r)
	default:
		invalid(faultsOf(nil, "", err)).write(w, r)
	}
}

// badRequest answers a request that passed the document and still cannot be decoded.
func (s *Server) badRequest(w http.ResponseWriter, r *http.Request, err error) {
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := "/" + strings.ReplaceAll(mismatch.Field, ".", "/")
		invalid([]wire.Fault{{Field: field, Detail: "is out of range, or of the wrong type"}}).write(w, r)
		return
	}
	invalid([]wire.Fault{{Detail: "a header or the body cannot be decoded"}}).write(w, r)
}

func invalid(faults []wire.Fault) problem {
	return problem{problemKind: badRequest, detail: faultsText(faults), faults: faults}
}

// maxFaults bounds the answer to a request that is all wrong.
const maxFaults = 100

// faultsOf appends the faults that err is made of. The validator's own text for an error repeats
// what was received; the reason of a schema's error does not.
func faultsOf(faults []wire.Fault, field string, err error) []wire.Fault {
	if len(faults) >= maxFaults {
		return faults
	}
	switch e := err.(type) { //nolint:errorlint // a tree is walked: each node itself matters, not what it wraps
	case openapi3.MultiError:
		for _, one := range e {
			faults = faultsOf(faults, field, one)
		}
		return faults
	case *openapi3filter.RequestError:
		if e.Parameter != nil {
			field = e.Parameter.In + ":" + e.Parameter.Name
		}
		if e.Err != nil {
			return faultsOf(faults, field, e.Err)
		}
		return append(faults, wire.Fault{Field: field, Detail: "does not match the API"})
	case *openapi3.SchemaError:
		pointer := field
		for _, key := range e.JSONPointer() {
			pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		}
		if len(pointer) > 256 {
			pointer = strings.ToValidUTF8(pointer[:256], "") + "…"
		}
		return append(faults, wire.Fault{Field: pointer, Detail: e.Reason})
	}
	if inner := errors.Unwrap(err); inner != nil {
		return faultsOf(faults, field, inner)
	}
	if errors.Is(err, openapi3filter.ErrInvalidRequired) {
		return append(faults, wire.Fault{Field: field, Detail: "is required"})
	}
	return append(faults, wire.Fault{Field: field, Detail: "does not match the API"})
}
