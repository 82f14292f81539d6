package observe

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

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// reader is one observation in progress.
type reader struct {
	ctx      context.Context // of this one observation
	limits   Limits
	dynamic  dynamic.Interface
	metadata metadata.Interface
	typed    kubernetes.Interface
	budget   *byteBudget
	calls    atomic.Int64

	mu       sync.Mutex
	objects  map[objectKey]item
	events   map[objectKey]item
	reads    []diagnose.Read
	gaps     []diagnose.Gap
	logs     []diagnose.Log
	answered bool  // at least one read was answered, if only by a refusal
	failure  error // the first failure of any read
}

type objectKey struct{ apiVersion, kind, namespace, name string }

func (l *Live) newReader(ctx context.Context) (*reader, error) {
	budget := &byteBudget{limit: l.limits.MaxBytes}
	hc := &http.Client{Transport: &countingTransport{base: l.http.Transport, budget: budget}}
	if hc.Transport.(*countingTransport).base == nil {
		hc.Transport.(*countingTransport).base = http.DefaultTransport
	}
	r := &reader{ctx: ctx, limits: l.limits, budget: budget, objects: map[objectKey]item{}, events: map[objectKey]item{}}
	var errs [3]error
	r.dynamic, errs[0] = dynamic.NewForConfigAndClient(dynamic.ConfigFor(l.config), hc)
	r.metadata, errs[1] = metadata.NewForConfigAndClient(metadata.ConfigFor(l.config), hc)
	r.typed, errs[2] = kubernetes.NewForConfigAndClient(l.config, hc)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, incident.Errorf(incident.KindInternal, "observe", "%w", err)
	}
	return r, nil
}

// errBudget ends the reading of an answer that would exceed Limits.MaxBytes.
var errBudget = errors.New("the byte limit of the observation is reached")

type byteBudget struct {
	limit int64
	used  atomic.Int64
}

// countingTransport charges the bytes of answers to a budget.
type countingTransport struct {
	base   http.RoundTripper
	budget *byteBudget
}

func (t *countingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err == nil {
		resp.Body = &countingBody{resp.Body, t.budget}
	}
	return resp, err
}

type countingBody struct {
	io.ReadCloser
	budget *byteBudget
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.budget.used.Add(int64(n)) > b.budget.limit {
		return n, errBudget
	}
	return n, err
}

// query is one list.
type query struct {
	kind      kind
	namespace string // "" for all, or for a cluster-scoped kind
	selector  string // a field selector
	max       int
}

func (q query) what() string {
	plural := q.kind.resource.Resource
	if q.kind.namespaced && q.namespace != "" {
		return fmt.Sprintf("%s in namespace %s", plural, q.namespace)
	}
	if q.kind.namespaced {
		return plural + " in all namespaces"
	}
	return plural
}

// list reads all pages of a list up to its bound, and records the read or the gap.
func (r *reader) list(q query) {
	if q.max == 0 {
		q.max = r.limits.MaxObjects
	}
	read := diagnose.Read{APIVersion: q.kind.apiVersion(), Kind: q.kind.name, Namespace: q.namespace, Selector: q.selector, Partial: q.kind.metadataOnly}
	opts := metav1.ListOptions{FieldSelector: q.selector, Limit: int64(min(r.limits.PageSize, q.max))}
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
		if read.Found >= q.max {
			read.Truncated = true
			r.gap(diagnose.Gap{
				Kind: incident.GapNotAsked, Subject: incident.Ref{Kind: q.kind.name, Namespace: q.namespace}, What: q.what(),
				Reason: fmt.Sprintf("there are more than the limit of %d", q.max),
			})
			break
		}
		opts.Continue = next
	}
	r.note(read)
}

// page reads one page. Items of a typed list carry no kind; the list's is put back.
func (r *reader) page(q query, opts metav1.ListOptions) (items []item, next string, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.limits.CallTimeout)
	defer cancel()
	r.calls.Add(1)
	stamp := func(tree map[string]any) item {
		tree["apiVersion"], tree["kind"] = q.kind.apiVersion(), q.kind.name
		return item{tree: tree, partial: q.kind.metadataOnly}
	}
	if q.kind.metadataOnly {
		list, err := r.metadata.Resource(q.kind.resource).Namespace(q.namespace).List(ctx, opts)
		if err != nil {
			return nil, "", err
		}
		for i := range list.Items {
			items = append(items, stamp(metadataTree(&list.Items[i])))
		}
		return items, list.Continue, nil
	}
	list, err := r.dynamic.Resource(q.kind.resource).Namespace(q.namespace).List(ctx, opts)
	if err != nil {
		return nil, "", err
	}
	for i := range list.Items {
		items = append(items, stamp(list.Items[i].Object))
	}
	return items, list.GetContinue(), nil
}

// metadataTree keeps of an object's metadata what the engine reads.
func metadataTree(o *metav1.PartialObjectMetadata) map[string]any {
	meta := map[string]any{"name": o.Name, "uid": string(o.UID), "resourceVersion": o.ResourceVersion}
	if o.Namespace != "" {
		meta["namespace"] = o.Namespace
	}
	if !o.CreationTimestamp.IsZero() {
		meta["creationTimestamp"] = o.CreationTimestamp.UTC().Format(time.RFC3339)
	}
	if o.DeletionTimestamp != nil {
		meta["deletionTimestamp"] = o.DeletionTimestamp.UTC().Format(time.RFC3339)
	}
	if len(o.Labels) > 0 {
		labels := make(map[string]any, len(o.Labels))
		for k, v := range o.Labels {
			labels[k] = v
		}
		meta["labels"] = labels
	}
	return map[string]any{"metadata": meta}
}

// get reads one object by name; that it does not exist is recorded as a read that found none.
func (r *reader) get(k kind, namespace, name string) {
	ctx, cancel := context.WithTimeout(r.ctx, r.limits.CallTimeout)
	defer cancel()
	r.calls.Add(1)
	read := diagnose.Read{APIVersion: k.apiVersion(), Kind: k.name, Namespace: namespace, Name: name, Partial: k.metadataOnly}
	ref := incident.Ref{APIVersion: k.apiVersion(), Kind: k.name, Namespace: namespace, Name: name}
	var it item
	var err error
	if k.metadataOnly {
		var o *metav1.PartialObjectMetadata
		if o, err = r.metadata.Resource(k.resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{}); err == nil {
			it = item{tree: metadataTree(o), partial: true}
		}
	} else {
		o, e := r.dynamic.Resource(k.resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		if err = e; err == nil {
			it = item{tree: o.Object}
		}
	}
	switch {
	case err == nil:
		it.tree["apiVersion"], it.tree["kind"] = k.apiVersion(), k.name
		read.Found = 1
		r.keep([]item{it})
	case apierrors.IsNotFound(err) && isAboutObject(err):
		r.mu.Lock()
		r.answered = true
		r.mu.Unlock()
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
		if key.kind == "Event" {
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
