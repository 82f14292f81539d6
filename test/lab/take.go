package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// kinds are those whose objects of the namespace belong to the YAML.
const kinds = "pods,deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs,services,endpointslices,ingresses,networkpolicies,configmaps,serviceaccounts," +
	"persistentvolumeclaims,resourcequotas,limitranges,horizontalpodautoscalers,poddisruptionbudgets,controllerrevisions,events"

// clusterKinds are those of the cluster.
const clusterKinds = "nodes,persistentvolumes,storageclasses,ingressclasses,priorityclasses"

// objects returns what kubectl get -o yaml gives, an object a document.
func (l *lab) objects(ctx context.Context, s *shell, i *incident) (string, error) {
	asks := []string{kinds, clusterKinds, "namespace " + i.namespace()}
	for space := range i.Namespaces {
		if space != i.namespace() {
			asks = append(asks, kinds+" -n "+space)
		}
	}
	asks = append(asks, i.Objects...)
	var docs []string
	for _, ask := range asks {
		out, err := s.kubectl(ctx, "", append([]string{"get", "-o", "json", "--show-managed-fields=true"}, strings.Fields(ask)...)...)
		if err != nil {
			return "", err
		}
		more, err := documents([]byte(out))
		if err != nil {
			return "", err
		}
		docs = append(docs, more...)
	}
	return l.scrub(strings.Join(docs, "---\n")), nil
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
	var describe, logs []string
	readied := 0
	for _, p := range pods {
		ns, name := p.Metadata.Namespace, p.Metadata.Name
		if p.ready() {
			readied++
		}
		if len(describe) < described && readied <= 2 {
			describe = append(describe, "kubectl describe pod "+name+" -n "+ns)
		}
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if _, waiting := c.State["waiting"]; waiting && c.RestartCount == 0 || len(logs) >= logged {
				continue
			}
			logs = append(logs, fmt.Sprintf("kubectl logs %s -c %s -n %s --tail=40", name, c.Name, ns))
			if c.RestartCount > 0 {
				logs = append(logs, fmt.Sprintf("kubectl logs %s -c %s -n %s --previous --tail=40", name, c.Name, ns))
			}
		}
	}
	return append(describe, logs...)
}

var kernel = regexp.MustCompile(`(?m)(kernelVersion: |Kernel Version: +)\S+`)

// scrub removes what is this machine's own from a text.
func (l *lab) scrub(text string) string {
	text = kernel.ReplaceAllString(text, "${1}6.1.0-32-amd64")
	if host, err := os.Hostname(); err == nil && len(host) > 3 {
		text = strings.ReplaceAll(text, host, "workstation")
	}
	return text
}

// documents splits a list of JSON into documents of YAML, each with its managed fields.
func documents(list []byte) ([]string, error) {
	var l struct{ Items []map[string]any }
	if err := json.Unmarshal(list, &l); err != nil {
		return nil, err
	}
	if l.Items == nil {
		var one map[string]any
		if err := json.Unmarshal(list, &one); err != nil {
			return nil, err
		}
		if one["kind"] != "List" {
			l.Items = []map[string]any{one}
		}
	}
	var out []string
	for _, o := range l.Items {
		text, err := yaml.Marshal(o)
		if err != nil {
			return nil, err
		}
		out = append(out, string(text))
	}
	return out, nil
}
