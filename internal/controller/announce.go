package controller

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

const (
	component = "aianalysis-controller"

	maxEventNote   = 1024
	maxEventQueue  = 4096
	eventWriters   = 4
	eventTimeout   = 10 * time.Second
	maxEventObject = 200 // of the object's name within the event's
)

// notice is one Kubernetes event to be.
type notice struct {
	kind   string // corev1.EventTypeNormal or corev1.EventTypeWarning
	reason string
	note   string
}

// notices returns what a written step tells the people who watch the resource.
func notices(f facts, next *v1alpha1.AIAnalysisStatus) []notice {
	const normal, warning = corev1.EventTypeNormal, corev1.EventTypeWarning
	before := &f.analysis.Status
	var out []notice
	switch {
	case next.Phase == before.Phase:
		if next.ConsecutiveFailures > before.ConsecutiveFailures {
			out = append(out, notice{warning, v1alpha1.EventRetryScheduled, next.Message})
		}
	case next.Phase == v1alpha1.PhaseInvestigating:
		out = append(out, notice{normal, v1alpha1.EventAIAnalysisCreated, "The investigation starts."})
	case next.Phase == v1alpha1.PhaseAnalyzing:
		out = append(out, notice{normal, v1alpha1.EventInvestigationComplete, investigated(next)})
	case next.Phase == v1alpha1.PhaseCompleted && next.ApprovalRequired:
		out = append(out, notice{warning, v1alpha1.EventApprovalRequired, next.Message})
	case next.Phase == v1alpha1.PhaseCompleted:
		out = append(out, notice{normal, v1alpha1.EventAnalysisCompleted, next.Message})
	case next.Phase == v1alpha1.PhaseFailed && next.Reason == v1alpha1.ReasonWorkflowResolutionFailed:
		out = append(out, notice{warning, v1alpha1.EventHumanReviewRequired, string(next.SubReason) + ": " + next.Message})
	case next.Phase == v1alpha1.PhaseFailed:
		out = append(out, notice{warning, v1alpha1.EventAnalysisFailed, next.Reason + ": " + next.Message})
	}
	if next.AuditState == v1alpha1.AuditSpooled {
		out = append(out, notice{
			warning, v1alpha1.EventAuditSpooled,
			"Data Storage did not take the audit events in time. They are kept and delivered when it can be reached.",
		})
	}
	return out
}

func investigated(next *v1alpha1.AIAnalysisStatus) string {
	if next.RootCause == "" {
		return "The investigation answered."
	}
	return "Root cause: " + next.RootCause
}

// announcer writes Kubernetes events in the background. They are for people and may be lost; the
// audit trail may not. client-go's recorders remember every event for minutes, which at our rate
// is more memory than all else; this one remembers none, because the name of an event says what
// it is about, so that writing one again changes nothing.
type announcer struct {
	client  client.Client
	clock   func() time.Time
	log     *slog.Logger
	metrics *metrics
	queue   chan *corev1.Event
	done    sync.WaitGroup
	cancel  context.CancelFunc
}

func newAnnouncer(c client.Client, clock func() time.Time, log *slog.Logger, m *metrics) *announcer {
	a := &announcer{client: c, clock: clock, log: log, metrics: m, queue: make(chan *corev1.Event, maxEventQueue)}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	for range eventWriters {
		a.done.Go(func() { a.write(ctx) })
	}
	return a
}

// announce queues the notices about a resource. It does not wait: what does not fit is dropped and
// counted.
func (a *announcer) announce(on *v1alpha1.AIAnalysis, list []notice) {
	for _, n := range list {
		select {
		case a.queue <- a.event(on, n):
		default:
			a.metrics.kubeEvents.WithLabelValues("dropped").Inc()
		}
	}
}

func (a *announcer) event(on *v1alpha1.AIAnalysis, n notice) *corev1.Event {
	now := metav1.NewTime(a.clock())
	hash := fnv.New64a()
	_, _ = fmt.Fprintf(hash, "%s/%d/%s/%d/%d", on.UID, on.Generation, n.reason, on.Status.Attempt, on.Status.ConsecutiveFailures)
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name:      fmt.Sprintf("%s.%016x", strings.TrimRight(on.Name[:min(len(on.Name), maxEventObject)], "-."), hash.Sum64()),
			Namespace: on.Namespace,
		},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind,
			Namespace: on.Namespace, Name: on.Name, UID: on.UID, ResourceVersion: on.ResourceVersion,
		},
		Type: n.kind, Reason: n.reason, Message: text(n.note, maxEventNote),
		Source:              corev1.EventSource{Component: component},
		ReportingController: component,
		FirstTimestamp:      now, LastTimestamp: now, Count: 1,
	}
}

func (a *announcer) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-a.queue:
			a.create(ctx, e)
		}
	}
}

func (a *announcer) create(ctx context.Context, e *corev1.Event) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	err := a.client.Create(ctx, e)
	if err == nil || apierrors.IsAlreadyExists(err) {
		a.metrics.kubeEvents.WithLabelValues("written").Inc()
		return
	}
	a.metrics.kubeEvents.WithLabelValues("failed").Inc()
	if ctx.Err() == nil {
		a.log.Warn("Kubernetes event not written", "namespace", e.Namespace, "event", e.Name, "reason", e.Reason, "error", err)
	}
}

// close stops writing. What is still queued is dropped.
func (a *announcer) close() {
	a.cancel()
	a.done.Wait()
}
