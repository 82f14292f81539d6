// Package post sends one JSON request to a vendor of language models and translates what goes wrong into
// errors of the domain. It does not retry, follows no redirect, and shows no key in any error.
package post

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 4 << 20

// Client reaches one vendor. It is safe for concurrent use.
type Client struct {
	HTTP   *http.Client      // CheckRedirect should be [NoRedirect]: a redirect would take the key elsewhere
	URL    string            // of the one endpoint
	Header map[string]string // sent with each request
	Secret string            // the key, which is cut out of errors; empty when there is none
	Op     string            // for errors, for example "ask openai"
}

// NoRedirect is the CheckRedirect of an http.Client that follows none.
func NoRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Fault is what a vendor says of a request that it refuses, as both protocols write it.
type Fault struct {
	Message string `json:"message"`
	Type    string `json:"type"`
	Param   string `json:"param"`
	Code    any    `json:"code"` // text or a number
}

// Refused is the cause of an error whose request the vendor answered with a fault.
type Refused struct {
	Fault Fault
	text  string
}

func (r *Refused) Error() string { return r.text }

// JSON posts a value and reads the answer into another. The error is an *incident.Error of the kinds that
// reason.Model names; where the vendor said why, a *Refused is in its tree.
func (c *Client) JSON(ctx context.Context, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return incident.Errorf(incident.KindInternal, c.Op, "%w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return incident.Errorf(incident.KindInvalid, c.Op, "%w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	for name, value := range c.Header {
		req.Header.Set(name, value)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return c.unreached(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // read as far as is wanted
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return c.unreached(ctx, err)
	case err != nil:
		return incident.Errorf(incident.KindMalformed, c.Op, "the answer was cut off after %d bytes: %s", len(text), c.clean(err.Error()))
	case len(text) > maxAnswer:
		return incident.Errorf(incident.KindMalformed, c.Op, "the answer is longer than %d bytes", maxAnswer)
	case resp.StatusCode != http.StatusOK:
		return c.refused(resp, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return incident.Errorf(incident.KindMalformed, c.Op, "the answer is not the JSON that was expected: %s", c.clean(err.Error()))
	}
	return nil
}

func (c *Client) unreached(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return incident.Errorf(incident.KindTimeout, c.Op, "no answer in time: %w", context.DeadlineExceeded)
	}
	if ctx.Err() != nil {
		return incident.Errorf(incident.KindTimeout, c.Op, "%w", ctx.Err())
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return incident.Errorf(incident.KindTimeout, c.Op, "%s", c.clean(err.Error()))
	}
	return incident.Errorf(incident.KindNetwork, c.Op, "%s", c.clean(err.Error()))
}

// refused translates an answer that is no 200.
func (c *Client) refused(resp *http.Response, text []byte) error {
	var said struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	var fault Fault
	_ = json.Unmarshal(text, &said) // a gateway's page is no JSON: then the text itself is quoted
	if json.Unmarshal(said.Error, &fault) != nil {
		_ = json.Unmarshal(said.Error, &fault.Message)
	}
	if fault.Message == "" {
		fault.Message = said.Message
	}
	shown := fault.Message
	if shown == "" {
		shown = string(text)
	}
	shown = c.clean(shown)
	if shown == "" {
		shown = "no reason given"
	}
	code, _ := fault.Code.(string)
	kind, hint := kindOf(resp.StatusCode, code, fault.Type, shown)
	e := incident.Errorf(kind, c.Op, "%w", &Refused{fault, shown + hint})
	e.Status = resp.StatusCode
	if kind.Retryable() {
		e.RetryAfter = retryAfter(resp.Header, time.Now())
	}
	return e
}

// kindOf tells what a refusal means. Texts are looked at only where vendors have no code for a conversation
// that is too long.
func kindOf(status int, code, typ, text string) (kind incident.ErrorKind, hint string) {
	lower := strings.ToLower(text)
	switch {
	case status >= 300 && status < 400:
		return incident.KindInvalid, "; the endpoint redirects, which is not followed: configure the address it leads to"
	case code == "context_length_exceeded", status == http.StatusRequestEntityTooLarge,
		status == http.StatusBadRequest && (strings.Contains(lower, "context length") || strings.Contains(lower, "prompt is too long") || strings.Contains(lower, "context window")):
		return incident.KindTooLarge, ""
	case code == "insufficient_quota", typ == "insufficient_quota", typ == "billing_error", status == http.StatusPaymentRequired:
		return incident.KindForbidden, "; the account has nothing left to spend"
	case code == "content_filter":
		return incident.KindForbidden, "; the vendor's filter refuses the text"
	case status == http.StatusUnauthorized:
		return incident.KindUnauthorized, "; check the key"
	case status == http.StatusForbidden:
		return incident.KindForbidden, "; check what the key may use"
	case status == http.StatusNotFound:
		return incident.KindInvalid, "; check the endpoint and the model's name"
	case status == http.StatusTooManyRequests:
		return incident.KindRateLimited, ""
	case status == http.StatusRequestTimeout:
		return incident.KindTimeout, ""
	case status == http.StatusConflict, status == http.StatusTooEarly, status >= 500:
		return incident.KindUnavailable, ""
	}
	return incident.KindInvalid, ""
}

// maxRetryAfter bounds what a vendor may ask for.
const maxRetryAfter = 10 * time.Minute

// retryAfter reads how long a vendor wants to be left alone; 0 when it does not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	var d time.Duration
	switch {
	case h.Get("Retry-After-Ms") != "":
		ms, _ := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64)
		d = time.Duration(ms * float64(time.Millisecond))
	case h.Get("Retry-After") != "":
		if s, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil {
			d = time.Duration(s * float64(time.Second))
		} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
			d = at.Sub(now)
		}
	default:
		for _, name := range []string{"X-Ratelimit-Reset-Requests", "X-Ratelimit-Reset-Tokens"} {
			if v, err := time.ParseDuration(h.Get(name)); err == nil {
				d = max(d, v)
			}
		}
	}
	return min(max(d, 0), maxRetryAfter)
}

// maxShown bounds what an error quotes, in runes.
const maxShown = 300

// clean makes foreign text fit for an error: one line, short, without the key.
func (c *Client) clean(text string) string {
	if c.Secret != "" {
		text = strings.ReplaceAll(text, c.Secret, "[key]")
	}
	words := strings.Fields(strings.ToValidUTF8(text, "�"))
	for i, w := range words { // vendors quote a part of the key that they refuse
		if strings.HasPrefix(strings.TrimLeft(w, `"'(`), "sk-") {
			words[i] = "[key]"
		}
	}
	text = strings.Join(words, " ")
	if r := []rune(text); len(r) > maxShown {
		text = string(r[:maxShown]) + "…"
	}
	return text
}
