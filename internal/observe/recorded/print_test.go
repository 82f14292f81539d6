package recorded_test

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

// printer writes a snapshot as kubectl 1.34 prints it.
type printer struct {
	strings.Builder
	snap *diagnose.Snapshot
}

type value = diagnose.Value

func (p *printer) age(v value) string {
	t := v.Time()
	if t.IsZero() {
		return "<unknown>"
	}
	return human(p.snap.ObservedAt().Sub(t))
}

// human writes a duration as kubectl does.
func human(d time.Duration) string {
	s := int(d.Seconds())
	m, h := s/60, s/3600
	switch {
	case s < 0:
		return "0s"
	case s < 120:
		return fmt.Sprintf("%ds", s)
	case m < 10:
		if s%60 == 0 {
			return fmt.Sprintf("%dm", m)
		}
		return fmt.Sprintf("%dm%ds", m, s%60)
	case m < 180:
		return fmt.Sprintf("%dm", m)
	case h < 8:
		if m%60 == 0 {
			return fmt.Sprintf("%dh", h)
		}
		return fmt.Sprintf("%dh%dm", h, m%60)
	case h < 48:
		return fmt.Sprintf("%dh", h)
	case h < 192:
		if h%24 == 0 {
			return fmt.Sprintf("%dd", h/24)
		}
		return fmt.Sprintf("%dd%dh", h/24, h%24)
	}
	return fmt.Sprintf("%dd", h/24)
}

func stamp(v value) string { return v.Time().Format(time.RFC1123Z) }

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// aligned writes cells that are separated by tabs.
func (p *printer) aligned(padding int, write func(f func(format string, args ...any))) {
	w := tabwriter.NewWriter(&p.Builder, 0, 8, padding, ' ', 0)
	write(func(format string, args ...any) { fmt.Fprintf(w, format, args...) })
	w.Flush()
}

func (p *printer) table(rows [][]string) {
	p.aligned(3, func(f func(string, ...any)) {
		for _, r := range rows {
			f("%s\n", strings.Join(r, "\t"))
		}
	})
}

func kv(m map[string]string, sep string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+sep+m[k])
	}
	return out
}

type line = func(string, ...any)

func multi(f line, prefix, key string, values []string) {
	if len(values) == 0 {
		values = []string{"<none>"}
	}
	for i, v := range values {
		if i == 0 {
			f("%s%s:\t%s\n", prefix, key, v)
		} else {
			f("%s\t%s\n", prefix, v)
		}
	}
}

func (p *printer) head(f line, o *diagnose.Object) {
	f("Name:\t%s\n", o.Ref().Name)
	if o.Ref().Namespace != "" {
		f("Namespace:\t%s\n", o.Ref().Namespace)
	}
}

func (p *printer) meta(f line, o *diagnose.Object) {
	multi(f, "", "Labels", kv(o.Labels(), "="))
	multi(f, "", "Annotations", kv(o.At("metadata", "annotations").StrMap(), ": "))
}

// events writes the Events section.
func (p *printer) events(f line, o *diagnose.Object) {
	events := p.snap.EventsOf(o.Ref())
	if len(events) == 0 {
		f("Events:\t<none>\n")
		return
	}
	f("Events:\n  Type\tReason\tAge\tFrom\tMessage\n  ----\t------\t----\t----\t-------\n")
	for _, e := range events {
		f("  %s\t%s\t%s\t%s\t%s\n", e.At("type").Str(), e.At("reason").Str(), p.seen(e), e.At("source", "component").Str(), strings.TrimSpace(e.At("message").Str()))
	}
}

func (p *printer) seen(e *diagnose.Object) string {
	last, first := e.At("lastTimestamp"), e.At("firstTimestamp")
	if last.Time().IsZero() {
		last = e.At("metadata", "creationTimestamp")
	}
	if n := e.At("count").IntOr(0); n > 1 {
		if first.Time().IsZero() {
			first = last
		}
		return fmt.Sprintf("%s (x%d over %s)", p.age(last), n, p.age(first))
	}
	return p.age(last)
}

func conditionsOf(f line, o *diagnose.Object, columns ...string) {
	list := o.At("status", "conditions").Items()
	if len(list) == 0 {
		return
	}
	f("Conditions:\n  %s\n", strings.Join(columns, "\t"))
	for _, c := range list {
		var row []string
		for _, col := range columns {
			field := strings.ToLower(col[:1]) + col[1:]
			if strings.HasSuffix(field, "Time") {
				t := c.At(field)
				if !t.Exists() {
					t = c.At("lastTransitionTime")
				}
				row = append(row, stamp(t))
				continue
			}
			row = append(row, c.At(field).Str())
		}
		f("  %s\n", strings.Join(row, "\t"))
	}
}

func (p *printer) containers(f line, label, space string, specs, statuses []value) {
	f("%s%s:\n", space, label)
	indent := ""
	if space != "" {
		indent = " "
	}
	for _, c := range specs {
		f("  %s%s:\n", indent, c.At("name").Str())
		w := func(format string, args ...any) { f("    "+format, args...) }
		w("Image:\t%s\n", c.At("image").Str())
		var ports []string
		for _, port := range c.At("ports").Items() {
			text := port.At("containerPort").Text() + "/" + or(port.At("protocol").Str(), "TCP")
			if n := port.At("name").Str(); n != "" {
				text += " (" + n + ")"
			}
			ports = append(ports, text)
		}
		key := "Port"
		if len(ports) > 1 {
			key = "Ports"
		}
		w("%s:\t%s\n", key, or(strings.Join(ports, ", "), "<none>"))
		var hostPorts []string
		for _, port := range c.At("ports").Items() {
			hostPorts = append(hostPorts, fmt.Sprintf("%d/TCP", port.At("hostPort").IntOr(0)))
		}
		w("%s:\t%s\n", strings.Replace(key, "Port", "Host Port", 1), or(strings.Join(hostPorts, ", "), "<none>"))
		for _, list := range []string{"command", "args"} {
			if items := c.At(list).Items(); len(items) > 0 {
				w("%s:\n", strings.ToUpper(list[:1])+list[1:])
				for _, i := range items {
					w("  %s\n", i.Str())
				}
			}
		}
		for _, st := range statuses {
			if st.At("name").Str() != c.At("name").Str() {
				continue
			}
			p.state(w, "State", st.At("state"))
			if st.At("lastState", "terminated").Exists() {
				p.state(w, "Last State", st.At("lastState"))
			}
			ready := "False"
			if st.At("ready").Bool() {
				ready = "True"
			}
			w("Ready:\t%s\n", ready)
			w("Restart Count:\t%d\n", st.At("restartCount").IntOr(0))
		}
		for _, list := range []string{"limits", "requests"} {
			m := c.At("resources", list)
			if len(m.Keys()) > 0 {
				w("%s:\n", strings.ToUpper(list[:1])+list[1:])
				for _, k := range m.Keys() {
					w("  %s:\t%s\n", k, m.At(k).Text())
				}
			}
		}
		for _, probe := range []string{"liveness", "readiness", "startup"} {
			if v := c.At(probe + "Probe"); v.Exists() {
				w("%s:\t%s\n", strings.ToUpper(probe[:1])+probe[1:], probeText(v))
			}
		}
		if from := c.At("envFrom").Items(); len(from) > 0 {
			w("Environment Variables from:\n")
			for _, e := range from {
				for field, kind := range map[string]string{"configMapRef": "ConfigMap", "secretRef": "Secret"} {
					if r := e.At(field); r.Exists() {
						w("  %s\t%s\tOptional: %v\n", r.At("name").Str(), kind, r.At("optional").Bool())
					}
				}
			}
		}
		env := c.At("env").Items()
		if len(env) == 0 {
			w("Environment:\t<none>\n")
		} else {
			w("Environment:\n")
		}
		for _, e := range env {
			switch from := e.At("valueFrom"); {
			case from.At("secretKeyRef").Exists():
				r := from.At("secretKeyRef")
				w("  %s:\t<set to the key '%s' in secret '%s'>\tOptional: %v\n", e.At("name").Str(), r.At("key").Str(), r.At("name").Str(), r.At("optional").Bool())
			case from.At("configMapKeyRef").Exists():
				r := from.At("configMapKeyRef")
				w("  %s:\t<set to the key '%s' of config map '%s'>\tOptional: %v\n", e.At("name").Str(), r.At("key").Str(), r.At("name").Str(), r.At("optional").Bool())
			case from.At("fieldRef").Exists():
				w("  %s:\t (v1:%s)\n", e.At("name").Str(), from.At("fieldRef", "fieldPath").Str())
			default:
				w("  %s:\t%s\n", e.At("name").Str(), e.At("value").Str())
			}
		}
		mounts := c.At("volumeMounts").Items()
		if len(mounts) == 0 {
			w("Mounts:\t<none>\n")
		} else {
			w("Mounts:\n")
		}
		for _, m := range mounts {
			w("  %s from %s (rw)\n", m.At("mountPath").Str(), m.At("name").Str())
		}
	}
}

func probeText(v value) string {
	attrs := fmt.Sprintf("delay=%ds timeout=%ds period=%ds #success=%d #failure=%d", v.At("initialDelaySeconds").IntOr(0), v.At("timeoutSeconds").IntOr(1),
		v.At("periodSeconds").IntOr(10), v.At("successThreshold").IntOr(1), v.At("failureThreshold").IntOr(3))
	switch {
	case v.At("httpGet").Exists():
		return fmt.Sprintf("http-get http://:%s%s %s", v.At("httpGet", "port").Text(), v.At("httpGet", "path").Str(), attrs)
	case v.At("tcpSocket").Exists():
		return fmt.Sprintf("tcp-socket :%s %s", v.At("tcpSocket", "port").Text(), attrs)
	case v.At("grpc").Exists():
		return fmt.Sprintf("grpc <pod>:%s  %s", v.At("grpc", "port").Text(), attrs)
	}
	var words []string
	for _, w := range v.At("exec", "command").Items() {
		words = append(words, w.Str())
	}
	return fmt.Sprintf("exec [%s] %s", strings.Join(words, " "), attrs)
}

func (p *printer) state(w line, key string, v value) {
	switch {
	case v.At("running").Exists():
		w("%s:\tRunning\n", key)
		w("  Started:\t%s\n", stamp(v.At("running", "startedAt")))
	case v.At("terminated").Exists():
		t := v.At("terminated")
		w("%s:\tTerminated\n", key)
		if r := t.At("reason").Str(); r != "" {
			w("  Reason:\t%s\n", r)
		}
		if m := t.At("message").Str(); m != "" {
			w("  Message:\t%s\n", m)
		}
		w("  Exit Code:\t%d\n", t.At("exitCode").IntOr(0))
		w("  Started:\t%s\n", stamp(t.At("startedAt")))
		w("  Finished:\t%s\n", stamp(t.At("finishedAt")))
	default:
		w("%s:\tWaiting\n", key)
		if r := v.At("waiting", "reason").Str(); r != "" {
			w("  Reason:\t%s\n", r)
		}
	}
}

func volumesOf(f line, space string, volumes []value) {
	if len(volumes) == 0 {
		f("%sVolumes:\t<none>\n", space)
		return
	}
	indent := ""
	if space != "" {
		indent = " "
	}
	f("%sVolumes:\n", space)
	for _, v := range volumes {
		f("  %s%s:\n", indent, v.At("name").Str())
		switch {
		case v.At("configMap").Exists():
			f("    Type:\tConfigMap (a volume populated by a ConfigMap)\n    Name:\t%s\n    Optional:\t%v\n", v.At("configMap", "name").Str(), v.At("configMap", "optional").Bool())
		case v.At("secret").Exists():
			f("    Type:\tSecret (a volume populated by a Secret)\n    SecretName:\t%s\n    Optional:\t%v\n", v.At("secret", "secretName").Str(), v.At("secret", "optional").Bool())
		case v.At("persistentVolumeClaim").Exists():
			f("    Type:\tPersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)\n    ClaimName:\t%s\n    ReadOnly:\tfalse\n", v.At("persistentVolumeClaim", "claimName").Str())
		case v.At("emptyDir").Exists():
			f("    Type:\tEmptyDir (a temporary directory that shares a pod's lifetime)\n    Medium:\t\n    SizeLimit:\t%s\n", or(v.At("emptyDir", "sizeLimit").Text(), "<unset>"))
		case v.At("hostPath").Exists():
			f("    Type:\tHostPath (bare host directory volume)\n    Path:\t%s\n    HostPathType:\t\n", v.At("hostPath", "path").Str())
		case v.At("projected").Exists():
			f("    Type:\tProjected (a volume that contains injected data from multiple sources)\n")
			for _, s := range v.At("projected", "sources").Items() {
				for field, key := range map[string]string{"configMap": "ConfigMapName", "secret": "SecretName"} {
					if s.At(field).Exists() {
						f("    %s:\t%s\n    Optional:\t%v\n", key, s.At(field, "name").Str(), s.At(field, "optional").Bool())
					}
				}
			}
		}
	}
}

func scheduling(f line, space string, spec value) {
	multi(f, space, "Node-Selectors", kv(spec.At("nodeSelector").StrMap(), "="))
	var tolerations []string
	for _, t := range spec.At("tolerations").Items() {
		text := t.At("key").Str()
		if v := t.At("value").Str(); v != "" {
			text += "=" + v
		}
		if e := t.At("effect").Str(); e != "" {
			text += ":" + e
		}
		if t.At("operator").Str() == "Exists" {
			text = strings.TrimSpace(text + " op=Exists")
		}
		if s, ok := t.At("tolerationSeconds").Int(); ok {
			text += fmt.Sprintf(" for %ds", s)
		}
		tolerations = append(tolerations, text)
	}
	sort.Strings(tolerations)
	multi(f, space, "Tolerations", tolerations)
	var spread []string
	for _, c := range spec.At("topologySpreadConstraints").Items() {
		text := fmt.Sprintf("%s:%s when max skew %d is exceeded", c.At("topologyKey").Str(), c.At("whenUnsatisfiable").Str(), c.At("maxSkew").IntOr(1))
		if selector := c.At("labelSelector", "matchLabels").StrMap(); len(selector) > 0 {
			text += " for selector " + strings.Join(kv(selector, "="), ",")
		}
		spread = append(spread, text)
	}
	if len(spread) > 0 {
		multi(f, space, "Topology Spread Constraints", spread)
	}
}

func (p *printer) pod(f line, o *diagnose.Object) {
	p.head(f, o)
	f("Priority:\t%d\n", o.At("spec", "priority").IntOr(0))
	f("Service Account:\t%s\n", or(o.At("spec", "serviceAccountName").Str(), "default"))
	if n := o.At("spec", "nodeName").Str(); n == "" {
		f("Node:\t<none>\n")
	} else {
		f("Node:\t%s/10.0.0.9\n", n)
	}
	if t := o.At("status", "startTime"); t.Exists() {
		f("Start Time:\t%s\n", stamp(t))
	}
	p.meta(f, o)
	if o.Deleting() {
		f("Status:\tTerminating (lasts %s)\n", p.age(o.At("metadata", "deletionTimestamp")))
	} else {
		f("Status:\t%s\n", o.At("status", "phase").Str())
	}
	for _, k := range []string{"reason", "message"} {
		if v := o.At("status", k).Str(); v != "" {
			f("%s:\t%s\n", strings.ToUpper(k[:1])+k[1:], v)
		}
	}
	f("IP:\t%s\n", o.At("status", "podIP").Str())
	if r, ok := o.Owner(); ok {
		f("Controlled By:\t%s/%s\n", r.Kind, r.Name)
	}
	if c := o.At("spec", "initContainers").Items(); len(c) > 0 {
		p.containers(f, "Init Containers", "", c, o.At("status", "initContainerStatuses").Items())
	}
	p.containers(f, "Containers", "", o.At("spec", "containers").Items(), o.At("status", "containerStatuses").Items())
	conditionsOf(f, o, "Type", "Status")
	volumesOf(f, "", o.At("spec", "volumes").Items())
	f("QoS Class:\tBurstable\n")
	scheduling(f, "", o.At("spec"))
}
