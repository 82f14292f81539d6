package hapi

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"kubernaut.ai/kubernaut/internal/hapi/wire"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Check is one thing that readiness depends on. Probe returns nil when it works; it is called from
// one goroutine at a time, with a context that ends after two seconds.
type Check struct {
	Name  string
	Probe func(context.Context) error
}

const (
	probeTimeout = 2 * time.Second
	// probeTTL is how long an outcome is reused: kubelets, load balancers and clients may all ask.
	probeTTL = time.Second
)

// probes runs the checks and remembers the outcome for a moment.
type probes struct {
	checks   []Check
	now      func() time.Time
	shutDown atomic.Bool

	mu   sync.Mutex // held while probing: who comes meanwhile takes the fresh outcome
	at   time.Time
	last map[string]error
}

func newProbes(checks []Check, now func() time.Time) *probes {
	return &probes{checks: checks, now: now}
}

// outcome returns the error of each check by name. The probes do not end with the caller's request,
// since their outcome is for others too.
func (p *probes) outcome(ctx context.Context) map[string]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil && p.now().Sub(p.at) < probeTTL {
		return p.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	errs := make([]error, len(p.checks))
	var wg sync.WaitGroup
	for i, c := range p.checks {
		wg.Go(func() { errs[i] = probe(ctx, c) })
	}
	wg.Wait()
	p.last, p.at = make(map[string]error, len(errs)), p.now()
	for i, c := range p.checks {
		p.last[c.Name] = errs[i]
	}
	return p.last
}

func probe(ctx context.Context, c Check) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the check panicked: %v", v)
		}
	}()
	return c.Probe(ctx)
}

// GetReady is GET /ready.
func (s *Server) GetReady(ctx context.Context, _ wire.GetReadyRequestObject) (wire.GetReadyResponseObject, error) {
	if s.probes.shutDown.Load() {
		reason := "the service is shutting down"
		return wire.GetReady503JSONResponse{Status: wire.ShuttingDown, Reason: &reason}, nil
	}
	dependencies, down := map[string]wire.Dependency{}, 0
	for name, err := range s.probes.outcome(ctx) {
		dependency := wire.Dependency{Status: wire.Up}
		if err != nil {
			down++
			kind := string(incident.KindOf(err)) // the text may name hosts and users; it goes to the log
			dependency = wire.Dependency{Status: wire.Down, Error: &kind}
			s.log.Warn("dependency is down", "dependency", name, "kind", kind, "error", err)
		}
		dependencies[name] = dependency
	}
	if down > 0 {
		return wire.GetReady503JSONResponse{Status: wire.NotReady, Dependencies: dependencies}, nil
	}
	return wire.GetReady200JSONResponse{Status: wire.Ready, Dependencies: dependencies}, nil
}

// GetHealth is GET /health.
func (s *Server) GetHealth(context.Context, wire.GetHealthRequestObject) (wire.GetHealthResponseObject, error) {
	return wire.GetHealth200JSONResponse{
		Status: wire.Healthy, Service: s.o.Service, Version: &s.o.Version,
		Endpoints: []string{PathIncident, PathRecovery, PathHealth, PathReady, PathConfig},
		Features: map[string]bool{
			"incident_analysis": true, "recovery_analysis": true, "postexec_analysis": false, "authentication": false,
		},
	}, nil
}

// GetConfig is GET /config.
func (s *Server) GetConfig(context.Context, wire.GetConfigRequestObject) (wire.GetConfigResponseObject, error) {
	c := wire.GetConfig200JSONResponse{MockMode: &s.o.Mock, DevMode: new(bool), Settings: s.o.Settings}
	c.LLM.Provider, c.LLM.Model, c.LLM.Endpoint = optional(s.o.LLM.Provider), optional(s.o.LLM.Model), optional(s.o.LLM.Endpoint)
	return c, nil
}

// optional returns nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
