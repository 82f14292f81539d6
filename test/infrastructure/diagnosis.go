package infrastructure

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/investigate"
	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/report"
)

// Diagnoser reads a cluster and says what is wrong with a resource in it.
type Diagnoser func(ctx context.Context, cluster *rest.Config, in incident.Incident) (diagnose.Result, error)

// byEngine is the product's own engine, as the investigation service asks it.
func (h *Harness) byEngine(ctx context.Context, cluster *rest.Config, in incident.Incident) (diagnose.Result, error) {
	live, err := observe.New(observe.Options{
		Config: cluster, Cluster: h.Suite.Cluster, Clock: h.o.Clock, Limits: observe.Limits{Timeout: h.o.DiagnosisTime * 3 / 4},
	})
	if err != nil {
		return diagnose.Result{}, err
	}
	snapshot, err := live.Observe(ctx, in)
	if err != nil {
		return diagnose.Result{}, err
	}
	return investigate.Diagnose(snapshot, in)
}

// diagnosed asks the engine about what is deployed, if a phase failed that found a cluster. Whatever becomes of it, the run has
// failed of something else already: it returns in time, and without an error.
func (h *Harness) diagnosed(ctx context.Context) *report.Diagnosis {
	if !h.failedOnCluster() {
		return nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, h.o.DiagnosisTime)
	defer cancel()
	type answer struct {
		result diagnose.Result
		err    error
	}
	said := make(chan answer, 1) // whoever comes late is not heard
	go func() {
		var a answer
		defer func() { said <- a }()
		defer func() {
			if p := recover(); p != nil { // it must not take the report with it
				a.err = fmt.Errorf("the engine panicked: %v", p)
			}
		}()
		a.result, a.err = h.ask(ctx)
	}()
	g := &report.Diagnosis{}
	select {
	case a := <-said:
		if a.err == nil {
			g.Result = &a.result
		} else {
			g.Why = a.err.Error()
		}
	case <-ctx.Done():
		g.Why = fmt.Sprintf("it has not answered: %v", command.Cause(ctx))
	}
	g.Seconds = time.Since(began).Seconds()
	return g
}

// ask asks about the namespace of the services, and about the whole cluster where that is well and no specification has put
// anything wrong into it on purpose.
func (h *Harness) ask(ctx context.Context) (diagnose.Result, error) {
	config, err := h.restConfig()
	if err != nil {
		return diagnose.Result{}, err
	}
	asks := h.o.Diagnose
	if asks == nil {
		asks = h.byEngine
	}
	result, err := asks(ctx, config, incident.Incident{Resource: incident.Ref{APIVersion: "v1", Kind: "Namespace", Name: namespace}})
	if err != nil || result.Verdict == diagnose.VerdictCause || h.failedIn(phaseSpecs, phaseCoverage) {
		return result, err
	}
	wide, err := asks(ctx, config, incident.Incident{Resource: diagnose.WholeCluster})
	if err != nil || wide.Verdict != diagnose.VerdictCause {
		return result, nil // what is known of the services is an answer
	}
	return wide, nil
}

// failedIn reports whether one of the phases failed in this run.
func (h *Harness) failedIn(phases ...string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(phases, func(name string) bool { return slices.Contains(h.failures, name) })
}

// failedOnCluster reports whether a phase failed for which the cluster was there.
func (h *Harness) failedOnCluster() bool {
	return h.failedIn(phaseLoad, phaseDeploy, phaseWait, phaseHealth, phaseSpecs, phaseCoverage)
}
