package manifest

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ports compares the ports of containers with those that probes, Services and policies name.
func (c *checker) ports() {
	for _, w := range c.Workloads() {
		for _, container := range w.containers() {
			for _, p := range []struct {
				name  string
				probe *corev1.Probe
			}{{"startup", container.StartupProbe}, {"liveness", container.LivenessProbe}, {"readiness", container.ReadinessProbe}} {
				if port, ok := probed(p.probe); ok && !containerHasPort(container, port) {
					c.add(rowStatic, "name one of its ports: "+list(w.portNames()), "%s: the %s probe of container %s asks port %s, which it does not have", w, p.name, container.Name, port.String())
				}
			}
		}
		if w.Kind != "Job" && !slices.ContainsFunc(w.Template.Spec.Containers, func(c corev1.Container) bool {
			return c.ReadinessProbe != nil && c.ReadinessProbe.ProbeHandler != (corev1.ProbeHandler{})
		}) {
			c.add(rowStatic, "add a readinessProbe", "%s has no readiness probe: it would count as ready before it answers", w)
		}
	}
	for _, svc := range Of[*corev1.Service](c.Set) {
		w, ok := c.Selected(svc.Namespace, labels.SelectorFromSet(svc.Spec.Selector))
		if !ok || len(svc.Spec.Selector) == 0 {
			continue // selectors has said so
		}
		for _, p := range svc.Spec.Ports {
			target := p.TargetPort
			if target == (intstr.IntOrString{}) {
				target = intstr.FromInt32(p.Port)
			}
			if !w.hasPort(target) {
				c.add(rowStatic, "name one of its ports: "+list(w.portNames()), "Service %s: target port %s of port %d is no port of %s", svc.Name, target.String(), p.Port, w)
			}
		}
	}
	for _, p := range Of[*networkingv1.NetworkPolicy](c.Set) {
		sel, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		w, ok := c.Selected(p.Namespace, sel)
		if err != nil || !ok {
			continue
		}
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				if port.Port != nil && port.Port.Type == intstr.String && !w.hasPort(*port.Port) {
					c.add(rowStatic, "name one of its ports: "+list(w.portNames()), "NetworkPolicy %s: port %s is no port of %s", p.Name, port.Port.String(), w)
				}
			}
		}
	}
}

// probed returns the port that a probe asks.
func probed(p *corev1.Probe) (intstr.IntOrString, bool) {
	switch {
	case p == nil:
		return intstr.IntOrString{}, false
	case p.HTTPGet != nil:
		return p.HTTPGet.Port, true
	case p.TCPSocket != nil:
		return p.TCPSocket.Port, true
	case p.GRPC != nil:
		return intstr.FromInt32(p.GRPC.Port), true
	}
	return intstr.IntOrString{}, false
}

// nodePorts compares the node ports of Services with those that the cluster maps to the host, in both directions.
func (c *checker) nodePorts() {
	served := map[int32]string{}
	for _, svc := range Of[*corev1.Service](c.Set) {
		if svc.Spec.Type != corev1.ServiceTypeNodePort {
			continue
		}
		for _, p := range svc.Spec.Ports {
			at := fmt.Sprintf("Service %s, port %s", svc.Name, p.Name)
			switch before, taken := served[p.NodePort]; {
			case p.NodePort == 0:
				c.add(rowStatic, "set nodePort to a port that the cluster maps: "+c.mapped(), "%s has no node port: the cluster would choose one that is not mapped", at)
				continue
			case taken:
				c.add(rowStatic, "give each its own", "%s has node port %d, which %s has too", at, p.NodePort, before)
			case !c.isMapped(p.NodePort):
				c.add(rowStatic, "map it in the cluster's configuration, or use a port that is mapped: "+c.mapped(), "%s has node port %d, which the cluster maps to no port of the host: it could not be reached", at, p.NodePort)
			}
			served[p.NodePort] = at
		}
	}
	for _, host := range slices.Sorted(maps.Keys(c.expect.HostPorts)) {
		node := c.expect.HostPorts[host]
		if _, ok := served[node]; !ok && !slices.Contains(c.expect.Reserved, node) {
			c.add(rowStatic, "give the Service that is meant this node port, or take the mapping away", "host port %d leads to node port %d, which no Service has", host, node)
		}
	}
}

func (c *checker) isMapped(node int32) bool {
	return slices.Contains(slices.Collect(maps.Values(c.expect.HostPorts)), node)
}

// mapped writes the mapped node ports.
func (c *checker) mapped() string {
	var names []string
	for _, node := range slices.Sorted(maps.Values(c.expect.HostPorts)) {
		names = append(names, fmt.Sprint(node))
	}
	return list(names)
}
