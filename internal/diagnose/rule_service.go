package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// nearMiss returns the one key of a selector that the labels do not satisfy, when they satisfy all
// others and there is at least one other; else "".
func nearMiss(selector, labels map[string]string) string {
	miss := ""
	for _, k := range sortedKeys(selector) {
		if labels[k] == selector[k] {
			continue
		}
		if miss != "" {
			return ""
		}
		miss = k
	}
	if len(selector) < 2 {
		return ""
	}
	return miss
}

// candidate is a workload that a Service was probably meant for, and the selector key that keeps
// them apart.
type candidate struct {
	workload *Object
	key      string
	labels   Value // of its Pods
}

// podLabels is where the labels of a workload's Pods were read: of its template, or of a Pod when a table shows no more of the template
// than what the workload selects by.
func (q *inquiry) podLabels(w *Object) Value {
	labels := templateOf(w).At("metadata", "labels")
	if pods := q.snap.podsOf(w.ref); len(pods) > 0 && !w.Covers("/spec/template/metadata/labels/-") {
		return pods[0].At("metadata", "labels")
	}
	return labels
}

// candidatesFor returns the workloads that a Service which selects nothing can have been meant for:
// they serve its target ports, no other Service selects them, and they differ from its selector in
// one label.
func (q *inquiry) candidatesFor(svc *Object) []candidate {
	selector := svc.At("spec", "selector").StrMap()
	var out []candidate
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "Pod"} {
		for _, w := range q.snap.Kind(kind, svc.ref.Namespace) {
			if _, owned := w.Owner(); owned {
				continue
			}
			place := q.podLabels(w)
			labels := place.StrMap()
			if selects(selector, labels) {
				return nil
			}
			key := nearMiss(selector, labels)
			if key == "" && len(selector) == 1 {
				only := sortedKeys(selector)[0]
				if v, has := labels[only]; has && q.akin(svc, w, selector[only], v) {
					key = only
				}
			}
			if key != "" && q.servesPorts(svc, w) && !q.servedByOther(svc, labels) {
				out = append(out, candidate{w, key, place})
			}
		}
	}
	return out
}

// akin reports whether something besides the lack of other candidates relates a Service of one label to a workload that has
// another value for it: a name that both share, a value that is a slip of the other, or a port that only one of them need
// name while the Service is new or called.
func (q *inquiry) akin(svc, w *Object, wanted, value string) bool {
	if svc.ref.Name == w.ref.Name || svc.ref.Name == value || wanted == w.ref.Name || nearest(wanted, []string{value}) != "" {
		return true
	}
	ports := declaredPorts(templateOf(w).At("spec"))
	for _, p := range svc.At("spec", "ports").Items() {
		if found, _ := portIn(ports, targetPort(p)); !found {
			return false
		}
	}
	return q.now.Sub(changeOf(svc)) < forgotten || len(q.callersOf(svc)) > 0
}

// servesPorts reports whether a workload declares every target port of the Service; one that declares
// no port may serve any number.
func (q *inquiry) servesPorts(svc, w *Object) bool {
	ports := declaredPorts(templateOf(w).At("spec"))
	for _, p := range svc.At("spec", "ports").Items() {
		if found, declared := portIn(ports, targetPort(p)); !found && declared {
			return false
		}
	}
	return true
}

// targetPort is where a Service port sends to: its targetPort, or the port itself.
func targetPort(p Value) Value {
	if t := p.At("targetPort"); t.Exists() && t.Text() != "0" && t.Text() != "" {
		return t
	}
	return p.At("port")
}

func (q *inquiry) servedByOther(svc *Object, labels map[string]string) bool {
	for _, other := range q.snap.Kind("Service", svc.ref.Namespace) {
		if sel := other.At("spec", "selector").StrMap(); other != svc && len(sel) > 0 && selects(sel, labels) {
			return true
		}
	}
	return false
}

// meantFor reports whether w is the only workload that the Service can have been meant for.
func (q *inquiry) meantFor(svc, w *Object) bool {
	c := q.candidatesFor(svc)
	return len(c) == 1 && c[0].workload == w
}

// ServiceSelector ends at a Service whose selector matches no Pod and no Pod template.
func (catalogue) ServiceSelector() rule {
	return rule{
		explains: []symptomKind{serviceEmpty},
		why: func(q *inquiry, s symptom) []answer {
			selector := s.object.At("spec", "selector")
			if len(q.snap.selectedWorkloads(s.object)) > 0 || len(q.selected(s.object)) > 0 || !q.podLabelsKnown(s.subject.Namespace) {
				return nil
			}
			text := selectorText(selector.StrMap())
			c := &cause{
				class: ClassServiceSelector, target: s.subject, direct: inferred, timing: timingUnrelated,
				signals: []string{"ServiceNoEndpoints"},
				params:  map[string]string{"SERVICE_NAME": s.subject.Name, "SELECTOR": text},
				last:    link{s.subject, fmt.Sprintf("the selector %s matches no Pod", text), []cite{at(selector)}},
				summary: fmt.Sprintf("%s selects no Pod: nothing has the labels %s.", s.subject, text),
				depends: []string{"Pod"},
			}
			candidates := q.candidatesFor(s.object)
			if len(candidates) == 1 {
				m := candidates[0]
				label := m.labels.At(m.key)
				has := fmt.Sprintf("have no label %s", m.key)
				if label.Exists() {
					has = fmt.Sprintf("have %s=%s", m.key, label.Str())
				}
				c.direct = proven
				c.last.statement = fmt.Sprintf("the selector wants %s=%s, and the Pods of %s %s", m.key, selector.At(m.key).Str(), m.workload.ref, has)
				c.last.proof = []cite{at(selector.At(m.key)), at(label)}
				c.summary = fmt.Sprintf("%s selects no Pod: its selector wants %s=%s, and the Pods of %s %s.", s.subject, m.key, selector.At(m.key).Str(), m.workload.ref, has)
				if label.Exists() {
					mended := selector.StrMap()
					mended[m.key] = label.Str()
					c.params["SUGGESTED_SELECTOR"] = selectorText(mended)
				}
				c.params["WORKLOAD_KIND"], c.params["WORKLOAD_NAME"] = m.workload.ref.Kind, m.workload.ref.Name
			} else if len(candidates) > 1 {
				c.direct = compared
				var names []string
				for _, m := range candidates {
					names = append(names, m.workload.ref.String())
				}
				c.factors = append(c.factors, "It can have been meant for "+list(names, 4)+".")
			}
			return []answer{{cause: c}}
		},
	}
}

// selectorText writes "k=v,k=v" in the order of the keys.
func selectorText(selector map[string]string) string {
	var parts []string
	for _, k := range sortedKeys(selector) {
		parts = append(parts, k+"="+selector[k])
	}
	return strings.Join(parts, ",")
}

// misaimed is a Service port whose target no selected Pod declares.
type misaimed struct {
	port, target Value
	named        bool
	ports        []port // what a Pod declares
	pod          *Object
}

// misaimedPort returns the first port of a Service whose target none of its Pods has. A named target
// that is missing has no endpoint at all. A number may be served without being declared, so that it
// counts only when every container of the Pods declares what it serves.
func (q *inquiry) misaimedPort(svc *Object) *misaimed {
	pods := slices.DeleteFunc(q.selected(svc), func(p *Object) bool { return p.partial || !isReady(p) })
	if len(pods) == 0 {
		return nil
	}
	for _, p := range svc.At("spec", "ports").Items() {
		target := targetPort(p)
		_, numeric := target.Int()
		served := false
		for _, pod := range pods {
			ports := declaredPorts(pod.At("spec"))
			found, declared := portIn(ports, target)
			if found || !declared || numeric && !declaresAll(pod, ports) {
				served = true
				break
			}
		}
		if !served {
			return &misaimed{p, target, !numeric, declaredPorts(pods[0].At("spec")), pods[0]}
		}
	}
	return nil
}

// declaresAll reports whether every container of a Pod declares a port.
func declaresAll(pod *Object, ports []port) bool {
	for _, c := range pod.At("spec", "containers").Items() {
		if !slices.ContainsFunc(ports, func(p port) bool { return p.container == c.At("name").Str() }) {
			return false
		}
	}
	return true
}

// ServicePort ends at a Service whose target port none of its Pods serves.
func (catalogue) ServicePort() rule {
	return rule{
		explains: []symptomKind{serviceMisaimed},
		why: func(q *inquiry, s symptom) []answer {
			m := q.misaimedPort(s.object)
			if m == nil {
				return nil
			}
			c := &cause{
				class: ClassServicePort, target: s.subject, detail: m.port.At("port").Text(), direct: compared, timing: timingUnrelated,
				signals: []string{"ServiceNoEndpoints", "ServicePortMismatch"},
				params:  map[string]string{"SERVICE_NAME": s.subject.Name, "PORT": m.target.Text(), "SELECTOR": selectorText(s.object.At("spec", "selector").StrMap())},
				last: link{
					s.subject, fmt.Sprintf("the Service sends to port %s, and its Pods serve %s", m.target.Text(), portList(m.ports)),
					[]cite{at(m.target)},
				},
				summary: fmt.Sprintf("%s sends to port %s, which its Pods do not serve: they have %s.", s.subject, m.target.Text(), portList(m.ports)),
			}
			if m.named {
				c.direct = proven
			}
			for i, p := range m.ports {
				if i < 4 {
					c.last.proof = append(c.last.proof, at(p.place.At("containerPort")))
				}
			}
			if len(m.ports) == 1 {
				c.params["SUGGESTED_PORT"] = strconv.FormatInt(m.ports[0].number, 10)
			}
			return []answer{{cause: c}}
		},
	}
}
