package faultproxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Kind is what is done to a request.
type Kind string

const (
	// Respond answers in the place of the service, with Status, Headers and Body.
	Respond Kind = "respond"
	// Hold keeps the request until the rule is deleted or replaced, then goes on as if it had not
	// been there.
	Hold Kind = "hold"
	// Delay keeps the request for Delay.
	Delay Kind = "delay"
	// Reset breaks the connection off.
	Reset Kind = "reset"
	// Truncate sends the head of the service's answer and half of its body, then breaks off.
	Truncate Kind = "truncate"
	// Redirect sends the request to Upstream in the place of the route's service.
	Redirect Kind = "redirect"
)

// Rule says which requests are broken, and how. A request matches when every field that is set does.
type Rule struct {
	ID string `json:"id"`

	Route    string `json:"route,omitempty"`
	Method   string `json:"method,omitempty"`
	Path     string `json:"path,omitempty"`     // a prefix
	Contains string `json:"contains,omitempty"` // a part of the body

	// Skip lets that many matching requests pass first; Times then bounds how many the rule is
	// applied to, 0 being no bound.
	Skip  int `json:"skip,omitempty"`
	Times int `json:"times,omitempty"`

	Kind Kind `json:"kind"`
	// After has Hold, Delay and Reset done once the service has answered, before the answer is sent on.
	After    bool              `json:"after,omitempty"`
	Status   int               `json:"status,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
	Body     string            `json:"body,omitempty"`
	Delay    Duration          `json:"delay,omitempty"`
	Upstream string            `json:"upstream,omitempty"`
}

// Duration is a time.Duration that is text in JSON, such as "1.5s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Validate returns everything that is wrong with a rule.
func (r Rule) Validate() error {
	var errs []error
	if r.ID == "" || strings.ContainsAny(r.ID, "/ ") {
		errs = append(errs, fmt.Errorf("id %q must be set, without slash and space", r.ID))
	}
	if r.Skip < 0 || r.Times < 0 {
		errs = append(errs, errors.New("skip and times must not be negative"))
	}
	switch r.Kind {
	case Respond:
		if http.StatusText(r.Status) == "" || r.Status < 200 {
			errs = append(errs, fmt.Errorf("status %d is none that an answer can have", r.Status))
		}
	case Delay:
		if r.Delay <= 0 {
			errs = append(errs, errors.New("delay must be positive"))
		}
	case Redirect:
		if u, err := url.Parse(r.Upstream); err != nil || u.Host == "" {
			errs = append(errs, fmt.Errorf("upstream %q is not a URL such as http://service:8080", r.Upstream))
		}
	case Hold, Reset, Truncate:
	default:
		errs = append(errs, fmt.Errorf("kind %q is none of respond, hold, delay, reset, truncate, redirect", r.Kind))
	}
	return errors.Join(errs...)
}

// matches reports whether a request is one of the rule's, its counts aside.
func (r Rule) matches(route, method, path string, body []byte) bool {
	return (r.Route == "" || r.Route == route) &&
		(r.Method == "" || r.Method == method) &&
		strings.HasPrefix(path, r.Path) &&
		(r.Contains == "" || bytes.Contains(body, []byte(r.Contains)))
}

// Request is a request that came in.
type Request struct {
	Seq    int       `json:"seq"` // from 1
	At     time.Time `json:"at"`
	Route  string    `json:"route"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Key    string    `json:"key,omitempty"` // its Idempotency-Key
	Rule   string    `json:"rule,omitempty"`
	// Forwarded says that the service behind was asked, and UpstreamStatus what it answered, 0 when
	// it did not.
	Forwarded      bool `json:"forwarded"`
	UpstreamStatus int  `json:"upstreamStatus,omitempty"`
	Replayed       bool `json:"replayed,omitempty"` // the service said that it had answered this before
	// Status is what the client was sent; 0 when nothing was, or not all.
	Status int    `json:"status,omitempty"`
	Done   bool   `json:"done"`
	Body   string `json:"body,omitempty"` // its first 64 KiB
}

// decodeRule reads a rule strictly.
func decodeRule(body []byte) (Rule, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var r Rule
	if err := dec.Decode(&r); err != nil {
		return Rule{}, err
	}
	return r, r.Validate()
}
