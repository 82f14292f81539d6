package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	maxBody     = 64 << 20 // of a request or an answer
	keptBody    = 64 << 10 // of a request that is remembered
	maxRequests = 20_000   // that are remembered
)

// Proxy applies rules to what passes through it. Its methods may be called at the same time.
type Proxy struct {
	log       *slog.Logger
	transport http.RoundTripper

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when anything below changes
	rules    []*active     // in the order in which they were put
	requests []*Request
	seq      int
}

// active is a rule that is in force.
type active struct {
	Rule
	matched int           // requests that it matched, with those it let pass
	hits    int           // requests that it was applied to
	gone    chan struct{} // closed when the rule is deleted or replaced
}

// New returns a proxy without rules.
func New(log *slog.Logger) *Proxy {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true // what the service sends is what the client gets
	t.MaxIdleConnsPerHost = 64
	return &Proxy{log: log, transport: t, changed: make(chan struct{})}
}

// Route returns the handler of the requests to one service.
func (p *Proxy) Route(name, upstream string) (http.Handler, error) {
	base, err := url.Parse(upstream)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("route %s: %q is not a URL such as http://service:8080", name, upstream)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, name, base) }), nil
}

// notify wakes those who wait. The lock is held.
func (p *Proxy) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// admit remembers a request and returns the rule that applies to it, nil when none does.
func (p *Proxy) admit(r *http.Request, route string, body []byte) (*Request, *active) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	req := &Request{
		Seq: p.seq, At: time.Now().UTC(), Route: route, Method: r.Method, Path: r.URL.Path,
		Key: r.Header.Get("Idempotency-Key"), Body: string(body[:min(len(body), keptBody)]),
	}
	if len(p.requests) == maxRequests {
		p.requests = p.requests[1:]
	}
	p.requests = append(p.requests, req)
	defer p.notify()
	for _, a := range p.rules {
		if !a.matches(route, r.Method, r.URL.Path, body) {
			continue
		}
		a.matched++
		if a.matched <= a.Skip || a.Times > 0 && a.hits >= a.Times {
			continue
		}
		a.hits++
		req.Rule = a.ID
		return req, a
	}
	return req, nil
}

func (p *Proxy) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.notify()
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, route string, base *url.URL) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "read the request: "+err.Error(), http.StatusBadRequest)
		return
	}
	req, rule := p.admit(r, route, body)
	defer p.update(func() { req.Done = true })
	status := func(code int) { p.update(func() { req.Status = code }) }

	if rule == nil {
		rule = &active{}
	}
	switch {
	case rule.Kind == Respond:
		for name, value := range rule.Headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(rule.Status)
		_, _ = io.WriteString(w, rule.Body)
		status(rule.Status)
		return
	case rule.Kind == Reset && !rule.After:
		reset(w)
	case !rule.After && !rule.pause(r.Context()):
		return // the client is gone
	}
	if rule.Kind == Redirect {
		base, _ = url.Parse(rule.Upstream) // checked when the rule was put
	}
	p.update(func() { req.Forwarded = true })
	answer, content, err := p.forward(r, base, body)
	if err != nil {
		p.log.Warn("the service does not answer", "route", route, "path", r.URL.Path, "error", err)
		reset(w) // as if the proxy were not there
	}
	p.update(func() {
		req.UpstreamStatus = answer.StatusCode
		req.Replayed = answer.Header.Get("Idempotency-Replayed") == "true"
	})
	switch {
	case rule.Kind == Reset:
		reset(w)
	case rule.After && !rule.pause(r.Context()):
		return
	}
	for name, values := range answer.Header {
		if name != "Connection" && name != "Transfer-Encoding" && name != "Keep-Alive" {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	w.WriteHeader(answer.StatusCode)
	if rule.Kind == Truncate {
		_, _ = w.Write(content[:len(content)/2]) //nolint:gosec // a proxy sends on what it was sent
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if _, err := w.Write(content); err == nil { //nolint:gosec // a proxy sends on what it was sent
		status(answer.StatusCode)
	}
}

// pause does what Hold and Delay ask for. It reports false when the client is gone.
func (a *active) pause(ctx context.Context) bool {
	var until <-chan time.Time
	switch a.Kind {
	case Hold:
	case Delay:
		timer := time.NewTimer(time.Duration(a.Delay))
		defer timer.Stop()
		until = timer.C
	default:
		return true
	}
	select {
	case <-a.gone:
	case <-until:
	case <-ctx.Done():
		return false
	}
	return true
}

// forward asks the service and returns its whole answer.
func (p *Proxy) forward(r *http.Request, base *url.URL, body []byte) (*http.Response, []byte, error) {
	target := *r.URL
	target.Scheme, target.Host = base.Scheme, base.Host
	target.Path = strings.TrimSuffix(base.Path, "/") + r.URL.Path
	// Not with the client's context: a service that was asked goes on, whoever waits for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Minute)
	defer cancel()
	out, err := http.NewRequestWithContext(ctx, r.Method, target.String(), bytes.NewReader(body)) //nolint:gosec // the host is the route's
	if err != nil {
		return nil, nil, err
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Connection")
	answer, err := p.transport.RoundTrip(out)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	if err == nil && len(content) > maxBody {
		err = errors.New("the answer is too long")
	}
	return answer, content, err
}

// reset breaks the client's connection off without an answer, and ends the handler.
func reset(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// put brings a rule into force, in the place of the one with its id.
func (p *Proxy) put(r Rule) {
	p.update(func() {
		fresh := &active{Rule: r, gone: make(chan struct{})}
		for i, a := range p.rules {
			if a.ID == r.ID {
				close(a.gone)
				p.rules[i] = fresh
				return
			}
		}
		p.rules = append(p.rules, fresh)
	})
}

// remove ends the rule of an id, or all with "". It reports whether there was one.
func (p *Proxy) remove(id string) (found bool) {
	p.update(func() {
		var kept []*active
		for _, a := range p.rules {
			if id != "" && a.ID != id {
				kept = append(kept, a)
				continue
			}
			found = true
			close(a.gone)
		}
		p.rules = kept
	})
	return found
}

// await waits until ok, which is called with the lock held, or ctx ends.
func (p *Proxy) await(ctx context.Context, ok func() bool) error {
	for {
		p.mu.Lock()
		done, changed := ok(), p.changed
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
