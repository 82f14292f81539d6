package probes

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/preflight"
)

// systemdStarted is what systemd says in a node's log as soon as it runs.
var systemdStarted = regexp.MustCompile(`Detected virtualization|Welcome to |systemd\[1\]: |Reached target|Queued start job`)

// nodeBoot tells why Kind did not see a node come up.
func (p *Probes) nodeBoot(ctx context.Context, e Engine) (string, []string) {
	if driver := e.Info().LogDriver; e.Kind() == engine.Podman && driver == "journald" {
		return "journald", []string{"log driver: " + driver}
	}
	o := p.o.Host
	o.Engine = e
	if short, evidence := preflight.InstancesShort(ctx, o); short {
		return "inotify", evidence
	}
	nodes, err := p.nodes(ctx, e)
	if err != nil {
		return unknown(err)
	}
	var evidence []string
	for _, n := range nodes {
		if lines := matching(systemdStarted, logs(ctx, e, n.Name)); len(lines) > 0 {
			evidence = append(evidence, n.Name+": "+lines[len(lines)-1])
		}
	}
	if len(evidence) > 0 {
		return "started", evidence
	}
	return preflight.Unknown, []string{fmt.Sprintf("%d nodes, in whose logs systemd says nothing", len(nodes))}
}

// nodeHealth tells whether the nodes run, and if not, why.
func (p *Probes) nodeHealth(ctx context.Context, e Engine) (string, []string) {
	if err := p.pings(ctx, e); err != nil {
		return "down", []string{err.Error()}
	}
	nodes, err := p.nodes(ctx, e)
	if err != nil {
		return unknown(err)
	}
	outcome := "running"
	var evidence []string
	for _, n := range nodes {
		evidence = append(evidence, fmt.Sprintf("node %s: %s, exit code %d", n.Name, n.Status, n.ExitCode))
		if !n.Running {
			outcome = "exited"
		}
	}
	if len(nodes) == 0 {
		return "exited", []string{"there are no nodes of cluster " + p.cluster()}
	}
	killed := p.killed(ctx, e)
	if killed > 0 || slices.ContainsFunc(nodes, func(n engine.Container) bool { return n.OOMKilled }) {
		return "oom", append(evidence, fmt.Sprintf("processes that the kernel has killed for want of memory during this run: %d", killed))
	}
	return outcome, evidence
}

// What the journals of nodes say, by cause; the first that matches is taken.
var kubeletCauses = []struct {
	outcome string
	says    *regexp.Regexp
}{
	{"cgroup", regexp.MustCompile(`(?i)failed to (?:run|start|initialize).*cgroup|cgroup ?v1.*(?:not supported|unsupported|deprecated and will)|configured to not run on a host using cgroup v1|misconfiguration: kubelet cgroup driver`)},
	{"mismatch", regexp.MustCompile(`(?i)unknown flag|failed to parse kubelet flag|no kind "?\w+"? is registered for version|strict decoding error|unknown feature gate|unrecognized feature gate`)},
	{"etcd", regexp.MustCompile(`(?i)etcdserver: request timed out|apply request took too long|etcd.*(?:exit(?:ed with)? (?:code|status) 137|signal: killed)|slow fdatasync`)},
	{"started", regexp.MustCompile(`Started kubelet|Starting kubelet main sync loop|Started The Kubernetes Node Agent|systemd\[1\]: Started kubelet`)},
}

// kubelet tells from the nodes' journals how far kubelet came.
func (p *Probes) kubelet(ctx context.Context, e Engine) (string, []string) {
	nodes, err := p.nodes(ctx, e)
	if err != nil {
		return unknown(err)
	}
	var said strings.Builder
	var failed []error
	for _, n := range nodes {
		const read = `journalctl --unit kubelet --no-pager --lines 400 --output short-iso 2>/dev/null; tail -qn 100 /var/log/pods/kube-system_etcd*/etcd/*.log 2>/dev/null; true`
		out, err := e.Exec(ctx, engine.Exec{Container: n.Name, Args: []string{"sh", "-c", read}, Deadline: 20 * time.Second, Quiet: true})
		failed = append(failed, err)
		said.Write(out)
	}
	for _, cause := range kubeletCauses {
		if lines := matching(cause.says, said.String()); len(lines) > 0 {
			return cause.outcome, lines
		}
	}
	if err := errors.Join(failed...); err != nil {
		return unknown(err)
	}
	return preflight.Unknown, []string{fmt.Sprintf("the journals of %d nodes say nothing of kubelet", len(nodes))}
}

// onNode lists the names of the images that a node holds.
func onNode(ctx context.Context, e Engine, node string) ([]string, error) {
	out, err := e.Exec(ctx, engine.Exec{Container: node, Args: []string{"ctr", "--namespace", "k8s.io", "images", "list", "--quiet"}, Deadline: 20 * time.Second, Quiet: true})
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

// imageOnNode tells, of the images that containers wait for and else of the load list, what became of them.
func (p *Probes) imageOnNode(ctx context.Context, e Engine) (string, []string) {
	if p.o.Images == nil {
		return preflight.Unknown, []string{"the load list is not known"}
	}
	list := p.o.Images()
	held := make(map[string][]string)
	nodes, err := p.nodes(ctx, e)
	if err != nil {
		return unknown(err)
	}
	for _, n := range nodes {
		if held[n.Name], err = onNode(ctx, e, n.Name); err != nil {
			return unknown(err)
		}
	}
	if len(nodes) == 0 {
		return preflight.Unknown, []string{"there are no nodes"}
	}
	wanted, err := p.waitedFor(ctx)
	var evidence []string
	if err != nil {
		evidence = append(evidence, err.Error())
	}
	for _, image := range wanted {
		if !slices.ContainsFunc(list, func(ref string) bool { return familiar(ref) == familiar(image) }) {
			return "unlisted", append(evidence, fmt.Sprintf("%s is not in the load list: %s", image, strings.Join(list, ", ")))
		}
	}
	if len(wanted) == 0 {
		wanted = list
	}
	for _, image := range wanted {
		for node, images := range held {
			if !slices.ContainsFunc(images, func(ref string) bool { return familiar(ref) == familiar(image) }) {
				return "lost", append(evidence, fmt.Sprintf("%s is not on %s", image, node))
			}
		}
	}
	return "present", append(evidence, fmt.Sprintf("on every node: %s", strings.Join(wanted, ", ")))
}

// familiar leaves out of a reference what engines and nodes put in front of it by themselves.
func familiar(ref string) string {
	for _, prefix := range []string{"docker.io/library/", "docker.io/", "localhost/"} {
		ref = strings.TrimPrefix(ref, prefix)
	}
	return ref
}

// waitedFor lists the images that containers of the cluster wait for in vain.
func (p *Probes) waitedFor(ctx context.Context) ([]string, error) {
	client, err := p.client()
	if err != nil {
		return nil, err
	}
	pods, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var images []string
	for _, pod := range pods.Items {
		for _, s := range statuses(pod) {
			if w := s.State.Waiting; w != nil && slices.Contains([]string{"ErrImageNeverPull", "ImagePullBackOff", "ErrImagePull", "InvalidImageName"}, w.Reason) {
				images = append(images, s.Image)
			}
		}
	}
	slices.Sort(images)
	return slices.Compact(images), nil
}

func statuses(pod corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

// counters tells why there are no counters: nobody could write them, or nobody had the time.
func (p *Probes) counters(ctx context.Context, e Engine) (string, []string) {
	if p.o.Counters == "" {
		return preflight.Unknown, []string{"the directory of counters is not known"}
	}
	nodes, err := p.nodes(ctx, e)
	if err != nil {
		return unknown(err)
	}
	var evidence []string
	for _, n := range nodes {
		out, err := e.Exec(ctx, engine.Exec{Container: n.Name, Args: []string{"stat", "-c", "%a %u %n", p.o.Counters}, Deadline: 20 * time.Second, Quiet: true})
		if err != nil {
			evidence = append(evidence, fmt.Sprintf("%s on %s: %v", path.Base(p.o.Counters), n.Name, err))
			continue
		}
		line := strings.TrimSpace(string(out))
		evidence = append(evidence, n.Name+": "+line)
		mode, _, _ := strings.Cut(line, " ")
		const write = 2 // of others, whose bits are the last digit
		if bits, err := strconv.ParseUint(mode, 8, 32); err != nil || bits&write == 0 {
			return "denied", evidence
		}
	}
	if len(evidence) == 0 {
		return preflight.Unknown, []string{"there are no nodes"}
	}
	client, err := p.client()
	if err != nil {
		return preflight.Unknown, append(evidence, err.Error())
	}
	events, err := client.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return preflight.Unknown, append(evidence, err.Error())
	}
	for _, event := range events.Items {
		if event.Reason == "ExceededGracePeriod" || event.Reason == "FailedKillPod" {
			return "killed", append(evidence, event.InvolvedObject.Name+": "+event.Message)
		}
	}
	return preflight.Unknown, evidence
}
