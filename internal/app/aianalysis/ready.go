package aianalysis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/cache"
)

const (
	checkTimeout = 2 * time.Second        // below the usual timeout of a probe
	checkAge     = 5 * time.Second        // for which a good outcome is good
	failedAge    = 500 * time.Millisecond // for which a bad one is: it is looked for again soon
)

// check is one condition of readiness.
type check struct {
	name string
	run  func(context.Context) error
}

// readiness runs checks, all at once, and remembers the outcome for a short while, so that probes
// and people who ask do not load what is checked.
type readiness struct {
	checks []check
	clock  func() time.Time

	mu   sync.Mutex
	at   time.Time
	errs []error // by check
}

func newReadiness(clock func() time.Time, checks ...check) *readiness {
	return &readiness{checks: checks, clock: clock}
}

// outcome returns the error of each check. Callers that come while the checks run share the outcome.
func (r *readiness) outcome(ctx context.Context) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	age := checkAge
	if errors.Join(r.errs...) != nil {
		age = failedAge
	}
	if r.errs != nil && r.clock().Sub(r.at) < age {
		return r.errs
	}
	// The outcome is for all who ask, so it does not end with the request that happened to be first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	errs := make([]error, len(r.checks))
	var wait sync.WaitGroup
	for i, c := range r.checks {
		wait.Go(func() { errs[i] = c.run(ctx) })
	}
	wait.Wait()
	r.at, r.errs = r.clock(), errs
	return errs
}

// healthHandler serves /healthz, which says that the process lives, and /readyz, which says whether
// it can do its work; with ?verbose, check by check.
func healthHandler(r *readiness) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		var lines strings.Builder
		status, verdict := http.StatusOK, "ok\n"
		for i, err := range r.outcome(req.Context()) {
			if err == nil {
				fmt.Fprintf(&lines, "[+]%s ok\n", r.checks[i].name)
				continue
			}
			status, verdict = http.StatusServiceUnavailable, "readyz check failed\n"
			fmt.Fprintf(&lines, "[-]%s failed: %s\n", r.checks[i].name, strings.ReplaceAll(err.Error(), "\n", " "))
		}
		if status == http.StatusOK && !req.URL.Query().Has("verbose") {
			write(w, status, verdict)
			return
		}
		write(w, status, lines.String()+verdict)
	})
	return mux
}

func write(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // a client that is gone needs no answer
}

// cacheSynced returns a check that fails until the cache has seen all resources.
func cacheSynced(ctx context.Context, c cache.Cache) func(context.Context) error {
	var synced atomic.Bool
	go func() {
		if c.WaitForCacheSync(ctx) {
			synced.Store(true)
		}
	}()
	return func(context.Context) error {
		if !synced.Load() {
			return errors.New("the resources have not all been read yet")
		}
		return nil
	}
}
