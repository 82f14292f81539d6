package observe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// readFirst reads what bears on most incidents: the namespace of the resource, and what its Pods
// depend on outside it.
func (r *reader) readFirst(inc incident.Incident) {
	ref := inc.Resource
	ns := ref.Namespace
	if ref.Kind == "Namespace" {
		ns = ref.Name
	}
	var reads []func()
	listed := map[string]bool{}
	list := func(q query) {
		listed[q.kind.name+"/"+q.namespace] = true
		reads = append(reads, func() { r.list(q) })
	}
	for _, k := range clusterKinds {
		list(query{kind: k})
	}
	list(query{kind: leaseKind, namespace: nodeLeaseNamespace})
	if ns != "" {
		for _, k := range namespaceKinds {
			list(query{kind: k, namespace: ns})
		}
		list(query{kind: eventKind, namespace: ns, max: r.limits.MaxEvents})
		reads = append(reads, func() { r.get(namespaceKind, "", ns) })
	}
	if ref.Kind == "Node" {
		list(query{kind: podKind, selector: "spec.nodeName=" + ref.Name})
	}
	// Events about nodes are kept in namespace default.
	if ns != "default" {
		list(query{kind: eventKind, namespace: "default", selector: "involvedObject.kind=Node", max: r.limits.MaxEvents})
	}
	k, known := builtin(ref.Kind)
	switch {
	case known && listed[k.name+"/"+ref.Namespace]:
	case known:
		reads = append(reads, func() { r.get(k, ref.Namespace, ref.Name) })
	default:
		reads = append(reads, func() { r.getOther(ref) })
	}
	r.each(reads)
}

// getOther reads a resource of a kind that is not built in, through discovery.
func (r *reader) getOther(ref incident.Ref) {
	gap := diagnose.Gap{Subject: ref, What: ref.String()}
	if ref.APIVersion == "" {
		gap.Kind, gap.Reason = incident.GapNotAsked, "kind "+ref.Kind+" is not built in, and the incident does not say its apiVersion"
		r.gap(gap)
		return
	}
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		gap.Kind, gap.Reason = incident.GapNotAsked, fmt.Sprintf("apiVersion %q is malformed", ref.APIVersion)
		r.gap(gap)
		return
	}
	r.calls.Add(1)
	resources, err := r.typed.Discovery().ServerResourcesForGroupVersion(ref.APIVersion)
	if err != nil {
		r.failed(gap, err)
		return
	}
	for _, res := range resources.APIResources {
		if res.Kind == ref.Kind && !strings.Contains(res.Name, "/") {
			ns := ref.Namespace
			if !res.Namespaced {
				ns = ""
			}
			r.get(kind{ref.Kind, gv.WithResource(res.Name), res.Namespaced, false}, ns, ref.Name)
			return
		}
	}
	gap.Kind, gap.Reason = incident.GapFailed, "the API server does not serve this kind"
	r.gap(gap)
}

// readNeeded reads what the first look asked for.
func (r *reader) readNeeded(need diagnose.Need) {
	var reads []func()
	for _, w := range need.Wants {
		if k, known := builtin(w.Ref.Kind); known && w.Ref.Name == "" && w.Node == "" && w.About == "" {
			reads = append(reads, func() { r.list(query{kind: k, namespace: w.Ref.Namespace}) })
		}
	}
	for _, ref := range need.ConfigMaps {
		reads = append(reads, func() { r.get(configMapKind, ref.Namespace, ref.Name) })
	}
	for i, l := range need.Logs {
		if i == r.limits.MaxLogs {
			r.gap(diagnose.Gap{
				Kind: incident.GapNotAsked, Subject: incident.Ref{Kind: "Log"}, What: "logs of further containers",
				Reason: fmt.Sprintf("the limit of %d excerpts was reached", r.limits.MaxLogs),
			})
			break
		}
		reads = append(reads, func() { r.readLog(l) })
	}
	r.each(reads)
	for _, ref := range need.NoEvents {
		if r.listedEvents(ref.Namespace) {
			r.gap(diagnose.Gap{
				Kind: incident.GapExpired, Subject: incident.Ref{Kind: "Event", Namespace: ref.Namespace, Name: ref.Name},
				What: "events about " + ref.String(), Reason: "it has been so for longer than the API server keeps events",
			})
		}
	}
}

func (r *reader) listedEvents(namespace string) bool {
	return slices.ContainsFunc(r.reads, func(read diagnose.Read) bool {
		return read.Kind == "Event" && read.Namespace == namespace && read.Selector == ""
	})
}

// readLog reads the tail of one container's log.
func (r *reader) readLog(l diagnose.LogNeed) {
	ctx, cancel := context.WithTimeout(r.ctx, r.limits.CallTimeout)
	defer cancel()
	r.calls.Add(1)
	tail := int64(r.limits.LogLines)
	which := "log"
	if l.Previous {
		which = "previous log"
	}
	gap := diagnose.Gap{
		Subject: incident.Ref{Kind: "Log", Namespace: l.Pod.Namespace, Name: l.Pod.Name},
		What:    fmt.Sprintf("%s of container %s in %s", which, l.Container, l.Pod),
	}
	stream, err := r.typed.CoreV1().Pods(l.Pod.Namespace).GetLogs(l.Pod.Name, &corev1.PodLogOptions{
		Container: l.Container, Previous: l.Previous, TailLines: &tail,
	}).Stream(ctx)
	if err != nil {
		r.logFailed(gap, err)
		return
	}
	defer stream.Close()
	lines, truncated, err := tailLines(stream, r.limits.LogLines, r.limits.LogBytes)
	if err != nil && len(lines) == 0 {
		r.logFailed(gap, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, diagnose.Log{Pod: l.Pod, Container: l.Container, Previous: l.Previous, Lines: lines, Truncated: truncated})
}

// logFailed tells a log that is no longer there from one that could not be read.
func (r *reader) logFailed(gap diagnose.Gap, err error) {
	if apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "previous terminated container") {
		gap.Kind, gap.Reason = incident.GapExpired, "the node no longer keeps it"
		r.gap(gap)
		return
	}
	r.failed(gap, err)
}

// tailLines returns the last lines of a stream, at most so many and so many bytes of them. A line that
// is itself longer than that is cut.
func tailLines(stream io.Reader, maxLines, maxBytes int) (lines []string, truncated bool, err error) {
	in := bufio.NewReaderSize(stream, 4096)
	size := 0
	for {
		line, long, e := readLine(in, maxBytes)
		if e != nil && line == "" {
			if !errors.Is(e, io.EOF) {
				err = e
			}
			return lines, truncated, err
		}
		truncated = truncated || long
		lines = append(lines, line)
		size += len(line)
		for len(lines) > maxLines || size > maxBytes && len(lines) > 1 {
			size -= len(lines[0])
			lines, truncated = lines[1:], true
		}
	}
}

// readLine reads up to the next line end and keeps at most limit bytes of it.
func readLine(in *bufio.Reader, limit int) (line string, cut bool, err error) {
	var b strings.Builder
	for {
		chunk, err := in.ReadSlice('\n')
		if room := limit - b.Len(); room < len(chunk) {
			chunk, cut = chunk[:room], true
		}
		b.Write(chunk)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return strings.TrimRight(strings.ToValidUTF8(b.String(), "\uFFFD"), "\r\n"), cut, err
	}
}

// preview makes a snapshot of what was read so far, for the engine to say what to read next.
func (r *reader) preview(now time.Time) *diagnose.Snapshot {
	c, objects, events := r.contents(now, "")
	build := func(items []item) []*diagnose.Object {
		out := make([]*diagnose.Object, 0, len(items))
		for _, it := range items {
			if o, err := diagnose.NewObject(it.tree, it.partial); err == nil {
				out = append(out, o)
			}
		}
		return out
	}
	c.Objects, c.Events = build(objects), build(events)
	return diagnose.NewSnapshot(c)
}

// contents hands out what was read.
func (r *reader) contents(now time.Time, cluster string) (c diagnose.Contents, objects, events []item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range r.objects {
		objects = append(objects, it)
	}
	for _, it := range r.events {
		events = append(events, it)
	}
	return diagnose.Contents{
		ObservedAt: now, Cluster: cluster, Reads: slices.Clone(r.reads), Gaps: slices.Clone(r.gaps), Logs: slices.Clone(r.logs),
	}, objects, events
}
