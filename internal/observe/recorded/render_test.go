package recorded_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

// describe writes the description of an object; false when this printer does not know its kind.
func (p *printer) describe(o *diagnose.Object) bool {
	var write func(f line, o *diagnose.Object)
	switch o.Ref().Kind {
	case "Pod":
		write = p.pod
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job":
		write = p.workload
	case "Node":
		write = p.node
	case "Service":
		write = p.service
	case "ResourceQuota":
		write = func(f line, o *diagnose.Object) {
			p.head(f, o)
			f("Resource\tUsed\tHard\n--------\t----\t----\n")
			hard := o.At("status", "hard")
			for _, k := range hard.Keys() {
				f("%s\t%s\t%s\n", k, o.At("status", "used", k).Text(), hard.At(k).Text())
			}
		}
	case "PersistentVolumeClaim":
		write = func(f line, o *diagnose.Object) {
			p.head(f, o)
			status := o.At("status", "phase").Str()
			if o.Deleting() {
				status = fmt.Sprintf("Terminating (lasts %s)", p.age(o.At("metadata", "deletionTimestamp")))
			}
			f("StorageClass:\t%s\nStatus:\t%s\nVolume:\t%s\n", o.At("spec", "storageClassName").Str(), status, o.At("spec", "volumeName").Str())
			p.meta(f, o)
			f("Finalizers:\t[kubernetes.io/pvc-protection]\nCapacity:\t%s\nAccess Modes:\tRWO\nVolumeMode:\tFilesystem\nUsed By:\t<none>\n", o.At("status", "capacity", "storage").Text())
		}
	case "StorageClass":
		write = func(f line, o *diagnose.Object) {
			def := "No"
			if o.At("metadata", "annotations", "storageclass.kubernetes.io/is-default-class").Str() == "true" {
				def = "Yes"
			}
			f("Name:\t%s\nIsDefaultClass:\t%s\nAnnotations:\t<none>\nProvisioner:\t%s\nParameters:\t<none>\nAllowVolumeExpansion:\t<unset>\nMountOptions:\t<none>\nReclaimPolicy:\tDelete\nVolumeBindingMode:\t%s\n", o.Ref().Name, def, o.At("provisioner").Str(), or(o.At("volumeBindingMode").Str(), "Immediate"))
		}
	case "ConfigMap":
		write = func(f line, o *diagnose.Object) {
			p.head(f, o)
			p.meta(f, o)
			f("\nData\n====\n")
			for _, k := range o.At("data").Keys() {
				f("%s:\n----\n%s\n\n", k, o.At("data", k).Str())
			}
			f("\nBinaryData\n====\n\n")
		}
	case "ServiceAccount":
		write = func(f line, o *diagnose.Object) {
			p.head(f, o)
			p.meta(f, o)
			for key, field := range map[string]string{"Image pull secrets": "imagePullSecrets", "Mountable secrets": "secrets"} {
				var names []string
				for _, s := range o.At(field).Items() {
					names = append(names, s.At("name").Str())
				}
				multi(f, "", key, names)
			}
			f("Tokens:\t<none>\n")
		}
	default:
		return false
	}
	p.aligned(2, func(f func(string, ...any)) {
		write(f, o)
		p.events(f, o)
	})
	return true
}

// short are kinds with the columns of their tables.
func (p *printer) rowOf(o *diagnose.Object) (head, row []string) {
	name, created := o.Ref().Name, p.age(o.At("metadata", "creationTimestamp"))
	n := func(path ...string) string { return fmt.Sprint(o.At(path...).IntOr(0)) }
	want := fmt.Sprint(o.At("spec", "replicas").IntOr(1))
	switch o.Ref().Kind {
	case "Pod":
		ready, total, restarts, status := p.podStatus(o)
		return []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"}, []string{name, fmt.Sprintf("%d/%d", ready, total), status, restarts, created, or(o.At("status", "podIP").Str(), "<none>"), or(o.At("spec", "nodeName").Str(), "<none>"), "<none>", "<none>"}
	case "Deployment":
		return []string{"NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"}, []string{name, n("status", "readyReplicas") + "/" + want, n("status", "updatedReplicas"), n("status", "availableReplicas"), created}
	case "ReplicaSet":
		return []string{"NAME", "DESIRED", "CURRENT", "READY", "AGE"}, []string{name, want, n("status", "replicas"), n("status", "readyReplicas"), created}
	case "StatefulSet":
		return []string{"NAME", "READY", "AGE"}, []string{name, n("status", "readyReplicas") + "/" + want, created}
	case "DaemonSet":
		return []string{"NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR", "AGE"}, []string{name, n("status", "desiredNumberScheduled"), n("status", "currentNumberScheduled"), n("status", "numberReady"), n("status", "updatedNumberScheduled"), n("status", "numberAvailable"), "<none>", created}
	case "Job":
		status := "Running"
		for _, c := range o.At("status", "conditions").Items() {
			if c.At("status").Str() == "True" && (c.At("type").Str() == "Complete" || c.At("type").Str() == "Failed") {
				status = c.At("type").Str()
			}
		}
		return []string{"NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"}, []string{name, status, n("status", "succeeded") + "/1", created, created}
	case "Secret":
		return []string{"NAME", "TYPE", "DATA", "AGE"}, []string{name, "Opaque", "1", created}
	case "Namespace":
		return []string{"NAME", "STATUS", "AGE"}, []string{name, or(o.At("status", "phase").Str(), "Active"), created}
	}
	return []string{"NAME", "AGE"}, []string{name, created}
}

// podStatus is what the STATUS column reads.
func (p *printer) podStatus(o *diagnose.Object) (ready, total int, restarts, status string) {
	status = or(o.At("status", "reason").Str(), o.At("status", "phase").Str())
	total = len(o.At("spec", "containers").Items())
	var n int64
	var last time.Time
	init := false
	for _, s := range o.At("status", "initContainerStatuses").Items() {
		w, t := s.At("state", "waiting", "reason").Str(), s.At("state", "terminated")
		switch {
		case t.Exists() && t.At("exitCode").IntOr(0) == 0:
			continue
		case t.Exists():
			status, init = "Init:"+or(t.At("reason").Str(), "Error"), true
		case w != "" && w != "PodInitializing":
			status, init = "Init:"+w, true
		default:
			status, init = "Init:0/1", true
		}
		n += s.At("restartCount").IntOr(0)
		break
	}
	if !init {
		for _, s := range o.At("status", "containerStatuses").Items() {
			n += s.At("restartCount").IntOr(0)
			if t := s.At("lastState", "terminated", "finishedAt").Time(); t.After(last) {
				last = t
			}
			if r := s.At("state", "waiting", "reason").Str(); r != "" {
				status = r
			} else if r := s.At("state", "terminated", "reason").Str(); r != "" {
				status = r
			}
			if s.At("ready").Bool() {
				ready++
			}
		}
	}
	if o.Deleting() {
		status = "Terminating"
	}
	restarts = fmt.Sprint(n)
	if n > 0 && !last.IsZero() {
		restarts += " (" + human(p.snap.ObservedAt().Sub(last)) + " ago)"
	}
	return ready, total, restarts, or(status, "Pending")
}

var pluralOf = map[string]string{
	"Pod": "pods", "Service": "services", "PersistentVolumeClaim": "persistentvolumeclaims", "ResourceQuota": "resourcequotas", "LimitRange": "limitranges", "ServiceAccount": "serviceaccounts", "ConfigMap": "configmaps",
	"Secret": "secrets", "Node": "nodes", "PersistentVolume": "persistentvolumes", "Namespace": "namespaces", "Deployment": "deployments", "ReplicaSet": "replicasets", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets",
	"ControllerRevision": "controllerrevisions", "Job": "jobs", "CronJob": "cronjobs", "EndpointSlice": "endpointslices", "HorizontalPodAutoscaler": "hpa", "StorageClass": "storageclasses", "Lease": "leases", "Event": "events",
	"IngressClass": "ingressclasses", "PriorityClass": "priorityclasses", "VolumeAttachment": "volumeattachments", "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
	"MutatingWebhookConfiguration": "mutatingwebhookconfigurations", "Role": "roles", "RoleBinding": "rolebindings", "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings",
	"NetworkPolicy": "networkpolicies", "PodDisruptionBudget": "poddisruptionbudgets", "Ingress": "ingresses",
}

// render returns the sections of a recording: with descriptions and tables, or all as YAML.
func render(snap *diagnose.Snapshot, asYAML bool) []string {
	c := snap.Contents()
	byKind := map[string][]*diagnose.Object{}
	for _, o := range c.Objects {
		byKind[o.Ref().Kind] = append(byKind[o.Ref().Kind], o)
	}
	byKind["Event"] = c.Events
	for _, r := range c.Reads {
		if _, ok := byKind[r.Kind]; !ok {
			byKind[r.Kind] = nil
		}
	}
	sections := []string{"$ date\n" + c.ObservedAt.Format("Mon Jan _2 15:04:05 MST 2006") + "\n"}
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		objects, plural := byKind[kind], pluralOf[kind]
		if kind == "EndpointSlice" && !asYAML {
			continue
		}
		if plural == "" {
			asList(&sections, "$ cat objects.yaml\n", objects)
			continue
		}
		all := " -A"
		if len(objects) > 0 && objects[0].Ref().Namespace == "" {
			all = ""
		}
		if len(objects) == 0 {
			sections = append(sections, fmt.Sprintf("$ kubectl get %s -A\nNo resources found\n", plural))
			continue
		}
		p := &printer{snap: snap}
		switch {
		case asYAML && kind != "Secret":
			asList(&sections, fmt.Sprintf("$ kubectl get %s%s -o yaml\n", plural, all), objects)
			continue
		case kind == "Event":
			p.eventTable(objects)
		default:
			rows := [][]string{}
			for _, o := range objects {
				head, row := p.rowOf(o)
				head, row = append(head, "LABELS"), append(row, or(strings.Join(kv(o.Labels(), "="), ","), "<none>"))
				if all != "" {
					head, row = append([]string{"NAMESPACE"}, head...), append([]string{o.Ref().Namespace}, row...)
				}
				if len(rows) == 0 {
					rows = append(rows, head)
				}
				rows = append(rows, row)
			}
			fmt.Fprintf(p, "$ kubectl get %s%s --show-labels -o wide\n", plural, all)
			p.table(rows)
			for _, o := range objects {
				d := &printer{snap: snap}
				ns := ""
				if o.Ref().Namespace != "" {
					ns = " -n " + o.Ref().Namespace
				}
				if d.describe(o) {
					sections = append(sections, fmt.Sprintf("$ kubectl describe %s %s%s\n%s", strings.ToLower(kind), o.Ref().Name, ns, d.String()))
				} else if kind != "Secret" && kind != "Namespace" && kind != "Lease" {
					asList(&sections, fmt.Sprintf("$ kubectl get %s %s%s -o yaml\n", strings.ToLower(kind), o.Ref().Name, ns), []*diagnose.Object{o})
				}
			}
		}
		sections = append(sections, p.String())
	}
	for _, l := range c.Logs {
		previous := ""
		if l.Previous {
			previous = " --previous"
		}
		sections = append(sections, fmt.Sprintf("$ kubectl logs %s -c %s -n %s%s\n%s\n", l.Pod.Name, l.Container, l.Pod.Namespace, previous, strings.Join(l.Lines, "\n")))
	}
	for _, g := range c.Gaps {
		plural := pluralOf[g.Subject.Kind]
		if g.Subject.Kind == "Log" {
			plural = "pods/log"
		}
		sections = append(sections, fmt.Sprintf("$ kubectl get %s -A\nError from server (Forbidden): %s is forbidden: User \"me\" cannot list resource \"%s\" in API group \"\" at the cluster scope\n", plural, plural, plural))
	}
	return sections
}

func asList(sections *[]string, command string, objects []*diagnose.Object) {
	var b strings.Builder
	b.WriteString(command)
	b.WriteString("apiVersion: v1\nitems:\n")
	for _, o := range objects {
		raw, err := yaml.Marshal(o.Tree())
		if err != nil {
			panic(err)
		}
		for i, l := range strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n") {
			mark := "  "
			if i == 0 {
				mark = "- "
			}
			b.WriteString(mark + l + "\n")
		}
	}
	b.WriteString("kind: List\nmetadata:\n  resourceVersion: \"\"\n")
	*sections = append(*sections, b.String())
}

func (p *printer) eventTable(events []*diagnose.Object) {
	p.WriteString("$ kubectl get events -A\n")
	rows := [][]string{{"NAMESPACE", "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"}}
	for _, e := range events {
		last := e.At("lastTimestamp")
		if last.Time().IsZero() {
			last = e.At("metadata", "creationTimestamp")
		}
		rows = append(rows, []string{e.Ref().Namespace, p.age(last), e.At("type").Str(), e.At("reason").Str(), strings.ToLower(e.At("involvedObject", "kind").Str()) + "/" + e.At("involvedObject", "name").Str(), strings.TrimSpace(e.At("message").Str())})
	}
	p.table(rows)
}
