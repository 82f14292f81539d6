package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// Dump writes what there is to see of a cluster into dir: nodes.txt, and for each namespace a directory with pods.txt
// (as kubectl describe would), events.txt (in order), conditions.txt (of everything that has some), logs/ (of each
// container, the previous run's too) and objects/ (everything but Secrets). What cannot be read is named in the error,
// and in the place where it would be; the rest is written all the same.
func (c *Cluster) Dump(ctx context.Context, dir string, namespaces ...string) error {
	d := &dump{cluster: c, dir: dir}
	d.step(ctx, "nodes", d.nodes)
	kinds := d.kinds(ctx)
	for _, ns := range namespaces {
		d.step(ctx, "objects of "+ns, func(ctx context.Context) error { return d.objects(ctx, ns, kinds) })
		d.step(ctx, "events of "+ns, func(ctx context.Context) error { return d.events(ctx, ns) })
		d.step(ctx, "pods of "+ns, func(ctx context.Context) error { return d.pods(ctx, ns) })
	}
	return errors.Join(d.errs...)
}

type dump struct {
	cluster *Cluster
	dir     string
	errs    []error
}

// step bounds one part: an API server that does not answer must not keep the rest from being written.
func (d *dump) step(ctx context.Context, what string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, 2*asking)
	defer cancel()
	if err := do(ctx); err != nil {
		d.errs = append(d.errs, fmt.Errorf("dump %s: %w", what, err))
	}
}

func (d *dump) write(text string, at ...string) error {
	file := filepath.Join(append([]string{d.dir}, at...)...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // people read it
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644) //nolint:gosec // people read it
}

func (d *dump) nodes(ctx context.Context) error {
	nodes, err := d.cluster.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return errors.Join(err, d.write(err.Error()+"\n", "nodes.txt"))
	}
	var b strings.Builder
	for _, n := range nodes.Items {
		fmt.Fprintf(&b, "%s  kubelet %s  allocatable: %s CPU, %s memory  unschedulable: %v\n", n.Name, n.Status.NodeInfo.KubeletVersion, n.Status.Allocatable.Cpu(), n.Status.Allocatable.Memory(), n.Spec.Unschedulable)
		for _, c := range n.Status.Conditions {
			fmt.Fprintf(&b, "  %s=%s since %s  %s: %s\n", c.Type, c.Status, stamp(c.LastTransitionTime.Time), c.Reason, c.Message)
		}
		for _, t := range n.Spec.Taints {
			fmt.Fprintf(&b, "  taint %s\n", t.ToString())
		}
		for _, i := range n.Status.Images {
			fmt.Fprintf(&b, "  image %s\n", strings.Join(i.Names, " "))
		}
	}
	return d.write(b.String(), "nodes.txt")
}

// kinds returns the namespaced kinds that can be listed.
func (d *dump) kinds(ctx context.Context) []metav1.APIResource {
	var kinds []metav1.APIResource
	d.step(ctx, "kinds", func(context.Context) error {
		known, err := discovery.NewDiscoveryClientForConfig(d.cluster.config)
		if err != nil {
			return err
		}
		lists, err := discovery.ServerPreferredNamespacedResources(known) // partial, with an error
		for _, l := range lists {
			for _, r := range l.APIResources {
				if r.Kind == "Secret" || r.Kind == "Event" || !slices.Contains(r.Verbs, "list") {
					continue
				}
				r.Group, r.Version, _ = strings.Cut(l.GroupVersion, "/")
				if r.Version == "" {
					r.Group, r.Version = "", l.GroupVersion
				}
				kinds = append(kinds, r)
			}
		}
		return err
	})
	return kinds
}

func (d *dump) objects(ctx context.Context, ns string, kinds []metav1.APIResource) error {
	var errs []error
	var conditions strings.Builder
	for _, k := range kinds {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(strings.TrimPrefix(k.Group+"/"+k.Version, "/"))
		list.SetKind(k.Kind + "List")
		if err := d.cluster.client.List(ctx, list, client.InNamespace(ns)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", k.Name, err))
			continue
		}
		var texts []string
		for _, o := range list.Items {
			unstructured.RemoveNestedField(o.Object, "metadata", "managedFields")
			text, err := yaml.Marshal(o.Object)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			texts = append(texts, string(text))
			describeConditions(&conditions, o)
		}
		if len(texts) > 0 {
			name := strings.TrimPrefix(k.Name+"."+k.Group, ".")
			errs = append(errs, d.write(strings.Join(texts, "---\n"), ns, "objects", strings.TrimSuffix(name, ".")+".yaml"))
		}
	}
	errs = append(errs, d.write(conditions.String(), ns, "conditions.txt"))
	return errors.Join(errs...)
}

func describeConditions(b *strings.Builder, o unstructured.Unstructured) {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	if len(conditions) == 0 {
		return
	}
	fmt.Fprintf(b, "%s %s, generation %d\n", o.GetKind(), o.GetName(), o.GetGeneration())
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok {
			fmt.Fprintf(b, "  %v=%v since %v", m["type"], m["status"], m["lastTransitionTime"])
			if m["reason"] != nil || m["message"] != nil {
				fmt.Fprintf(b, "  %v: %v", cmp.Or(m["reason"], any("")), cmp.Or(m["message"], any("")))
			}
			b.WriteString("\n")
		}
	}
}

func (d *dump) events(ctx context.Context, ns string) error {
	events, err := d.cluster.kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return errors.Join(err, d.write(err.Error()+"\n", ns, "events.txt"))
	}
	slices.SortStableFunc(events.Items, func(a, b corev1.Event) int { return when(&a).Compare(when(&b)) })
	var b strings.Builder
	for _, e := range events.Items {
		fmt.Fprintf(&b, "%s  %s  %s %s  %s (%d times): %s\n", stamp(when(&e)), e.Type, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, max(e.Count, 1), strings.TrimSpace(e.Message))
	}
	return d.write(b.String(), ns, "events.txt")
}

func (d *dump) pods(ctx context.Context, ns string) error {
	pods, err := d.cluster.kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return errors.Join(err, d.write(err.Error()+"\n", ns, "pods.txt"))
	}
	var b strings.Builder
	var errs []error
	for _, p := range pods.Items {
		describePod(&b, &p)
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			errs = append(errs, d.log(ctx, &p, c.Name, false))
			if c.RestartCount > 0 {
				errs = append(errs, d.log(ctx, &p, c.Name, true))
			}
		}
	}
	return errors.Join(append(errs, d.write(b.String(), ns, "pods.txt"))...)
}

func (d *dump) log(ctx context.Context, p *corev1.Pod, container string, previous bool) error {
	file := p.Name + "_" + container + ".log"
	if previous {
		file = p.Name + "_" + container + ".previous.log"
	}
	text, err := d.cluster.log(ctx, p, container, previous, 0)
	if err != nil { // of a container that has not started, say: that is no fault of the dump
		text = err.Error() + "\n"
	}
	return d.write(text, p.Namespace, "logs", file)
}

func describePod(b *strings.Builder, p *corev1.Pod) {
	fmt.Fprintf(b, "pod %s  %s  node %s  created %s\n", p.Name, p.Status.Phase, p.Spec.NodeName, stamp(p.CreationTimestamp.Time))
	for _, c := range p.Status.Conditions {
		fmt.Fprintf(b, "  %s=%s  %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		fmt.Fprintf(b, "  container %s  ready %v  restarts %d  image %s  %s\n", c.Name, c.Ready, c.RestartCount, c.Image, c.ImageID)
		for i, s := range []corev1.ContainerState{c.State, c.LastTerminationState} {
			name := []string{"now", "before"}[i]
			switch {
			case s.Waiting != nil:
				fmt.Fprintf(b, "    %s: waiting, %s: %s\n", name, s.Waiting.Reason, s.Waiting.Message)
			case s.Running != nil:
				fmt.Fprintf(b, "    %s: running since %s\n", name, stamp(s.Running.StartedAt.Time))
			case s.Terminated != nil:
				fmt.Fprintf(b, "    %s: %s\n", name, ended(c.Name, s.Terminated))
			}
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
