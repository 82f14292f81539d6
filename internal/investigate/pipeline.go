package investigate

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Observer reads what bears on an incident.
type Observer interface {
	Observe(ctx context.Context, in incident.Incident) (*diagnose.Snapshot, error)
}

// Catalog finds workflows. Workflow errs with KindNotFound when there is none with that id.
type Catalog interface {
	SearchWorkflows(ctx context.Context, q incident.WorkflowQuery) ([]incident.WorkflowMatch, error)
	Workflow(ctx context.Context, id string) (incident.Workflow, error)
}

// Bundles keeps evidence bundles by their digest.
type Bundles interface {
	PutBundle(ctx context.Context, digest string, body []byte) error
}

// Recorder writes the audit trail. The events are durable, in their order, when RecordAll returns nil.
type Recorder interface {
	RecordAll(ctx context.Context, events ...incident.AuditEvent) error
}

// Options configure a Pipeline. All fields but the last five are required.
type Options struct {
	Observer Observer
	Catalog  Catalog
	Bundles  Bundles
	Audit    Recorder
	// Encode returns the bundle of a snapshot and its digest, "sha256:<hex>".
	Encode func(*diagnose.Snapshot) (body []byte, digest string, err error)

	// Reasoner lets a model look at each finding; nil when there is none.
	Reasoner Reasoner
	// Watch is told of each step that was done: StepObserved, StepDiagnosed. It must not block; nil: nobody is told.
	Watch func(ctx context.Context, step string, data any)
	// Threshold is the confidence below which a person must look; nil means 0.7. With 0 no confidence
	// is too low.
	Threshold *float64
	Clock     func() time.Time
	Logger    *slog.Logger
}

// Steps of an investigation, for people who watch.
const (
	StepObserved  = "observed"  // the cluster was read
	StepDiagnosed = "diagnosed" // there is a finding: the data is a Diagnosed
)

// Diagnosed is what the engine found, in words of its own.
type Diagnosed struct {
	Verdict    diagnose.Verdict `json:"verdict"`
	Class      string           `json:"class,omitempty"`
	Confidence float64          `json:"confidence"`
}

const defaultThreshold = 0.7

// Pipeline investigates incidents. It is safe for concurrent use.
type Pipeline struct{ o Options }

// New makes a pipeline.
func New(o Options) (*Pipeline, error) {
	if o.Observer == nil || o.Catalog == nil || o.Bundles == nil || o.Audit == nil || o.Encode == nil {
		return nil, incident.Errorf(incident.KindInvalid, "new pipeline", "Observer, Catalog, Bundles, Audit and Encode are required")
	}
	if o.Threshold == nil {
		o.Threshold = new(defaultThreshold)
	}
	if t := *o.Threshold; !(t >= 0 && t <= 1) {
		return nil, incident.Errorf(incident.KindInvalid, "new pipeline", "Threshold is %v, not from 0 to 1", t)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Watch == nil {
		o.Watch = func(context.Context, string, any) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Pipeline{o: o}, nil
}

// Investigate finds the root cause of an incident and the workflow for it. The audit trail knows the
// investigation by the incident.Request that ctx carries. Errors are *incident.Error: KindInvalid
// when the incident names nothing to look at, KindTimeout when ctx ended, KindUnavailable or
// KindNetwork when the cluster, the catalog, the bundle store or the audit trail cannot be used now.
func (p *Pipeline) Investigate(ctx context.Context, in incident.Incident) (incident.Investigation, error) {
	start := p.o.Clock()
	if in.Recovery != nil {
		recovery := *in.Recovery
		recovery.Previous = distinct(recovery.Previous)
		in.Recovery = &recovery
	}
	inv, events, err := p.investigate(ctx, in)
	inv.IncidentID, inv.CompletedAt = in.ID, p.o.Clock().UTC()
	events = append(events, audit.InvestigationCompleted{
		Investigation: inv, Engine: "deterministic", RequestHash: incident.RequestOf(ctx).Hash,
		Duration: inv.CompletedAt.Sub(start.UTC()), Err: err,
	})
	recordErr := record(ctx, p.o.Audit, in, inv.CompletedAt, events)
	switch {
	case err != nil && recordErr != nil:
		p.o.Logger.Error("a failed investigation is not on the audit trail", "incident_id", in.ID, "error", recordErr)
	case err == nil:
		err = recordErr
	}
	if err != nil {
		return incident.Investigation{}, err
	}
	return inv, nil
}

// investigate returns the finding and what has to go on the audit trail about it.
func (p *Pipeline) investigate(ctx context.Context, in incident.Incident) (incident.Investigation, []audit.Payload, error) {
	none := incident.Investigation{}
	snapshot, err := p.o.Observer.Observe(ctx, in)
	if err != nil {
		return none, nil, dependency(ctx, observing, err)
	}
	p.o.Watch(ctx, StepObserved, struct{}{})
	result, err := Diagnose(snapshot, in)
	if err != nil {
		return none, nil, err
	}
	found := Diagnosed{Verdict: result.Verdict, Confidence: result.Confidence}
	if result.Cause != nil {
		found.Class = string(result.Cause.Class)
	}
	p.o.Watch(ctx, StepDiagnosed, found)
	digest, warning, err := p.store(ctx, snapshot)
	if err != nil {
		return none, nil, err
	}
	sel, err := Choose(ctx, p.o.Catalog, snapshot, result, &in, p.o.Clock().UTC())
	if err != nil {
		return none, nil, err
	}
	inv := answer(in, result, sel, *p.o.Threshold)
	inv.BundleDigest = digest
	if warning != "" {
		inv.Warnings = append(inv.Warnings, warning)
	}
	var events []audit.Payload
	for i, a := range sel.Attempts {
		event := audit.WorkflowValidation{
			IncidentID: in.ID, Attempt: a.Attempt, MaxAttempts: len(sel.Attempts), Valid: a.Valid, Errors: a.Errors, WorkflowID: a.WorkflowID,
		}
		if i == len(sel.Attempts)-1 {
			event.ReviewReason = sel.Review
		}
		events = append(events, event)
	}
	if p.o.Reasoner != nil {
		events = append(events, p.refine(ctx, &inv, in, snapshot, result, sel)...)
	}
	return inv, events, nil
}

// store keeps the snapshot. A bundle that the store will never take costs a warning, one that it
// cannot take now the investigation: evidence is kept before it is cited.
func (p *Pipeline) store(ctx context.Context, snapshot *diagnose.Snapshot) (digest, warning string, err error) {
	body, digest, err := p.o.Encode(snapshot)
	if err != nil {
		return "", "", incident.Errorf(incident.KindInternal, "encode the evidence bundle", "%w", err)
	}
	err = p.o.Bundles.PutBundle(ctx, digest, body)
	switch incident.KindOf(err) {
	case "":
		return digest, "", nil
	case incident.KindTooLarge, incident.KindInvalid:
		p.o.Logger.Error("the evidence bundle was refused", "digest", digest, "bytes", len(body), "error", err)
		return "", "The evidence bundle was not stored, because Data Storage refused it; the evidence cannot be checked later.", nil
	}
	return "", "", dependency(ctx, "store the evidence bundle", err)
}

// Diagnose finds the cause of an incident in what was read, and reads every piece of its evidence again.
// An error is of KindInternal: the engine cited what is not there.
func Diagnose(snapshot *diagnose.Snapshot, in incident.Incident) (diagnose.Result, error) {
	result := diagnose.Run(snapshot, in)
	if err := diagnose.Verify(snapshot, result.Evidence); err != nil {
		return diagnose.Result{}, incident.Errorf(incident.KindInternal, "verify evidence", "%w", err)
	}
	return result, nil
}

// Choose selects a workflow for the cause of a result; without a cause the selection is empty. It adds to
// the incident's detected labels who manages the target, by the marks on it and its owners. It asks the
// catalog by the most specific signal type first, until a workflow fits that is made for the cause. One
// that is not is chosen only when no signal type leads to a better. at is the time of the validations.
func Choose(ctx context.Context, from Catalog, snapshot *diagnose.Snapshot, result diagnose.Result, in *incident.Incident, at time.Time) (catalog.Selection, error) {
	if result.Verdict != diagnose.VerdictCause || result.Cause == nil {
		return catalog.Selection{}, nil
	}
	cause := *result.Cause
	in.DetectedLabels = withManagers(in.DetectedLabels, managers(snapshot, cause.Target))
	var entries []catalog.Entry
	seen := map[string]bool{}
	for _, signalType := range catalog.SignalTypes(cause, *in) {
		matches, err := from.SearchWorkflows(ctx, catalog.Query(cause, *in, signalType))
		if err != nil {
			return catalog.Selection{}, dependency(ctx, "search the workflow catalog", err)
		}
		for _, m := range matches {
			if seen[m.WorkflowID] {
				continue
			}
			seen[m.WorkflowID] = true
			entry := catalog.Entry{Match: m}
			w, err := from.Workflow(ctx, m.WorkflowID)
			switch {
			case err == nil:
				entry.Workflow = &w
			case incident.KindOf(err) != incident.KindNotFound:
				return catalog.Selection{}, dependency(ctx, "read workflow "+m.WorkflowID, err)
			}
			entries = append(entries, entry)
		}
		if sel := catalog.Select(cause, *in, entries, at); len(sel.Options) > 0 && sel.Options[0].MadeFor {
			return sel, nil
		}
	}
	return catalog.Select(cause, *in, entries, at), nil
}

// recordTimeout bounds the recording of an investigation whose own time is over.
const recordTimeout = 5 * time.Second

// record puts events on the trail, also when the investigation's time is over.
func record(ctx context.Context, to Recorder, in incident.Incident, at time.Time, payloads []audit.Payload) error {
	key := incident.RequestOf(ctx).Key
	subject := audit.Request(key, in.ID, in.RemediationID)
	subject.Namespace, subject.ClusterName = in.Resource.Namespace, in.ClusterName
	events := make([]incident.AuditEvent, len(payloads))
	for i, p := range payloads {
		events[i] = audit.New(subject, at, p)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := to.RecordAll(ctx, events...); err != nil {
		return dependency(ctx, "write the audit trail", err)
	}
	return nil
}

// dependency says what a failure of something that the pipeline needs means to the caller: try again
// later, whatever the dependency called it. Its refusals are about our request, not the caller's.
func dependency(ctx context.Context, op string, err error) error {
	out := incident.Errorf(incident.KindUnavailable, op, "%w", err)
	if e, ok := errors.AsType[*incident.Error](err); ok {
		out.RetryAfter = e.RetryAfter
	}
	switch kind := incident.KindOf(err); kind {
	case incident.KindTimeout, incident.KindNetwork:
		out.Kind = kind
	case incident.KindInternal, incident.KindConflict, incident.KindTooLarge:
		out.Kind = incident.KindInternal
	case incident.KindInvalid:
		out.Kind = incident.KindInternal
		if op == observing {
			out.Kind = incident.KindInvalid // it is the incident that names nothing to look at
		}
	}
	if ctx.Err() != nil {
		out.Kind = incident.KindTimeout
	}
	return out
}

const observing = "observe the cluster"
