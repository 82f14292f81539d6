package probes

import (
	"context"
	"fmt"
	"regexp"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/test/infrastructure/preflight"
)

// webhook tells whether all Services behind webhooks have an endpoint that is ready.
func (p *Probes) webhook(ctx context.Context, _ Engine) (string, []string) {
	client, err := p.client()
	if err != nil {
		return unknown(err)
	}
	var services []*admissionv1.ServiceReference
	validating, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return unknown(err)
	}
	for _, c := range validating.Items {
		for _, w := range c.Webhooks {
			services = append(services, w.ClientConfig.Service)
		}
	}
	mutating, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return unknown(err)
	}
	for _, c := range mutating.Items {
		for _, w := range c.Webhooks {
			services = append(services, w.ClientConfig.Service)
		}
	}
	var evidence []string
	for _, s := range services {
		if s == nil { // it is reached by URL
			continue
		}
		slices, err := client.DiscoveryV1().EndpointSlices(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + s.Name})
		if err != nil {
			return unknown(err)
		}
		n := ready(slices.Items)
		evidence = append(evidence, fmt.Sprintf("Service %s/%s of a webhook has %d endpoints that are ready", s.Namespace, s.Name, n))
		if n == 0 {
			return "absent", evidence
		}
	}
	if len(evidence) == 0 {
		return preflight.Unknown, []string{"there are no webhooks behind Services"}
	}
	return "present", evidence
}

func ready(slices []discoveryv1.EndpointSlice) (n int) {
	for _, s := range slices {
		for _, endpoint := range s.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				n += len(endpoint.Addresses)
			}
		}
	}
	return n
}

// missing finds in kubelet's messages what a volume or a variable refers to and is not there.
var missing = regexp.MustCompile(`(configmap|secret|persistentvolumeclaim) "([^"]+)" not found`)

// references tells whether what pods wait for is among the manifests.
func (p *Probes) references(ctx context.Context, _ Engine) (string, []string) {
	if p.o.Rendered == nil {
		return preflight.Unknown, []string{"the manifests are not known"}
	}
	client, err := p.client()
	if err != nil {
		return unknown(err)
	}
	events, err := client.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return unknown(err)
	}
	kinds := map[string]string{"configmap": "ConfigMap", "secret": "Secret", "persistentvolumeclaim": "PersistentVolumeClaim"}
	outcome, evidence := preflight.Unknown, []string(nil)
	for _, event := range events.Items {
		m := missing.FindStringSubmatch(event.Message)
		if m == nil {
			continue
		}
		kind, name := kinds[m[1]], m[2]
		line := fmt.Sprintf("%s/%s waits for %s %s", event.InvolvedObject.Namespace, event.InvolvedObject.Name, kind, name)
		if !p.o.Rendered(kind, event.InvolvedObject.Namespace, name) {
			return "missing", []string{line + ", which no manifest has"}
		}
		outcome, evidence = "rendered", append(evidence, line+", which a manifest has")
	}
	return outcome, evidence
}

// wrongArchitecture is what programs for another architecture say, or make Go's runtime say under emulation.
var wrongArchitecture = regexp.MustCompile(`exec format error|lfstack\.push|taggedPointerPack`)

// lastTermination tells how a container ended that ends again and again.
func (p *Probes) lastTermination(ctx context.Context, _ Engine) (string, []string) {
	client, err := p.client()
	if err != nil {
		return unknown(err)
	}
	pods, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return unknown(err)
	}
	outcome, evidence := preflight.Unknown, []string(nil)
	for _, pod := range pods.Items {
		for _, s := range statuses(pod) {
			ended := s.LastTerminationState.Terminated
			if ended == nil {
				ended = s.State.Terminated
			}
			if ended == nil || ended.ExitCode == 0 {
				continue
			}
			evidence = append(evidence, fmt.Sprintf("%s/%s, container %s: exit code %d, %s %s", pod.Namespace, pod.Name, s.Name, ended.ExitCode, ended.Reason, ended.Message))
			said := ended.Message
			if lines := matching(wrongArchitecture, said+"\n"+p.previousLog(ctx, pod, s.Name)); len(lines) > 0 {
				return "arch", append(evidence, lines...)
			}
			if ended.Reason == "OOMKilled" {
				outcome = "oom"
			} else if outcome == preflight.Unknown {
				outcome = "exited"
			}
		}
	}
	return outcome, evidence
}

// previousLog is the end of what a container said before it was started again; empty if it cannot be read.
func (p *Probes) previousLog(ctx context.Context, pod corev1.Pod, container string) string {
	client, err := p.client()
	if err != nil {
		return ""
	}
	lines := int64(50)
	for _, previous := range []bool{true, false} {
		out, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, Previous: previous, TailLines: &lines}).DoRaw(ctx)
		if err == nil && len(out) > 0 {
			return string(out)
		}
	}
	return ""
}
