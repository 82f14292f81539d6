package guard_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/guard"
)

// played answers with its errors, one after the other, and then well.
type played struct {
	errs  []error
	tries []time.Duration // when it was asked, from the start
	began time.Time
	max   int
}

func (p *played) Turn(_ context.Context, req reason.Request) (reason.Response, error) {
	p.tries, p.max = append(p.tries, time.Since(p.began)), req.MaxOutput
	if n := len(p.tries); n <= len(p.errs) {
		return reason.Response{}, p.errs[n-1]
	}
	return reason.Response{Text: "ok", Usage: reason.Usage{Input: 10, Cached: 4, Output: 2}}, nil
}

func model(t *testing.T, p *played, retries int) (*guard.Model, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := guard.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	p.began = time.Now()
	return guard.New(guard.Options{Model: p, Provider: "v", Name: "m", Retries: retries, MaxOutput: 100, Metrics: metrics}), registry
}

func failed(kind incident.ErrorKind, after time.Duration) error {
	e := incident.Errorf(kind, "ask", "played")
	e.RetryAfter = after
	return e
}

func TestTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &played{errs: []error{failed(incident.KindUnavailable, 0), failed(incident.KindRateLimited, 7*time.Second)}}
		m, registry := model(t, p, 3)
		resp, err := m.Turn(context.Background(), reason.Request{MaxOutput: 5000})
		if err != nil || resp.Text != "ok" || len(p.tries) != 3 || p.max != 100 {
			t.Fatalf("answer = %+v, %v after %d tries with room for %d tokens", resp, err, len(p.tries), p.max)
		}
		if first, second := p.tries[1], p.tries[2]-p.tries[1]; first < 150*time.Millisecond || first > 300*time.Millisecond || second != 7*time.Second {
			t.Errorf("waits = %s, %s, want 150 to 300 ms, and the 7 s that were asked for", first, second)
		}
		if n, err := testutil.GatherAndCount(registry, "holmesgpt_api_llm_calls_total"); err != nil || n != 3 {
			t.Errorf("%d series of calls, %v, want one for each of Transient, RateLimit, success", n, err)
		}
		if n, err := testutil.GatherAndCount(registry, "holmesgpt_api_llm_token_usage_total"); err != nil || n != 3 {
			t.Errorf("%d series of tokens, %v", n, err)
		}
	})
}

func TestDoesNotTryInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{failed(incident.KindUnauthorized, 0), failed(incident.KindMalformed, 0), failed(incident.KindTooLarge, 0)} {
			p := &played{errs: []error{err}}
			m, _ := model(t, p, 3)
			if _, got := m.Turn(context.Background(), reason.Request{}); got == nil || len(p.tries) != 1 {
				t.Errorf("%v: %v after %d tries, want one", err, got, len(p.tries))
			}
		}
		// A wait that ends after the turn's deadline is not begun.
		p := &played{errs: []error{failed(incident.KindRateLimited, time.Minute)}}
		m, _ := model(t, p, 3)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := m.Turn(ctx, reason.Request{}); incident.KindOf(err) != incident.KindRateLimited || time.Since(p.began) != 0 {
			t.Errorf("%v after %s, want the refusal at once", err, time.Since(p.began))
		}
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := failed(incident.KindUnavailable, 0)
		p := &played{errs: []error{down, down, down, down, down}}
		m, _ := model(t, p, 0)
		for range 20 {
			if _, err := m.Turn(context.Background(), reason.Request{}); incident.KindOf(err) != incident.KindUnavailable {
				t.Fatal(err)
			}
		}
		if len(p.tries) != 5 {
			t.Errorf("it was asked %d times, want 5", len(p.tries))
		}
		<-time.After(31 * time.Second) // the breaker's rest, in the time of the bubble
		if _, err := m.Turn(context.Background(), reason.Request{}); err != nil || len(p.tries) != 6 {
			t.Errorf("after its rest: %v, %d tries", err, len(p.tries))
		}
	})
}
