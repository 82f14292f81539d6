package dsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	middleware "github.com/oapi-codegen/nethttp-middleware"

	"kubernaut.ai/kubernaut/internal/dsapi/internal/gen"
	"kubernaut.ai/kubernaut/internal/incident"
)

// validator returns the middleware that refuses requests which break the specification. What it
// says of them names fields and rules, and no received value.
func (s *Server) validator() (func(http.Handler) http.Handler, error) {
	spec, err := gen.GetSpec()
	if err != nil {
		return nil, err
	}
	spec.Servers = nil // any host name is ours
	return middleware.OapiRequestValidatorWithOptions(spec, &middleware.Options{
		Options:               openapi3filter.Options{MultiError: true, SkipSettingDefaults: true},
		DiscardValidatedValue: true, // it would replace the numbers in event_data
		Skipper:               skipValidation,
		ErrorHandlerWithOpts: func(_ context.Context, err error, w http.ResponseWriter, r *http.Request, _ middleware.ErrorHandlerOpts) {
			s.refuse(w, r, err)
		},
	}), nil
}

// skipValidation leaves alone a bundle, which is no JSON and has its own check, and a batch: its
// events are checked by the same rules in incident.AuditEvent.Validate, at a tenth of the cost and
// with their index. A test holds the two sets of rules together.
func skipValidation(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/api/v1/bundles/") ||
		r.Method == http.MethodPost && r.URL.Path == batchPath
}

const batchPath = "/api/v1/audit/events/batch"

// refuse answers a request that breaks the specification.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, routers.ErrMethodNotAllowed):
		class := problemClass{status: http.StatusMethodNotAllowed, slug: "method-not-allowed", title: "Method not allowed"}
		writeProblem(w, r, gen.Problem{Type: problemPrefix + class.slug, Title: class.title, Status: class.status})
		return
	case errors.Is(err, routers.ErrPathNotFound):
		s.fail(w, r, incident.Errorf(incident.KindNotFound, "route", "there is nothing at this path"))
		return
	}
	s.fail(w, r, describe(err))
}

// describe turns an error of the validator, or of decoding a request, into one of the domain that
// can be shown.
func describe(err error) error {
	const op = "validate request"
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return incident.Errorf(incident.KindTooLarge, op, "the body must have at most %d bytes", tooLarge.Limit)
	}
	var faults incident.FieldErrors
	collectFaults(err, "", &faults)
	if len(faults) == 0 {
		return incident.Errorf(incident.KindInvalid, op, "the request does not follow the specification of this operation")
	}
	return incident.Errorf(incident.KindInvalid, op, "%w", faults)
}

func collectFaults(err error, field string, faults *incident.FieldErrors) {
	var several openapi3.MultiError
	var request *openapi3filter.RequestError
	var schema *openapi3.SchemaError
	var parse *openapi3filter.ParseError
	switch {
	case isA(err, &several):
		for _, e := range several {
			collectFaults(e, field, faults)
		}
	case isA(err, &request):
		field := "body"
		if request.Parameter != nil {
			field = request.Parameter.Name
		}
		if request.Err == nil || errors.Is(request.Err, openapi3filter.ErrInvalidRequired) {
			rule := "is required"
			if request.Err == nil {
				rule = "must be of content type application/json"
			}
			faults.Add(field, "%s", rule)
			return
		}
		collectFaults(request.Err, field, faults)
	case isA(err, &schema):
		if path := schema.JSONPointer(); len(path) > 0 {
			field = strings.Join(path, ".")
		}
		faults.Add(clean(field), "%s", clean(schema.Reason))
	case isA(err, &parse):
		if field == "body" {
			faults.Add(field, "must be valid JSON")
		} else {
			faults.Add(field, "is not of the right type")
		}
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		faults.Add(field, "must not be empty")
	default:
		faults.Add(field, "cannot be read")
	}
}

// describeDecode is describe for an error of decoding a body.
func describeDecode(r *http.Request, err error) error {
	const op = "decode request"
	field := "body"
	if body, ok := r.Body.(*batchBody); ok {
		if i, own := body.firstBad(); own != nil {
			field, err = fmt.Sprintf("[%d]", i), own
		}
	}
	var tooLarge *http.MaxBytesError
	var wrongType *json.UnmarshalTypeError
	var param *gen.InvalidParamFormatError
	switch {
	case errors.As(err, &tooLarge):
		return describe(err)
	case errors.As(err, &param):
		return incident.Errorf(incident.KindInvalid, op, "%w", incident.FieldErrors{{Field: param.ParamName, Rule: "is not of the right type"}})
	case errors.As(err, &wrongType):
		if wrongType.Field != "" {
			field += "." + wrongType.Field
		}
		field = strings.TrimPrefix(field, "body.")
		return incident.Errorf(incident.KindInvalid, op, "%w", incident.FieldErrors{{
			Field: clean(field), Rule: "must not be a JSON " + strings.Fields(wrongType.Value)[0],
		}})
	}
	return incident.Errorf(incident.KindInvalid, op, "%w", incident.FieldErrors{{Field: field, Rule: "must be valid JSON"}})
}

// batchBody is the body of a batch, kept so that the event that cannot be decoded can be named.
type batchBody struct {
	bytes.Reader
	data []byte
}

func newBatchBody(data []byte) *batchBody {
	b := &batchBody{data: data}
	b.Reset(data)
	return b
}

func (*batchBody) Close() error { return nil }

// firstBad returns the index and the error of the first event that cannot be decoded.
func (b *batchBody) firstBad() (int, error) {
	var events []json.RawMessage
	if json.Unmarshal(b.data, &events) != nil {
		return 0, nil
	}
	for i, text := range events {
		var e gen.AuditEventRequest
		if err := json.Unmarshal(text, &e); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// isA is errors.As for the top of the tree only.
func isA[T error](err error, target *T) bool {
	e, ok := err.(T) //nolint:errorlint // the tree is walked level by level
	if ok {
		*target = e
	}
	return ok
}

// clean bounds a text and makes it printable: a JSON pointer holds keys that the client chose.
func clean(text string) string {
	const most = 300
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
