package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/test/scenarios/recorded"
)

// kinds are those whose objects of the namespace belong to the YAML, by their plural; clusterKinds are those of the cluster.
var (
	kinds = map[string]string{
		"pods": "Pod", "deployments": "Deployment", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet", "jobs": "Job", "cronjobs": "CronJob",
		"secrets": "Secret", "services": "Service", "endpointslices": "EndpointSlice", "ingresses": "Ingress", "networkpolicies": "NetworkPolicy", "configmaps": "ConfigMap",
		"serviceaccounts": "ServiceAccount", "persistentvolumeclaims": "PersistentVolumeClaim", "resourcequotas": "ResourceQuota", "limitranges": "LimitRange",
		"horizontalpodautoscalers": "HorizontalPodAutoscaler", "poddisruptionbudgets": "PodDisruptionBudget", "controllerrevisions": "ControllerRevision", "events": "Event",
	}
	clusterKinds = map[string]string{
		"nodes": "Node", "persistentvolumes": "PersistentVolume", "storageclasses": "StorageClass", "ingressclasses": "IngressClass", "priorityclasses": "PriorityClass",
	}
)

// objects returns what kubectl get -o yaml gives, a list for each kind, each below the name of the file that it would be in.
func (l *lab) objects(ctx context.Context, s *shell, i *incident) (string, error) {
	var out strings.Builder
	take := func(dir string, plurals map[string]string, args ...string) error {
		names := slices.Sorted(maps.Keys(plurals))
		raw, err := s.kubectl(ctx, "", append([]string{"get", "-o", "json", "--show-managed-fields=true", strings.Join(names, ",")}, args...)...)
		if err != nil {
			return err
		}
		all, err := itemsOf(raw)
		if err != nil {
			return err
		}
		for _, plural := range names {
			items := []any{}
			for _, o := range all {
				if want := plurals[plural]; want == "" || o["kind"] == want {
					items = append(items, o)
				}
			}
			text, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, "%s%s%s.yaml\n%s", recorded.FileMark, dir, plural, text)
		}
		return nil
	}
	spaces := []string{i.namespace()}
	for space := range i.Namespaces {
		if space != i.namespace() {
			spaces = append(spaces, space)
		}
	}
	for _, ns := range spaces {
		if err := take("namespaces/"+ns+"/", kinds, "-n", ns); err != nil {
			return "", err
		}
	}
	if err := take("", clusterKinds); err != nil {
		return "", err
	}
	for _, ask := range append([]string{"namespaces"}, i.Objects...) {
		words := strings.Fields(ask)
		dir := ""
		if n := slices.Index(words, "-n"); n >= 0 {
			dir = "namespaces/" + words[n+1] + "/"
		}
		for plural := range strings.SplitSeq(words[0], ",") {
			if err := take(dir, map[string]string{plural: ""}, words[1:]...); err != nil {
				return "", err
			}
		}
	}
	return l.scrub(out.String()), nil
}

// itemsOf returns the objects of a list, or the one object, without the values of Secrets.
func itemsOf(raw string) ([]map[string]any, error) {
	var list struct {
		Kind  string
		Items []map[string]any
	}
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		return nil, err
	}
	if list.Kind != "List" {
		var one map[string]any
		if err := json.Unmarshal([]byte(raw), &one); err != nil {
			return nil, err
		}
		list.Items = []map[string]any{one}
	}
	for _, o := range list.Items {
		if data, ok := o["data"].(map[string]any); ok && o["kind"] == "Secret" {
			for k := range data {
				data[k] = ""
			}
			if meta, ok := o["metadata"].(map[string]any); ok {
				delete(meta, "annotations") // of which one holds the values again
			}
		}
	}
	return list.Items, nil
}

type podList struct {
	Items []pod
}

type pod struct {
	Metadata struct{ Name, Namespace string }
	Status   struct {
		Phase                                    string
		Conditions                               []struct{ Type, Status string }
		InitContainerStatuses, ContainerStatuses []containerStatus
	}
}

type containerStatus struct {
	Name         string
	RestartCount int
	State        map[string]any
}

func (p pod) ready() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// text returns what an engineer pastes, each output below its command line.
func (l *lab) text(ctx context.Context, s *shell, i *incident) (string, error) {
	var out strings.Builder
	show := func(command string) {
		// What kubectl says to standard error when it refuses is what an engineer sees and pastes.
		said, _ := s.run(ctx, command+" 2>&1 || true")
		fmt.Fprintf(&out, "$ %s\n%s\n", command, strings.TrimRight(said, "\n"))
	}
	spaces := []string{i.namespace()}
	for space := range i.Namespaces {
		if space != i.namespace() {
			spaces = append(spaces, space)
		}
	}
	slices.Sort(spaces[1:])
	for _, ns := range spaces {
		show("kubectl get pods -n " + ns + " -o wide")
		show("kubectl get deployments,statefulsets,daemonsets,replicasets,jobs,cronjobs -n " + ns + " -o wide")
		show("kubectl get services,endpoints -n " + ns + " -o wide")
		raw, err := s.kubectl(ctx, "", "get", "pods", "-n", ns, "-o", "json")
		if err != nil {
			return "", err
		}
		var pods podList
		if err := json.Unmarshal([]byte(raw), &pods); err != nil {
			return "", err
		}
		for _, command := range look(pods.Items) {
			show(command)
		}
		show("kubectl get events -n " + ns + " --sort-by=.lastTimestamp")
	}
	in := i.Incident
	switch in.Kind {
	case "Pod", "Namespace", "Cluster":
	default:
		where := ""
		if in.Namespace != "" {
			where = " -n " + in.Namespace
		}
		show("kubectl describe " + strings.ToLower(in.Kind) + " " + in.Name + where)
	}
	for _, command := range i.Text {
		show(command)
	}
	show("kubectl get nodes -o wide")
	return l.scrub(out.String()), nil
}

const (
	described = 4 // Pods that are not ready, and one that is
	logged    = 8
)

// look returns the commands that look at Pods closely: those that are not ready first.
func look(pods []pod) []string {
	slices.SortStableFunc(pods, func(a, b pod) int {
		switch {
		case a.ready() == b.ready():
			return 0
		case b.ready():
			return -1
		}
		return 1
	})
	var out []string
	describe, logs, readied := 0, 0, 0
	for _, p := range pods {
		ns, name := p.Metadata.Namespace, p.Metadata.Name
		if p.ready() {
			readied++
		}
		if describe < described && readied <= 2 {
			describe++
			out = append(out, "kubectl describe pod "+name+" -n "+ns)
		}
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if _, waiting := c.State["waiting"]; waiting && c.RestartCount == 0 || logs >= logged {
				continue
			}
			logs++
			out = append(out, fmt.Sprintf("kubectl logs %s -c %s -n %s --tail=40", name, c.Name, ns))
			if c.RestartCount > 0 {
				out = append(out, fmt.Sprintf("kubectl logs %s -c %s -n %s --previous --tail=40", name, c.Name, ns))
			}
		}
	}
	return out
}

// scrub removes what is this machine's own from a text: its name and its kernel.
func (l *lab) scrub(text string) string {
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		old := strings.TrimSpace(string(kernel))
		text = strings.ReplaceAll(text, old, (neutralKernel + strings.Repeat(" ", len(old)))[:max(len(old), len(neutralKernel))])
	}
	if host, err := os.Hostname(); err == nil && len(host) > 3 {
		text = strings.ReplaceAll(text, host, "workstation")
	}
	return text
}

const neutralKernel = "6.1.0-32-amd64"
