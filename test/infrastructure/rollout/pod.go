package rollout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// reference is an object that a pod needs.
type reference struct {
	kind, name string
}

// podDoubts returns why a pod might never be ready. Where several things are wrong with a container, the first counts.
func podDoubts(p *corev1.Pod, events []*corev1.Event, o WaitOptions) []doubt {
	var list []doubt
	for _, statuses := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range statuses {
			if d, ok := containerDoubt(p, c, o); ok {
				list = append(list, d)
			}
		}
	}
	if d, ok := placeDoubt(p, o); ok {
		list = append(list, d)
	}
	if d, ok := mountDoubt(p, events, o); ok {
		list = append(list, d)
	}
	if p.Status.Phase == corev1.PodFailed && p.Spec.RestartPolicy != corev1.RestartPolicyAlways && !controlled(p) {
		list = append(list, doubt{key: "failed", finding: failure.Finding{
			Class: failure.Permanent, Product: true, Summary: "pod " + p.Name + " failed: " + p.Status.Reason, Lines: terminations(p), Fix: "look at its log",
		}})
	}
	return list
}

// controlled reports whether somebody makes another pod when this one fails.
func controlled(p *corev1.Pod) bool { return len(p.OwnerReferences) > 0 }

func terminations(p *corev1.Pod) []string {
	var lines []string
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			lines = append(lines, ended(c.Name, t))
		}
	}
	return lines
}

func ended(container string, t *corev1.ContainerStateTerminated) string {
	line := fmt.Sprintf("container %s ended with exit code %d (%s)", container, t.ExitCode, t.Reason)
	if t.Message != "" {
		line += ": " + strings.TrimSpace(t.Message)
	}
	return line
}

var otherArchitecture = regexp.MustCompile(`exec format error|taggedPointerPack|lfstack\.push`)

func containerDoubt(p *corev1.Pod, c corev1.ContainerStatus, o WaitOptions) (doubt, bool) {
	at := fmt.Sprintf("pod %s, container %s", p.Name, c.Name)
	var lines []string
	last := c.LastTerminationState.Terminated
	for _, t := range []*corev1.ContainerStateTerminated{last, c.State.Terminated} {
		if t == nil {
			continue
		}
		lines = append(lines, ended(c.Name, t))
		if otherArchitecture.MatchString(t.Message) {
			return doubt{key: c.Name + "/architecture", finding: failure.Finding{
				Row: "F46", Class: failure.Permanent, Summary: at + ": its binary is for another architecture than the node's", Lines: lines,
			}}, true
		}
	}
	w := c.State.Waiting
	if w == nil {
		return doubt{}, false
	}
	said := strings.TrimSpace(w.Reason + ": " + w.Message)
	switch w.Reason {
	case "CrashLoopBackOff", "RunContainerError", "StartError":
		if c.RestartCount < o.Restarts {
			return doubt{}, false
		}
		f := failure.Finding{Row: "F40", Class: failure.Permanent, Lines: append([]string{said}, lines...)}
		f.Summary = fmt.Sprintf("%s: %s after %d restarts", at, w.Reason, c.RestartCount)
		if last != nil {
			f.Summary += fmt.Sprintf(", the last with exit code %d (%s)", last.ExitCode, last.Reason)
		}
		if last != nil && last.Reason == "OOMKilled" {
			f.Product, f.Outcome, f.Fix = true, "oom", "raise the container's memory limit, or find what it needs the memory for"
		}
		return doubt{key: c.Name + "/" + w.Reason, finding: f, container: c.Name}, true
	case "ErrImageNeverPull", "InvalidImageName":
		return imageDoubt(at, c, said), true
	case "ImagePullBackOff", "ErrImagePull":
		if strings.HasPrefix(c.Image, "localhost/") || strings.HasPrefix(imageOf(p, c.Name), "localhost/") {
			return imageDoubt(at, c, said), true
		}
		if never.MatchString(w.Message) {
			return doubt{key: c.Name + "/image", finding: failure.Finding{
				Row: "F35", Class: failure.Permanent, Summary: at + ": there is no image " + c.Image + ", or it may not be pulled", Lines: []string{said},
			}}, true
		}
	case "CreateContainerConfigError":
		return doubt{key: c.Name + "/config", grace: o.Grace, missing: referenceIn(w.Message), finding: failure.Finding{
			Row: "F39", Class: failure.Permanent, Summary: at + ": what it refers to does not exist", Lines: []string{said},
		}}, true
	}
	return doubt{}, false
}

// never matches what a registry answers that will not answer otherwise later.
var never = regexp.MustCompile(`(?i)manifest unknown|unauthorized|access to the resource is denied|not found`)

func imageOf(p *corev1.Pod, container string) string {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if c.Name == container {
			return c.Image
		}
	}
	return ""
}

func imageDoubt(at string, c corev1.ContainerStatus, said string) doubt {
	return doubt{key: c.Name + "/image", image: c.Image, finding: failure.Finding{
		Row: "F38", Class: failure.Permanent, Summary: at + ": image " + c.Image + " is not on its node", Lines: []string{said},
	}}
}

var missingObject = regexp.MustCompile(`(?i)(configmap|secret|persistentvolumeclaim) "([^"]+)" not found`)

// referenceIn returns the object that a message of the kubelet says does not exist.
func referenceIn(message string) reference {
	if m := missingObject.FindStringSubmatch(message); m != nil {
		return reference{strings.ToLower(m[1]), m[2]}
	}
	return reference{}
}

// mountDoubt is a volume that cannot be mounted because what it is made of is missing.
func mountDoubt(p *corev1.Pod, events []*corev1.Event, o WaitOptions) (doubt, bool) {
	if podIs(p, corev1.PodInitialized) && slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Waiting == nil }) {
		return doubt{}, false // it has started
	}
	for _, e := range events {
		if e.InvolvedObject.UID != p.UID || e.Reason != "FailedMount" {
			continue
		}
		missing := referenceIn(e.Message)
		if missing == (reference{}) && !strings.Contains(e.Message, "references non-existent") {
			continue
		}
		return doubt{key: "mount", grace: o.Grace, missing: missing, finding: failure.Finding{
			Row: "F39", Class: failure.Permanent, Summary: fmt.Sprintf("pod %s: what it mounts does not exist", p.Name), Lines: []string{"FailedMount: " + e.Message},
		}}, true
	}
	return doubt{}, false
}

// placeDoubt is a pod that no node will take.
func placeDoubt(p *corev1.Pod, o WaitOptions) (doubt, bool) {
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse || c.Reason != corev1.PodReasonUnschedulable {
			continue
		}
		if missing := referenceIn(c.Message); missing != (reference{}) {
			return doubt{key: "place", grace: o.Grace, missing: missing, finding: failure.Finding{
				Row: "F39", Class: failure.Permanent, Summary: fmt.Sprintf("pod %s: what it refers to does not exist", p.Name), Lines: []string{c.Message},
			}}, true
		}
		if canChange(c.Message) {
			continue
		}
		f := failure.Finding{Class: failure.Permanent, Product: true, Summary: fmt.Sprintf("pod %s: no node can take it, now or later", p.Name), Lines: []string{c.Message}, Fix: "give the pod what a node of the cluster has"}
		if strings.Contains(c.Message, "Insufficient") {
			f.Class, f.Product, f.Fix = failure.Host, false, "give the machine more CPUs or memory, or ask for less in the manifests"
		}
		return doubt{key: "place", grace: o.Grace, finding: f}, true
	}
	return doubt{}, false
}

var (
	nodesOf = regexp.MustCompile(`^0/\d+ nodes are available: (.*)$`)
	perNode = regexp.MustCompile(`^\d+ (.*)$`)
)

// fixed are the reasons of the scheduler that no waiting changes in a cluster whose nodes are what they are.
var fixed = []string{"Insufficient", "didn't match", "had untolerated taint", "didn't have free ports", "didn't find available persistent volumes"}

// passing are taints that a node loses by itself.
var passing = []string{"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/network-unavailable", "node.cloudprovider.kubernetes.io/uninitialized", "node.kubernetes.io/disk-pressure", "node.kubernetes.io/memory-pressure", "node.kubernetes.io/pid-pressure"}

// canChange reports whether one of the reasons that the scheduler gives, or what it does not give reasons for, may pass.
func canChange(message string) bool {
	message, _, _ = strings.Cut(strings.ReplaceAll(message, "\n", " "), " preemption:")
	m := nodesOf.FindStringSubmatch(strings.TrimSpace(message))
	if m == nil {
		return true
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(m[1]), "."), ", ") {
		reason := part
		if n := perNode.FindStringSubmatch(part); n != nil {
			reason = n[1]
		}
		isFixed := slices.ContainsFunc(fixed, func(f string) bool { return strings.Contains(reason, f) })
		passes := slices.ContainsFunc(passing, func(t string) bool { return strings.Contains(reason, t) })
		if !isFixed || passes {
			return true
		}
	}
	return false
}
