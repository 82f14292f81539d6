package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Endpoint is a URL of a service, and what a service that works answers there.
type Endpoint struct {
	Name, URL string
	// Fits says what of the body of an answer with status 200 is not as it must be. Nil: any body will do.
	Fits func(body string) error
}

// Controller returns the endpoints of the controller, given the base URLs of its probes and of its metrics.
func Controller(health, metrics string) []Endpoint {
	return []Endpoint{
		{"controller liveness", health + "/healthz", nil},
		{"controller readiness", health + "/readyz?verbose", everyCheckPasses},
		{"controller metrics", metrics + "/metrics", hasMetrics},
	}
}

// HAPI returns the endpoints of HolmesGPT API, given its base URL.
func HAPI(base string) []Endpoint {
	return []Endpoint{
		{"HolmesGPT API health", base + "/health", hasStatus("healthy")},
		{"HolmesGPT API readiness", base + "/ready", hasStatus("ready")},
		{"HolmesGPT API metrics", base + "/metrics", hasMetrics},
	}
}

// DataStorage returns the endpoints of Data Storage, given its base URL.
func DataStorage(base string) []Endpoint {
	return []Endpoint{
		{"Data Storage liveness", base + "/health/live", hasStatus("alive")},
		{"Data Storage readiness", base + "/health/ready", hasStatus("ready")},
		{"Data Storage metrics", base + "/metrics", hasMetrics},
	}
}

func everyCheckPasses(body string) error {
	if !strings.Contains(body, "[+]") || strings.Contains(body, "[-]") {
		return errors.New("want every check to pass, one at least")
	}
	return nil
}

func hasMetrics(body string) error {
	if !strings.Contains(body, "\n# TYPE ") && !strings.HasPrefix(body, "# TYPE ") {
		return errors.New("want metrics in the text format of Prometheus")
	}
	return nil
}

func hasStatus(want string) func(string) error {
	return func(body string) error {
		var got struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Status != want {
			return fmt.Errorf("want a JSON object with the status %q", want)
		}
		return nil
	}
}

// HealthOptions say how to ask.
type HealthOptions struct {
	// Client asks; nil: one that keeps no connection. Each request has at most Timeout; zero: 5 s.
	Client  *http.Client
	Timeout time.Duration
	// Patience is how long an endpoint may answer badly, since a Service is reachable a little after its pods are
	// available; zero: 30 s. Pause is how long to wait between two requests; zero: 250 ms.
	Patience, Pause time.Duration
	// Log gets a line for each endpoint; nil: nothing.
	Log io.Writer
}

// Health asks all endpoints at once until each has answered as it must, for as long as Patience. The errors of those
// that did not are joined: each is a failure.Typed with the last answer's status and body. One that was answered wrongly
// is the product's; where nothing answered, the way there may be to blame, and the class is unknown.
func Health(ctx context.Context, endpoints []Endpoint, o HealthOptions) error {
	o.Timeout, o.Patience = cmp.Or(o.Timeout, 5*time.Second), cmp.Or(o.Patience, 30*time.Second)
	o.Pause, o.Log = cmp.Or(o.Pause, 250*time.Millisecond), cmp.Or[io.Writer](o.Log, io.Discard)
	if o.Client == nil {
		o.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	errs := make([]error, len(endpoints))
	var all sync.WaitGroup
	for i, e := range endpoints {
		all.Go(func() { errs[i] = e.await(ctx, o) })
	}
	all.Wait()
	for i, e := range endpoints {
		verdict := "ok"
		if errs[i] != nil {
			verdict = errs[i].Error()
		}
		fmt.Fprintf(o.Log, "%s, %s: %s\n", e.Name, e.URL, verdict)
	}
	return errors.Join(errs...)
}

// answer is how an endpoint answered.
type answer struct {
	status int // 0: not at all
	body   string
	err    error
}

func (e Endpoint) await(ctx context.Context, o HealthOptions) error {
	patience, cancel := context.WithTimeout(ctx, o.Patience)
	defer cancel()
	var last answer
	for asked := 1; ; asked++ {
		// A request that ends because the patience does says nothing new.
		if a := e.ask(patience, o); patience.Err() == nil || asked == 1 {
			last = a
		}
		if last.err == nil {
			return nil
		}
		pause := time.NewTimer(o.Pause)
		select {
		case <-pause.C:
		case <-patience.Done():
			pause.Stop()
			if ctx.Err() != nil {
				return fmt.Errorf("%s: %w; the last answer: %w", e.Name, context.Cause(ctx), last.err)
			}
			return e.failed(last, asked)
		}
	}
}

func (e Endpoint) ask(ctx context.Context, o HealthOptions) answer {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL, nil)
	if err != nil {
		return answer{err: err}
	}
	resp, err := o.Client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, logBytes))
	a := answer{resp.StatusCode, string(body), err}
	switch {
	case err != nil:
		a.err = fmt.Errorf("the answer broke off: %w", err)
	case resp.StatusCode != http.StatusOK:
		a.err = errors.New("want status 200")
	case e.Fits != nil:
		a.err = e.Fits(a.body)
	}
	return a
}

func (e Endpoint) failed(last answer, asked int) error {
	f := failure.Finding{Lines: []string{"GET " + e.URL}}
	if last.status == 0 {
		f.Class, f.Summary = failure.Unknown, fmt.Sprintf("%s does not answer: %v", e.Name, last.err)
		f.Fix = "look at the Service, its endpoints and the cluster's port mappings"
	} else {
		f.Class, f.Product = failure.Permanent, true
		f.Summary = fmt.Sprintf("%s answers with status %d: %v", e.Name, last.status, last.err)
		f.Fix = "look at the log of its pods"
		f.Lines = append(f.Lines, fmt.Sprintf("status %d, body:", last.status))
		for line := range strings.Lines(last.body) {
			if len(f.Lines) > 40 {
				f.Lines = append(f.Lines, "  …")
				break
			}
			f.Lines = append(f.Lines, "  "+strings.TrimRight(line, "\r\n"))
		}
	}
	f.Lines = append(f.Lines, fmt.Sprintf("asked %d times", asked))
	return failure.With(errors.New(f.Summary), f)
}
