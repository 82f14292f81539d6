package recorded_test

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

func labelSelector(v value) string {
	return or(strings.Join(kv(v.At("matchLabels").StrMap(), "="), ","), "<none>")
}

func (p *printer) template(f line, t value) {
	f("Pod Template:\n")
	multi(f, "  ", "Labels", kv(t.At("metadata", "labels").StrMap(), "="))
	if sa := t.At("spec", "serviceAccountName").Str(); sa != "" {
		f("  Service Account:\t%s\n", sa)
	}
	if c := t.At("spec", "initContainers").Items(); len(c) > 0 {
		p.containers(f, "Init Containers", "  ", c, nil)
	}
	p.containers(f, "Containers", "  ", t.At("spec", "containers").Items(), nil)
	volumesOf(f, "  ", t.At("spec", "volumes").Items())
	scheduling(f, "  ", t.At("spec"))
}

func (p *printer) workload(f line, o *diagnose.Object) {
	n := func(field string) int64 { return o.At("status", field).IntOr(0) }
	want := o.At("spec", "replicas").IntOr(1)
	p.head(f, o)
	switch o.Ref().Kind {
	case "Deployment":
		f("CreationTimestamp:\t%s\n", stamp(o.At("metadata", "creationTimestamp")))
		p.meta(f, o)
		f("Selector:\t%s\n", labelSelector(o.At("spec", "selector")))
		f("Replicas:\t%d desired | %d updated | %d total | %d available | %d unavailable\n", want, n("updatedReplicas"), n("replicas"), max(n("availableReplicas"), n("readyReplicas")), n("unavailableReplicas"))
		ru := o.At("spec", "strategy", "rollingUpdate")
		f("StrategyType:\t%s\nMinReadySeconds:\t%d\n", or(o.At("spec", "strategy", "type").Str(), "RollingUpdate"), o.At("spec", "minReadySeconds").IntOr(0))
		if o.At("spec", "strategy", "type").Str() != "Recreate" {
			f("RollingUpdateStrategy:\t%s max unavailable, %s max surge\n", or(ru.At("maxUnavailable").Text(), "25%"), or(ru.At("maxSurge").Text(), "25%"))
		}
		p.template(f, o.At("spec", "template"))
		conditionsOf(f, o, "Type", "Status", "Reason")
		f("OldReplicaSets:\t<none>\nNewReplicaSet:\t<none>\n")
	case "ReplicaSet":
		f("Selector:\t%s\n", labelSelector(o.At("spec", "selector")))
		p.meta(f, o)
		if r, ok := o.Owner(); ok {
			f("Controlled By:\t%s/%s\n", r.Kind, r.Name)
		}
		f("Replicas:\t%d current / %d desired\nPods Status:\t%d Running / 0 Waiting / 0 Succeeded / 0 Failed\n", n("replicas"), want, n("readyReplicas"))
		p.template(f, o.At("spec", "template"))
		conditionsOf(f, o, "Type", "Status", "Reason")
	case "StatefulSet":
		f("CreationTimestamp:\t%s\n", stamp(o.At("metadata", "creationTimestamp")))
		f("Selector:\t%s\n", labelSelector(o.At("spec", "selector")))
		p.meta(f, o)
		f("Replicas:\t%d desired | %d total\nUpdate Strategy:\tRollingUpdate\n", want, n("replicas"))
		p.template(f, o.At("spec", "template"))
		f("Volume Claims:\t<none>\n")
	case "DaemonSet":
		f("Selector:\t%s\nNode-Selector:\t<none>\n", labelSelector(o.At("spec", "selector")))
		p.meta(f, o)
		f("Desired Number of Nodes Scheduled: %d\nCurrent Number of Nodes Scheduled: %d\nNumber of Nodes Scheduled with Up-to-date Pods: %d\nNumber of Nodes Scheduled with Available Pods: %d\n", n("desiredNumberScheduled"), n("currentNumberScheduled"), n("updatedNumberScheduled"), n("numberAvailable"))
		p.template(f, o.At("spec", "template"))
	case "Job":
		p.meta(f, o)
		if r, ok := o.Owner(); ok {
			f("Controlled By:\t%s/%s\n", r.Kind, r.Name)
		}
		f("Parallelism:\t%d\nCompletions:\t%d\nSuspend:\t%v\nBackoff Limit:\t%d\n", o.At("spec", "parallelism").IntOr(1), o.At("spec", "completions").IntOr(1), o.At("spec", "suspend").Bool(), o.At("spec", "backoffLimit").IntOr(6))
		f("Pods Statuses:\t%d Active (%d Ready) / %d Succeeded / %d Failed\n", n("active"), n("ready"), n("succeeded"), n("failed"))
		p.template(f, o.At("spec", "template"))
	}
}

func (p *printer) node(f line, o *diagnose.Object) {
	f("Name:\t%s\nRoles:\t<none>\n", o.Ref().Name)
	p.meta(f, o)
	f("CreationTimestamp:\t%s\n", stamp(o.At("metadata", "creationTimestamp")))
	var taints []string
	for _, t := range o.At("spec", "taints").Items() {
		text := t.At("key").Str()
		if v := t.At("value").Str(); v != "" {
			text += "=" + v
		}
		taints = append(taints, text+":"+t.At("effect").Str())
	}
	multi(f, "", "Taints", taints)
	f("Unschedulable:\t%v\n", o.At("spec", "unschedulable").Bool())
	for _, l := range p.snap.Kind("Lease", "kube-node-lease") {
		if l.Ref().Name == o.Ref().Name {
			f("Lease:\n  HolderIdentity:\t%s\n  AcquireTime:\t<unset>\n  RenewTime:\t%s\n", l.Ref().Name, stamp(l.At("spec", "renewTime")))
		}
	}
	conditionsOf(f, o, "Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message")
	f("Addresses:\n  InternalIP:\t10.0.0.9\n")
	for _, field := range []string{"capacity", "allocatable"} {
		m := o.At("status", field)
		if len(m.Keys()) > 0 {
			f("%s:\n", strings.ToUpper(field[:1])+field[1:])
			for _, k := range m.Keys() {
				f("  %s:\t%s\n", k, m.At(k).Text())
			}
		}
	}
	f("System Info:\n  Kubelet Version:\tv1.34.0\n")
}

func (p *printer) service(f line, o *diagnose.Object) {
	p.head(f, o)
	p.meta(f, o)
	f("Selector:\t%s\nType:\t%s\nIP Families:\tIPv4\nIP:\t10.96.0.7\nIPs:\t10.96.0.7\n", or(strings.Join(kv(o.At("spec", "selector").StrMap(), "="), ","), "<none>"), or(o.At("spec", "type").Str(), "ClusterIP"))
	for _, port := range o.At("spec", "ports").Items() {
		protocol := or(port.At("protocol").Str(), "TCP")
		target := port.At("targetPort")
		if !target.Exists() {
			target = port.At("port")
		}
		f("Port:\t%s\t%s/%s\nTargetPort:\t%s/%s\n", or(port.At("name").Str(), "<unset>"), port.At("port").Text(), protocol, target.Text(), protocol)
		var addresses []string
		n := 0
		slices := p.snap.Labelled("EndpointSlice", o.Ref().Namespace, map[string]string{"kubernetes.io/service-name": o.Ref().Name})
		for _, s := range slices {
			for _, e := range s.At("endpoints").Items() {
				if e.At("conditions", "ready").Bool() {
					n++
					addresses = append(addresses, fmt.Sprintf("10.1.0.%d:%s", n, target.Text()))
				}
			}
		}
		if len(slices) == 0 {
			for _, pod := range p.snap.Labelled("Pod", o.Ref().Namespace, o.At("spec", "selector").StrMap()) {
				for _, c := range pod.At("status", "conditions").Items() {
					if c.At("type").Str() == "Ready" && c.At("status").Str() == "True" {
						n++
						addresses = append(addresses, fmt.Sprintf("10.1.0.%d:%s", n, target.Text()))
					}
				}
			}
		}
		f("Endpoints:\t%s\n", strings.Join(addresses, ","))
	}
	if v := o.At("spec", "internalTrafficPolicy").Str(); v != "" {
		f("Internal Traffic Policy:\t%s\n", v)
	}
	if v := o.At("spec", "externalTrafficPolicy").Str(); v != "" {
		f("External Traffic Policy:\t%s\n", v)
	}
	f("Session Affinity:\tNone\n")
}
