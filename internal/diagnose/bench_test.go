package diagnose_test

import (
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// city makes a cluster of 500 nodes and 5,000 Pods in 25 namespaces with 20,000 events, in which one workload in 50 is not well.
func city(tb testing.TB) *diagnose.Snapshot {
	tb.Helper()
	c := diagnose.Contents{Cluster: "bench"}
	put := func(list *[]*diagnose.Object, tree map[string]any) {
		o, err := diagnose.NewObject(tree, false)
		if err != nil {
			tb.Fatal(err)
		}
		*list = append(*list, o)
	}
	type m = map[string]any
	type l = []any
	const long, short = "2026-11-01T00:00:00Z", "2026-11-20T11:40:00Z"
	meta := func(ns, name string, labels m, owner string) m {
		out := m{"name": name, "uid": "u-" + ns + "-" + name, "resourceVersion": "1", "creationTimestamp": long, "labels": labels}
		if ns != "" {
			out["namespace"] = ns
		}
		if owner != "" {
			kind := "Deployment"
			if strings.HasSuffix(owner, "-1") {
				kind = "ReplicaSet"
			}
			out["ownerReferences"] = l{m{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u-" + ns + "-" + owner, "controller": true}}
		}
		return out
	}
	for _, k := range []string{"Pod", "Service", "Event", "Secret", "ConfigMap", "PersistentVolumeClaim", "ResourceQuota"} {
		c.Reads = append(c.Reads, diagnose.Read{APIVersion: "v1", Kind: k})
	}
	for _, k := range []string{"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"} {
		c.Reads = append(c.Reads, diagnose.Read{APIVersion: "apps/v1", Kind: k})
	}
	c.Reads = append(c.Reads, diagnose.Read{APIVersion: "v1", Kind: "Node"}, diagnose.Read{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"})
	for i := range 500 {
		put(&c.Objects, m{
			"apiVersion": "v1", "kind": "Node", "metadata": meta("", fmt.Sprintf("node-%d", i), m{"kubernetes.io/hostname": fmt.Sprintf("node-%d", i), "zone": fmt.Sprintf("z%d", i%3)}, ""),
			"spec": m{}, "status": m{"allocatable": m{"cpu": "16", "memory": "64Gi", "pods": "110"}, "conditions": l{m{"type": "Ready", "status": "True", "lastTransitionTime": long}}},
		})
		put(&c.Objects, m{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta("kube-node-lease", fmt.Sprintf("node-%d", i), nil, ""), "spec": m{"renewTime": "2026-11-20T11:59:50Z", "leaseDurationSeconds": 40}})
	}
	n, pod := 0, 0
	for i := range 1000 {
		ns, name := fmt.Sprintf("team-%d", i%25), fmt.Sprintf("svc%d", i)
		labels := m{"app": name, "part-of": "all", "team": ns}
		env := l{m{"name": "BACKEND", "value": fmt.Sprintf("http://svc%d:80", (i+25)%1000)}}
		spec := m{
			"serviceAccountName": "default",
			"volumes":            l{m{"name": "conf", "configMap": m{"name": name}}},
			"containers": l{m{
				"name": "main", "image": "registry.example.com/" + name + ":1", "env": env, "ports": l{m{"containerPort": 8080}}, "volumeMounts": l{m{"name": "conf", "mountPath": "/etc/conf"}},
				"readinessProbe": m{"httpGet": m{"path": "/", "port": 8080}}, "resources": m{"requests": m{"cpu": "100m", "memory": "128Mi"}, "limits": m{"memory": "256Mi"}},
			}},
		}
		ill := i%50 == 7
		ready := 5
		if ill {
			ready = 0
		}
		available := m{"type": "Available", "status": "True", "lastTransitionTime": long}
		if ill {
			available = m{"type": "Available", "status": "False", "lastTransitionTime": short}
		}
		template := m{"metadata": m{"labels": labels}, "spec": spec}
		put(&c.Objects, m{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(ns, name, labels, ""), "spec": m{"replicas": 5, "template": template, "selector": m{"matchLabels": labels}},
			"status": m{"replicas": 5, "readyReplicas": ready, "updatedReplicas": 5, "conditions": l{available}},
		})
		put(&c.Objects, m{"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta(ns, name+"-1", labels, name), "spec": m{"replicas": 5, "template": template}, "status": m{"replicas": 5, "readyReplicas": ready}})
		put(&c.Objects, m{"apiVersion": "v1", "kind": "Service", "metadata": meta(ns, name, labels, ""), "spec": m{"selector": m{"app": name}, "clusterIP": fmt.Sprintf("10.96.%d.%d", i/250, i%250), "ports": l{m{"port": 80, "targetPort": 8080}}}})
		put(&c.Objects, m{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(ns, name, labels, ""), "data": m{"app.conf": "backend = svc1:80\nlevel = info\n"}})
		if i%10 == 0 {
			put(&c.Objects, m{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta(ns, name, labels, ""), "spec": m{
				"podSelector": m{"matchLabels": m{"app": name}}, "policyTypes": l{"Ingress"},
				"ingress": l{m{"from": l{m{"podSelector": m{}}}}},
			}})
		}
		var endpoints l
		for r := range 5 {
			pod++
			podName := fmt.Sprintf("%s-1-%d", name, r)
			state, cond := m{"running": m{"startedAt": long}}, "True"
			last := m{}
			since := long
			if ill {
				state, cond, since = m{"waiting": m{"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}, "False", short
				last = m{"terminated": m{"exitCode": 1, "reason": "Error", "startedAt": "2026-11-20T11:58:00Z", "finishedAt": "2026-11-20T11:58:01Z"}}
			}
			endpoints = append(endpoints, m{"addresses": l{fmt.Sprintf("10.%d.%d.%d", i/250, i%250, r)}, "conditions": m{"ready": !ill}, "nodeName": fmt.Sprintf("node-%d", pod%500)})
			s := m{"nodeName": fmt.Sprintf("node-%d", pod%500)}
			maps.Copy(s, spec)
			if i%50 == 8 && r == 0 { // one Pod in 250 finds no place
				delete(s, "nodeName")
				s["nodeSelector"] = m{"disk": "nvme"}
			}
			put(&c.Objects, m{
				"apiVersion": "v1", "kind": "Pod", "metadata": meta(ns, podName, labels, name+"-1"), "spec": s,
				"status": m{
					"phase": "Running", "podIP": fmt.Sprintf("10.%d.%d.%d", i/250, i%250, r), "startTime": long, "conditions": l{m{"type": "Ready", "status": cond, "lastTransitionTime": since}},
					"containerStatuses": l{m{"name": "main", "ready": !ill, "restartCount": 4, "state": state, "lastState": last}},
				},
			})
			for e := range 4 {
				n++
				put(&c.Events, m{
					"apiVersion": "v1", "kind": "Event", "metadata": m{"name": fmt.Sprintf("%s.%d", podName, e), "namespace": ns, "uid": fmt.Sprint(n)}, "type": []string{"Normal", "Warning"}[e%2],
					"reason": []string{"Scheduled", "Unhealthy", "Pulled", "BackOff"}[e], "message": "Readiness probe failed: HTTP probe failed with statuscode: 503", "count": 3,
					"firstTimestamp": "2026-11-20T11:00:00Z", "lastTimestamp": "2026-11-20T11:50:00Z", "involvedObject": m{"apiVersion": "v1", "kind": "Pod", "namespace": ns, "name": podName, "uid": "u-" + ns + "-" + podName},
				})
			}
		}
		put(&c.Objects, m{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta(ns, name+"-x", m{"kubernetes.io/service-name": name}, ""), "endpoints": endpoints})
	}
	for _, o := range c.Objects[:1] {
		c.ObservedAt = o.Created().AddDate(0, 0, 19).Add(12 * 3600e9)
	}
	return diagnose.NewSnapshot(c)
}

func BenchmarkCity(b *testing.B) {
	snap := city(b)
	for _, bench := range []struct {
		name     string
		resource incident.Ref
	}{
		{"workload", incident.Ref{Kind: "Deployment", Namespace: "team-7", Name: "svc7"}},
		{"unscheduled", incident.Ref{Kind: "Deployment", Namespace: "team-8", Name: "svc8"}},
		{"well", incident.Ref{Kind: "Deployment", Namespace: "team-9", Name: "svc9"}},
		{"service", incident.Ref{Kind: "Service", Namespace: "team-9", Name: "svc9"}},
		{"node", incident.Ref{Kind: "Node", Name: "node-7"}},
		{"namespace", incident.Ref{Kind: "Namespace", Name: "team-7"}},
		{"cluster", diagnose.WholeCluster},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := diagnose.Run(snap, incident.Incident{Resource: bench.resource})
				if r.Verdict == diagnose.VerdictUndecidable {
					b.Fatal(r.Summary)
				}
			}
		})
	}
	b.Run("index", func(b *testing.B) {
		c := snap.Contents()
		b.ReportAllocs()
		for b.Loop() {
			diagnose.NewSnapshot(c)
		}
		var mem runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&mem)
		b.ReportMetric(float64(mem.HeapAlloc)/1e6, "MB-held")
	})
}
