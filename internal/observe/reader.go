package observe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// reader is one observation in progress.
type reader struct {
	ctx        context.Context // of this one observation
	now        func() time.Time
	limits     Limits
	typed      map[schema.GroupVersion]rest.Interface // of the built-in kinds: they come as protobuf
	dynamic    dynamic.Interface
	metadata   metadata.Interface
	discovery  *discovery.DiscoveryClient
	catalog    *catalog
	prometheus *Prometheus // nil when there is none
	budget     *byteBudget
	calls      atomic.Int64 // requests
	lists      atomic.Int64 // of those, pages of lists

	servedOnce  sync.Once
	servedKinds *served

	mu       sync.Mutex
	asked    map[question]bool
	cut      map[question]bool // lists that are longer than what was kept of them
	objects  map[objectKey]item
	events   map[objectKey]item
	reads    []diagnose.Read
	gaps     []diagnose.Gap
	logs     []diagnose.Log
	heard    map[diagnose.LogNeed]bool // the logs that were asked for
	deaf     bool                      // that there are more was said
	answered bool                      // at least one read was answered, if only by a refusal
	failure  error                     // the first failure of any read
}

type objectKey struct{ apiVersion, kind, namespace, name string }

func (l *Live) newReader(ctx context.Context) (*reader, error) {
	budget := &byteBudget{limit: l.limits.MaxBytes}
	base := l.http.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	hc := &http.Client{Transport: &countingTransport{base: base, budget: budget}}
	r := &reader{
		ctx: ctx, now: l.now, limits: l.limits, catalog: &l.catalog, prometheus: l.prometheus, budget: budget, typed: map[schema.GroupVersion]rest.Interface{},
		asked: map[question]bool{}, cut: map[question]bool{}, heard: map[diagnose.LogNeed]bool{}, objects: map[objectKey]item{}, events: map[objectKey]item{},
	}
	var errs [4]error
	r.dynamic, errs[0] = dynamic.NewForConfigAndClient(dynamic.ConfigFor(l.config), hc)
	r.metadata, errs[1] = metadata.NewForConfigAndClient(metadata.ConfigFor(l.config), hc)
	r.discovery, errs[2] = discovery.NewDiscoveryClientForConfigAndClient(l.config, hc)
	errs[3] = r.makeTyped(l.config, hc)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, incident.Errorf(incident.KindInternal, "observe", "%w", err)
	}
	return r, nil
}

// makeTyped makes a client for each API group version of built-in kinds that this program has Go types of.
func (r *reader) makeTyped(config *rest.Config, hc *http.Client) error {
	for _, k := range append([]kind{eventKind}, builtins...) {
		gv := k.resource.GroupVersion()
		if r.typed[gv] != nil || !scheme.Scheme.Recognizes(gv.WithKind(k.name)) {
			continue
		}
		c := rest.CopyConfig(config)
		c.GroupVersion, c.APIPath = &gv, "/apis"
		if gv.Group == "" {
			c.APIPath = "/api"
		}
		c.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
		c.AcceptContentTypes, c.ContentType = "application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf"
		client, err := rest.RESTClientForConfigAndClient(c, hc)
		if err != nil {
			return err
		}
		r.typed[gv] = client
	}
	return nil
}

// query is one list, or with a name one object.
type query struct {
	kind      kind
	namespace string // "" for all, or for a cluster-scoped kind
	name      string
	selector  string // a field selector
}

// question is what makes two queries the same.
type question struct {
	resource                  schema.GroupResource
	namespace, name, selector string
	contents                  bool
}

func (q query) question() question {
	return question{q.kind.resource.GroupResource(), q.namespace, q.name, q.selector, !q.kind.is(metadataOnly)}
}

func (q query) what() string {
	plural := q.kind.resource.Resource
	if g := q.kind.resource.Group; g == "metrics.k8s.io" || !diagnose.BuiltinGroup(g) {
		plural += "." + g
	}
	if q.kind.namespaced && q.namespace != "" {
		return fmt.Sprintf("%s in namespace %s", plural, q.namespace)
	}
	if q.kind.namespaced {
		return plural + " in all namespaces"
	}
	return plural
}

// most is how many objects of a list are kept.
func (r *reader) most(q query) int {
	n := r.limits.MaxObjects
	if q.kind.name == eventKind.name {
		n = r.limits.MaxEvents
	}
	if q.kind.namespaced && q.namespace == "" {
		n *= 10
	}
	return n
}

// list reads all pages of a list up to its bound, and records the read or the gap.
func (r *reader) list(q query) {
	most := r.most(q)
	read := diagnose.Read{APIVersion: q.kind.apiVersion(), Kind: q.kind.name, Namespace: q.namespace, Selector: q.selector, Partial: q.kind.is(metadataOnly)}
	opts := metav1.ListOptions{FieldSelector: q.selector, Limit: int64(min(r.limits.PageSize, most))}
	for {
		page, next, err := r.page(q, opts)
		if err != nil {
			r.failed(diagnose.Gap{Subject: incident.Ref{Kind: q.kind.name, Namespace: q.namespace}, What: q.what()}, err)
			return
		}
		read.Found += len(page)
		r.keep(page)
		if next == "" {
			break
		}
		if read.Found >= most {
			read.Truncated = true
			r.mu.Lock()
			r.cut[q.question()] = true
			r.mu.Unlock()
			r.gap(diagnose.Gap{
				Kind: incident.GapNotAsked, Subject: incident.Ref{Kind: q.kind.name, Namespace: q.namespace}, What: q.what(),
				Reason: fmt.Sprintf("there are more than the limit of %d", most),
			})
			break
		}
		opts.Continue = next
	}
	r.note(read)
}

// get reads one object by name; that it does not exist is recorded as a read that found none.
func (r *reader) get(q query) {
	read := diagnose.Read{APIVersion: q.kind.apiVersion(), Kind: q.kind.name, Namespace: q.namespace, Name: q.name, Partial: q.kind.is(metadataOnly)}
	ref := incident.Ref{APIVersion: q.kind.apiVersion(), Kind: q.kind.name, Namespace: q.namespace, Name: q.name}
	it, err := r.one(q)
	switch {
	case err == nil:
		read.Found = 1
		r.keep([]item{it})
	case apierrors.IsNotFound(err) && isAboutObject(err):
	default:
		r.failed(diagnose.Gap{Subject: ref, What: ref.String()}, err)
		return
	}
	r.note(read)
}

// isAboutObject tells "no such object" from "no such resource", which the API server answers with the
// same status: only the first names the object.
func isAboutObject(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Name != ""
}

// keep stores objects; one that was read in full replaces its metadata, never the other way round.
func (r *reader) keep(items []item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = true
	for _, it := range items {
		meta, _ := it.tree["metadata"].(map[string]any)
		text := func(m map[string]any, k string) string { s, _ := m[k].(string); return s }
		key := objectKey{text(it.tree, "apiVersion"), text(it.tree, "kind"), text(meta, "namespace"), text(meta, "name")}
		into := r.objects
		if key.kind == eventKind.name {
			into = r.events
		}
		if have, ok := into[key]; ok && it.partial && !have.partial {
			continue
		}
		into[key] = it
	}
}

func (r *reader) note(read diagnose.Read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = true
	r.reads = append(r.reads, read)
}

func (r *reader) gap(g diagnose.Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps = append(r.gaps, g)
}

// failed records why a read gave nothing.
func (r *reader) failed(g diagnose.Gap, err error) {
	g.Kind = incident.GapFailed
	switch {
	case apierrors.IsForbidden(err):
		g.Kind, g.Reason = incident.GapForbidden, "the service account may not read them"
	case apierrors.IsNotFound(err):
		g.Reason = "the API server does not serve this kind"
	case errors.Is(err, errBudget):
		g.Kind, g.Reason = incident.GapNotAsked, fmt.Sprintf("the limit of %d bytes for one observation was reached", r.limits.MaxBytes)
	case errors.Is(err, context.DeadlineExceeded):
		g.Reason = "the read timed out"
	case apierrors.IsResourceExpired(err):
		g.Reason = "the list changed faster than its pages could be read"
	default:
		g.Reason = "the read failed: " + oneLine(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// A server that sends more than the observation may read has answered.
	r.answered = r.answered || errors.Is(err, errBudget)
	var status apierrors.APIStatus
	if errors.As(err, &status) && !apierrors.IsUnauthorized(err) && status.Status().Code < 500 && !apierrors.IsTooManyRequests(err) && !apierrors.IsForbidden(err) {
		r.answered = true
	}
	if r.failure == nil {
		r.failure = err
	}
	r.gaps = append(r.gaps, g)
}

// oneLine keeps an error's text short enough for a gap. URLs of the API server are no secret.
func oneLine(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
}

// verdict errs when nothing could be read at all.
func (r *reader) verdict(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered || r.failure == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return incident.Errorf(incident.KindTimeout, "observe", "the caller gave up: %w", ctx.Err())
	}
	return translate(r.failure)
}

// translate turns an error of the API client into one of the domain.
func translate(err error) *incident.Error {
	kind := incident.KindNetwork
	var status apierrors.APIStatus
	e := &incident.Error{Op: "observe"}
	if errors.As(err, &status) {
		e.Status = int(status.Status().Code)
		if d := status.Status().Details; d != nil {
			e.RetryAfter = time.Duration(d.RetryAfterSeconds) * time.Second
		}
		kind = incident.KindUnavailable
	}
	switch {
	case apierrors.IsUnauthorized(err):
		kind = incident.KindUnauthorized
	case apierrors.IsForbidden(err):
		kind = incident.KindForbidden
	case apierrors.IsTooManyRequests(err):
		kind = incident.KindRateLimited
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		kind = incident.KindTimeout
	case errors.Is(err, errBudget):
		kind = incident.KindTooLarge
	}
	e.Kind, e.Err = kind, fmt.Errorf("the Kubernetes API could not be read: %w", err)
	return e
}

// each runs reads side by side, at most Limits.Parallel at once.
func (r *reader) each(reads []func()) {
	var g errgroup.Group
	g.SetLimit(r.limits.Parallel)
	for _, read := range reads {
		g.Go(func() error { read(); return nil })
	}
	_ = g.Wait() // the reads record their failures as gaps
}
