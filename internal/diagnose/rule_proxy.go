package diagnose

import "fmt"

// ProxyDown ends at kube-proxy when it does not run on the node of a Pod that cannot reach a Service which is well.
func (catalogue) ProxyDown() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			node := s.object.At("spec", "nodeName")
			proxy := q.kubeProxy()
			if proxy == nil || node.Str() == "" || s.object.At("spec", "hostNetwork").Bool() {
				return nil
			}
			bad := q.daemonOn(proxy, node.Str())
			if bad == nil {
				bad = q.sentAway(proxy)
			}
			if bad == nil {
				return nil
			}
			for _, t := range q.ties(s) {
				if t.said == nil || t.svc == nil || t.said.kind != unreached && t.said.kind != unresolved || len(q.serviceSymptoms(t.svc)) > 0 {
					continue
				}
				c := &cause{
					class: ClassProxyDown, target: proxy.ref, direct: min(t.strong, compared), timing: timingUnrelated, elsewhere: true, depends: []string{"DaemonSet", "Log"},
					signals: []string{"KubeProxyDown", "CrashLoopBackOff"},
					params:  map[string]string{"NODE_NAME": node.Str(), "WORKLOAD_KIND": "DaemonSet", "WORKLOAD_NAME": proxy.ref.Name, "NAMESPACE": proxy.ref.Namespace},
					last: link{
						proxy.ref, fmt.Sprintf("it leads Pods to Services, and on node %s it does not run: %s", node.Str(), bad.statement),
						append([]cite{at(node)}, bad.proof...),
					},
				}
				c.summary = fmt.Sprintf("%s reaches no Service from node %s: kube-proxy does not run there.", q.owner(s.object), node.Str())
				return []answer{{via: t.links(s), cause: c}}
			}
			return nil
		},
	}
}

// sentAway says that a DaemonSet was told within the last day to run on no node. One that has long run nowhere has been replaced by
// something else.
func (q *inquiry) sentAway(w *Object) *link {
	desired := w.At("status", "desiredNumberScheduled")
	if n, ok := desired.Int(); !ok || n > 0 || q.now.Sub(changeOf(w)) > recentCut {
		return nil
	}
	for _, other := range q.snap.Kind("DaemonSet", w.ref.Namespace) {
		if other != w && runs(other, "kube-proxy") {
			return nil
		}
	}
	return &link{w.ref, "no node is one that it selects", []cite{at(desired), at(templateOf(w).At("spec", "nodeSelector"))}}
}

// kubeProxy returns the DaemonSet that runs kube-proxy; nil when there is none or it was not read.
func (q *inquiry) kubeProxy() *Object {
	for _, w := range q.snap.Kind("DaemonSet", "kube-system") {
		if runs(w, "kube-proxy") {
			return w
		}
	}
	return nil
}
