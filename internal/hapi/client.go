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
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/hapi/wire"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Bounds of what a client reads.
const (
	maxAnswer  = 16 << 20
	maxProblem = 64 << 10
	// maxProblemText bounds what an error repeats of a server's words.
	maxProblemText = 1 << 10
	// maxRetryAfter is more than any caller waits, and far from overflow.
	maxRetryAfter = 24 * time.Hour
)

// Client calls an investigation service. It is safe for concurrent use.
type Client struct {
	api *wire.Client
}

// NewClient returns a client of the service at baseURL, an http or https URL. With a nil hc it uses
// one of its own. Deadlines come from the context of each call and from hc.
func NewClient(baseURL string, hc *http.Client) (*Client, error) {
	const op = "new investigation client"
	u, err := url.Parse(baseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, incident.Errorf(incident.KindInvalid, op, "base URL %q is not an http or https URL", baseURL)
	}
	if hc == nil {
		hc = &http.Client{}
	}
	// A redirect of a POST would be followed by a GET, or would carry the incident elsewhere.
	own := *hc
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	api, err := wire.NewClient(strings.TrimRight(baseURL, "/"), wire.WithHTTPClient(&own))
	if err != nil {
		return nil, incident.Errorf(incident.KindInvalid, op, "%w", err)
	}
	return &Client{api: api}, nil
}

// Investigate has in investigated: by the recovery endpoint when in.Recovery is set, else by the
// incident endpoint. A non-empty key is sent as Idempotency-Key: calls with one key share one
// investigation, so that repeating a call that was cut off is free.
//
// Errors are *incident.Error. A status other than 200 gives the kind by its meaning, with Status and
// RetryAfter; a connection that fails or is cut, also in the middle of the answer, is KindNetwork, or
// KindTimeout when ctx or the client's own time is over; an answer that came whole and breaks the
// contract is KindMalformed.
func (c *Client) Investigate(ctx context.Context, key string, in incident.Incident) (incident.Investigation, error) {
	if in.Recovery != nil {
		const op = "investigate recovery"
		params := &wire.AnalyzeRecoveryParams{IdempotencyKey: optional(key)}
		resp, err := c.api.AnalyzeRecovery(ctx, params, recoveryRequest(in))
		var r wire.RecoveryResponse
		if err := receive(ctx, op, resp, err, &r, "incident_id", "can_recover", "analysis_confidence"); err != nil {
			return incident.Investigation{}, err
		}
		return translated(op)(recoveredOf(&r))
	}
	const op = "investigate incident"
	params := &wire.AnalyzeIncidentParams{IdempotencyKey: optional(key)}
	resp, err := c.api.AnalyzeIncident(ctx, params, incidentRequest(in))
	var r wire.IncidentResponse
	if err := receive(ctx, op, resp, err, &r, "incident_id", "analysis", "root_cause_analysis", "confidence", "timestamp"); err != nil {
		return incident.Investigation{}, err
	}
	return translated(op)(investigationOf(&r))
}

// RequestHash returns the lower-case hex SHA-256 of the body that Investigate sends for in: what
// names the request in the audit trail of either side.
func RequestHash(in incident.Incident) string {
	var request any = incidentRequest(in)
	if in.Recovery != nil {
		request = recoveryRequest(in)
	}
	body, err := json.Marshal(request)
	if err != nil { // strings and finite numbers always encode
		return ""
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Ready returns nil when the service says that it can investigate now, else an *incident.Error.
func (c *Client) Ready(ctx context.Context) error {
	const op = "investigation service readiness"
	resp, err := c.api.GetReady(ctx)
	if err != nil {
		return transportError(ctx, op, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // what is missing is only missing from the message
	var r wire.Readiness
	if json.Unmarshal(body, &r) == nil && r.Status != "" {
		var down []string
		for name, d := range r.Dependencies {
			if d.Status != wire.Up {
				down = append(down, name)
			}
		}
		slices.Sort(down)
		e := incident.Errorf(incident.KindUnavailable, op, "it says %q; down: %s", clip(string(r.Status)), clip(strings.Join(down, ", ")))
		e.Status = resp.StatusCode
		return e
	}
	return statusError(op, resp, body)
}

// translated turns what is wrong with an answer into an *incident.Error.
func translated(op string) func(incident.Investigation, error) (incident.Investigation, error) {
	return func(inv incident.Investigation, err error) (incident.Investigation, error) {
		if err != nil {
			return incident.Investigation{}, malformed(op, "%w", err)
		}
		return inv, nil
	}
}

func malformed(op, format string, args ...any) *incident.Error {
	e := incident.Errorf(incident.KindMalformed, op, "the answer breaks the contract: "+format, args...)
	e.Status = http.StatusOK
	return e
}

// receive reads the answer to a call into v. The keys are those that must be there.
func receive(ctx context.Context, op string, resp *http.Response, err error, v any, required ...string) error {
	if err != nil {
		return transportError(ctx, op, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // the status says enough
		return statusError(op, resp, body)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return transportError(ctx, op, fmt.Errorf("the answer was cut off after %d bytes: %w", len(body), err))
	case len(body) > maxAnswer:
		return malformed(op, "it has more than %d bytes", maxAnswer)
	}
	if mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return malformed(op, "its content type is %q, not application/json", clip(resp.Header.Get("Content-Type")))
	}
	var present map[string]json.RawMessage
	if err := json.Unmarshal(body, &present); err != nil {
		return malformed(op, "%w", err)
	}
	var missing []string
	for _, key := range required {
		if raw, ok := present[key]; !ok || string(raw) == "null" {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		return malformed(op, "missing: %s", strings.Join(missing, ", "))
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // a parameter that is a number stays as it was written
	if err := decoder.Decode(v); err != nil {
		return malformed(op, "%w", err)
	}
	return nil
}

// transportError translates an error of the connection.
func transportError(ctx context.Context, op string, err error) *incident.Error {
	kind := incident.KindNetwork
	var timeout net.Error
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		(errors.As(err, &timeout) && timeout.Timeout()) {
		kind = incident.KindTimeout
	}
	return incident.Errorf(kind, op, "%w", err)
}

// statusError translates an answer that is no success.
func statusError(op string, resp *http.Response, body []byte) *incident.Error {
	kind, ok := kindOfStatus(resp.StatusCode)
	if !ok {
		e := incident.Errorf(incident.KindMalformed, op, "a status that the contract does not know")
		e.Status = resp.StatusCode
		return e
	}
	text := strings.TrimSpace(string(body))
	var p wire.Problem
	if json.Unmarshal(body, &p) == nil && p.Detail != "" {
		text = p.Detail
	}
	if text == "" {
		text = http.StatusText(resp.StatusCode)
	}
	e := incident.Errorf(kind, op, "%s", clip(text))
	e.Status, e.RetryAfter = resp.StatusCode, retryAfterOf(resp.Header)
	return e
}

// retryAfterOf reads Retry-After, which is a number of seconds or a date; 0 when it is neither.
func retryAfterOf(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	// By the server's clock, which set both.
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// clip bounds foreign text in an error, and keeps it on one line.
func clip(s string) string {
	if len(s) > maxProblemText {
		s = s[:maxProblemText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
