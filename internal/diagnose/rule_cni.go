package diagnose

import (
	"fmt"
	"strings"
)

// networkPlugins returns the DaemonSets that give Pods their network: those that write into the directories where the
// kubelet's runtime looks for it.
func (q *inquiry) networkPlugins() []*Object {
	var out []*Object
	q.snap.wantKind("DaemonSet", "")
	for _, w := range q.snap.c.Objects {
		if w.ref.Kind != "DaemonSet" {
			continue
		}
		for _, v := range templateOf(w).At("spec", "volumes").Items() {
			if p := v.At("hostPath", "path").Str(); strings.HasPrefix(p, "/etc/cni") || strings.HasPrefix(p, "/opt/cni") {
				out = append(out, w)
				break
			}
		}
	}
	return out
}

// daemonOn says what is wrong with a DaemonSet on one node; nil when its Pod there is well, or nobody knows.
func (q *inquiry) daemonOn(w *Object, node string) *link {
	for _, p := range q.snap.podsOf(w.ref) {
		if p.At("spec", "nodeName").Str() != node {
			continue
		}
		if bad := q.podSymptoms(p); len(bad) > 0 {
			return &bad[0].link
		}
		return nil
	}
	if q.snap.Listed("Pod", w.ref.Namespace) && w.At("status", "desiredNumberScheduled").IntOr(0) > w.At("status", "numberReady").IntOr(0) {
		return &link{w.ref, "it has no Pod there", []cite{at(w.At("status", "desiredNumberScheduled")), at(w.At("status", "numberReady"))}}
	}
	return nil
}

// refusedLocally reports whether a message says that nobody listens on an address of the node itself.
func refusedLocally(message string) bool {
	return strings.Contains(message, "connection refused") && (strings.Contains(message, "dial tcp 127.0.0.1:") || strings.Contains(message, "dial tcp [::1]:") || strings.Contains(message, "dial unix "))
}

// localServer returns the one DaemonSet of the node's own network whose Pod there does not run.
func (q *inquiry) localServer(node string) (*Object, *link) {
	var server *Object
	var why *link
	for _, w := range q.snap.c.Objects {
		if w.ref.Kind != "DaemonSet" || !templateOf(w).At("spec", "hostNetwork").Bool() {
			continue
		}
		if bad := q.daemonOn(w, node); bad != nil {
			if server != nil {
				return nil, nil
			}
			server, why = w, bad
		}
	}
	return server, why
}

// networkless returns where a node or its runtime says that there is no network for Pods.
func networkless(node *Object) (Value, bool) {
	if c := condition(node, "Ready"); c.At("status").Str() != "True" {
		if m := c.At("message"); strings.Contains(m.Str(), "NetworkPluginNotReady") || strings.Contains(m.Str(), "cni plugin not initialized") || strings.Contains(m.Str(), "cni config uninitialized") {
			return m, true
		}
	}
	return Value{}, false
}

// NetworkPluginDown ends at the DaemonSet that should give Pods their network and does not run on their node, else at the
// node whose runtime says that it has none.
func (catalogue) NetworkPluginDown() rule {
	return rule{
		explains: []symptomKind{podNotStarting, nodeUnready},
		why: func(q *inquiry, s symptom) []answer {
			name, said, unsaid := s.subject.Name, Value{}, false
			if s.kind == nodeUnready {
				m, without := networkless(s.object)
				if !without {
					return nil
				}
				said = m
			} else {
				messages := q.messagesAbout(s)
				message, found := says(messages, "network for sandbox")
				for _, words := range []string{"network is not ready", "networkPlugin cni failed", "NetworkPluginNotReady"} {
					if !found {
						message, found = says(messages, words)
					}
				}
				if !found {
					sandbox := condition(s.object, "PodReadyToStartContainers").At("status")
					if unsaid = sandbox.Str() == "False" && len(messages) == 0; !unsaid {
						return nil
					}
					message = sandbox
				}
				name, said = s.object.At("spec", "nodeName").Str(), message
			}
			node := q.snap.Object(nodeRef(name))
			if node == nil {
				return nil
			}
			c := &cause{
				class: ClassNetworkPluginDown, target: node.ref, direct: stated, timing: timingUnrelated, elsewhere: true, depends: []string{"DaemonSet"},
				signals: []string{"NetworkPluginDown", "NodeNotReady"}, params: map[string]string{"NODE_NAME": name},
				last: link{node.ref, "Pods get no network on this node: " + quote(said.Str()), []cite{at(said)}},
			}
			for _, w := range q.networkPlugins() {
				if bad := q.daemonOn(w, name); bad != nil {
					c.target, c.direct = w.ref, proven
					if unsaid {
						c.direct = compared
					}
					c.last.subject = w.ref
					c.last.statement = fmt.Sprintf("it gives Pods their network, and on node %s it does not run: %s", name, bad.statement)
					c.last.proof = append(c.last.proof, bad.proof...)
					c.params["WORKLOAD_KIND"], c.params["WORKLOAD_NAME"], c.params["NAMESPACE"] = "DaemonSet", w.ref.Name, w.ref.Namespace
					break
				}
			}
			if w, bad := q.localServer(name); w != nil && c.target.Same(node.ref) {
				c.target, c.direct = w.ref, reported
				if refusedLocally(said.Str()) {
					c.direct = compared
				}
				c.last.subject = w.ref
				c.last.statement = fmt.Sprintf("of what runs in the network of node %s itself, where Pods get none of theirs, this alone does not run: %s", name, bad.statement)
				c.last.proof = append(c.last.proof, bad.proof...)
				c.params["WORKLOAD_KIND"], c.params["WORKLOAD_NAME"], c.params["NAMESPACE"] = "DaemonSet", w.ref.Name, w.ref.Namespace
			}
			if unsaid {
				if c.target.Same(node.ref) {
					return nil
				}
				c.wanted = []wanted{{"the events of " + s.subject.String(), false}}
			}
			c.summary = fmt.Sprintf("Pods on node %s get no network: %s.", name, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}
