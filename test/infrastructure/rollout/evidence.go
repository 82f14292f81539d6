package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

const (
	asking   = 10 * time.Second // for one piece of evidence
	tail     = 20               // lines of a log in a finding
	logBytes = 1 << 20          // of a log in a dump
)

// confirm turns doubts that have lasted into errors, with their evidence. A reference that exists by now is none: the
// kubelet looks again by itself.
func (w *waiting) confirm(ctx context.Context, doubts []doubt) []error {
	var errs []error
	seen := map[string]bool{}
	for _, d := range doubts {
		f := d.finding
		if d.missing != (reference{}) && d.pod != nil && w.cluster.exists(ctx, d.pod.Namespace, d.missing) {
			continue
		}
		if d.image != "" {
			f = w.cluster.aboutImage(ctx, f, d, w.o.Loaded)
		}
		if d.container != "" {
			f.Lines = append(f.Lines, w.cluster.previousLog(ctx, d.pod, d.container)...)
			if f.Row == "F40" && otherArchitecture.MatchString(strings.Join(f.Lines, "\n")) {
				f.Row, f.Fix = "F46", ""
			}
		}
		if d.pod != nil {
			f.Lines = append(f.Lines, w.eventsOf(d.pod)...)
		}
		if !seen[f.Summary] {
			seen[f.Summary] = true
			errs = append(errs, failure.With(errors.New(f.Summary), f))
		}
	}
	return errs
}

// exists reports whether the cluster has an object; when it cannot be asked, it has not.
func (c *Cluster) exists(ctx context.Context, namespace string, r reference) bool {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	var err error
	switch r.kind {
	case "configmap":
		_, err = c.kube.CoreV1().ConfigMaps(namespace).Get(ctx, r.name, metav1.GetOptions{})
	case "secret":
		_, err = c.kube.CoreV1().Secrets(namespace).Get(ctx, r.name, metav1.GetOptions{})
	default:
		_, err = c.kube.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, r.name, metav1.GetOptions{})
	}
	return err == nil
}

// aboutImage says what the nodes have in place of an image, and whether it was loaded.
func (c *Cluster) aboutImage(ctx context.Context, f failure.Finding, d doubt, loaded []string) failure.Finding {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	f.Lines = append(f.Lines, "expected: "+d.image)
	nodes, err := c.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		f.Lines = append(f.Lines, "what the nodes have cannot be read: "+err.Error())
		nodes = &corev1.NodeList{}
	}
	for _, n := range nodes.Items {
		var names []string
		for _, i := range n.Status.Images {
			names = append(names, slices.DeleteFunc(slices.Clone(i.Names), func(name string) bool { return !alike(name, d.image) })...)
		}
		f.Lines = append(f.Lines, fmt.Sprintf("node %s has: %s", n.Name, cmp.Or(strings.Join(names, ", "), "nothing of that name")))
	}
	if slices.Contains(loaded, d.image) {
		f.Class, f.Outcome, f.Retries, f.Remedy = failure.Transient, "lost", 1, "reload-image"
		f.Summary += ", although it was loaded"
		f.Fix = "load it again"
		return f
	}
	f.Outcome, f.Product = "unlisted", true
	f.Lines = append(f.Lines, "loaded: "+cmp.Or(strings.Join(loaded, ", "), "nothing"))
	f.Fix = "make the manifest's image the loaded one"
	return f
}

// alike reports whether two references have the same last part.
func alike(a, b string) bool {
	base := func(ref string) string {
		ref, _, _ = strings.Cut(path.Base(ref), "@")
		ref, _, _ = strings.Cut(ref, ":")
		return ref
	}
	return base(a) == base(b)
}

// previousLog returns the end of the log of a container's previous run; of this one, when there was none.
func (c *Cluster) previousLog(ctx context.Context, p *corev1.Pod, container string) []string {
	text, err := c.log(ctx, p, container, true, tail)
	which := "previous log"
	if apierrors.IsBadRequest(err) { // there was no previous run
		text, err = c.log(ctx, p, container, false, tail)
		which = "log"
	}
	if err != nil {
		return []string{"the previous log cannot be read: " + err.Error()}
	}
	if strings.TrimSpace(text) == "" {
		return []string{"the " + which + " is empty"}
	}
	lines := []string{which + ":"}
	for line := range strings.Lines(text) {
		lines = append(lines, "  "+strings.TrimRight(line, "\r\n"))
	}
	return lines
}

func (c *Cluster) log(ctx context.Context, p *corev1.Pod, container string, previous bool, lines int64) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	o := &corev1.PodLogOptions{Container: container, Previous: previous, LimitBytes: new(int64(logBytes))}
	if lines > 0 {
		o.TailLines = &lines
	}
	stream, err := c.kube.CoreV1().Pods(p.Namespace).GetLogs(p.Name, o).Stream(ctx)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, logBytes))
	return string(text), err
}

// eventsOf returns the last warnings about a pod.
func (w *waiting) eventsOf(p *corev1.Pod) []string {
	var list []*corev1.Event
	for _, stores := range w.stores {
		for _, e := range typed[*corev1.Event](stores["Event"].List()) {
			if e.InvolvedObject.UID == p.UID && e.Type == corev1.EventTypeWarning {
				list = append(list, e)
			}
		}
	}
	slices.SortFunc(list, func(a, b *corev1.Event) int { return when(a).Compare(when(b)) })
	var lines []string
	for _, e := range list[max(0, len(list)-5):] {
		lines = append(lines, fmt.Sprintf("event %s (%d times): %s", e.Reason, max(e.Count, 1), strings.TrimSpace(e.Message)))
	}
	return lines
}

// when returns the last time of an event, whoever wrote it.
func when(e *corev1.Event) time.Time {
	for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.FirstTimestamp.Time} {
		if !t.IsZero() {
			return t
		}
	}
	return e.CreationTimestamp.Time
}
