package diagnose

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mixed is a Service that also selects Pods of a workload which is no part of it.
type mixed struct {
	member, stranger *Object // workloads
	pod              *Object // of the stranger
	target           Value   // the port that the stranger does not serve; nowhere when it serves all
	other            *Object // the stranger's own Service
}

// strangers finds Pods that a Service selects and that do not belong behind it: they declare their ports, and the Service's number
// is not among them while another workload of it has that; or they run other images, have a Service of their own with
// a narrower selector, and the Service is not the only one for its other workload.
func (q *inquiry) strangers(svc *Object) *mixed {
	var tops, pods []*Object
	for _, pod := range q.selected(svc) {
		if pod.partial || !isReady(pod) {
			continue
		}
		if top := q.top(pod); !slices.Contains(tops, top) {
			tops, pods = append(tops, top), append(pods, pod)
		}
	}
	if len(tops) < 2 || svc.At("spec", "clusterIP").Str() == "None" {
		return nil
	}
	for _, p := range svc.At("spec", "ports").Items() {
		target := targetPort(p)
		if _, numeric := target.Int(); !numeric {
			continue
		}
		member, stranger := -1, -1
		for i, pod := range pods {
			ports := declaredPorts(pod.At("spec"))
			if found, _ := portIn(ports, target); found {
				member = i
			} else if len(ports) > 0 && declaresAll(pod, ports) {
				stranger = i
			}
		}
		if member >= 0 && stranger >= 0 {
			return &mixed{tops[member], tops[stranger], pods[stranger], target, nil}
		}
	}
	for i, pod := range pods {
		own := q.narrower(svc, pod)
		if own == nil {
			continue
		}
		for j, member := range pods {
			if j != i && q.narrower(svc, member) == nil && !shareImage(pod, member) {
				return &mixed{tops[j], tops[i], pod, Value{}, own}
			}
		}
	}
	return nil
}

// narrower returns another Service that selects the Pod by all that svc asks for and more.
func (q *inquiry) narrower(svc, pod *Object) *Object {
	wide := svc.At("spec", "selector").StrMap()
	for _, other := range q.snap.Kind("Service", svc.ref.Namespace) {
		sel := other.At("spec", "selector").StrMap()
		if other != svc && len(sel) > len(wide) && selects(wide, sel) && selects(sel, pod.Labels()) {
			return other
		}
	}
	return nil
}

func shareImage(a, b *Object) bool {
	for _, c := range a.At("spec", "containers").Items() {
		for _, d := range b.At("spec", "containers").Items() {
			if c.At("image").Str() == d.At("image").Str() {
				return true
			}
		}
	}
	return false
}

// ServiceTooBroad ends at a Service whose selector also takes Pods of a workload that does not belong behind it, so that a part of the
// calls goes astray.
func (catalogue) ServiceTooBroad() rule {
	return rule{
		explains: []symptomKind{serviceMixed},
		why: func(q *inquiry, s symptom) []answer {
			m := q.strangers(s.object)
			if m == nil {
				return nil
			}
			selector := s.object.At("spec", "selector")
			c := &cause{
				class: ClassServiceTooBroad, target: s.subject, direct: compared, timing: timingUnrelated,
				signals: []string{"ServiceSelectorTooBroad"},
				params:  map[string]string{"SERVICE_NAME": s.subject.Name, "SELECTOR": selectorText(selector.StrMap()), "WORKLOAD_KIND": m.member.ref.Kind, "WORKLOAD_NAME": m.member.ref.Name},
				last:    link{s.subject, fmt.Sprintf("its selector %s takes the Pods of %s as well as those of %s", selectorText(selector.StrMap()), m.stranger.ref, m.member.ref), []cite{at(selector), exists(m.pod)}},
			}
			if m.target.Exists() {
				c.last.statement += fmt.Sprintf(", which do not serve port %s", m.target.Text())
				c.last.proof = append(c.last.proof, at(m.target))
			} else {
				c.last.statement += fmt.Sprintf(", which have %s", m.other.ref)
				c.last.proof = append(c.last.proof, at(m.other.At("spec", "selector")))
			}
			c.summary = fmt.Sprintf("%s sends a part of its calls astray: %s.", s.subject, c.last.statement)
			if want := distinguishing(selector.StrMap(), templateOf(m.member).At("metadata", "labels").StrMap(), m.pod.Labels()); want != nil {
				c.params["SUGGESTED_SELECTOR"] = selectorText(want)
			}
			return []answer{{cause: c}}
		},
	}
}

// ServiceRefusesSome ends at the selector of a Service that refuses a caller although all behind it is ready: it also takes Pods of a workload
// that declares no port, beside those of one that declares the Service's.
func (catalogue) ServiceRefusesSome() rule {
	return rule{
		explains: []symptomKind{callFails, containerDying},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, t := range q.ties(s) {
				if t.svc == nil || t.said == nil || t.said.kind != unreached || !strings.Contains(strings.ToLower(t.said.text), "refused") || len(q.serviceSymptoms(t.svc)) > 0 {
					continue
				}
				m := q.portless(t.svc)
				if m == nil {
					continue
				}
				selector := t.svc.At("spec", "selector")
				c := &cause{
					class: ClassServiceTooBroad, target: t.ref, direct: min(t.strong, compared), timing: timingUnrelated, elsewhere: true,
					signals: []string{"ServiceSelectorTooBroad"}, depends: []string{"Log"},
					params: map[string]string{"SERVICE_NAME": t.ref.Name, "SELECTOR": selectorText(selector.StrMap()), "WORKLOAD_KIND": m.member.ref.Kind, "WORKLOAD_NAME": m.member.ref.Name},
					last: link{
						t.ref, fmt.Sprintf("its selector %s takes the Pods of %s, which serve port %s, and those of %s, which declare none", selectorText(selector.StrMap()), m.member.ref, m.target.Text(), m.stranger.ref),
						[]cite{at(selector), at(m.target), at(m.pod.At("spec", "containers"))},
					},
				}
				c.summary = fmt.Sprintf("%s sends a part of its calls astray: %s.", t.ref, c.last.statement)
				if want := distinguishing(selector.StrMap(), templateOf(m.member).At("metadata", "labels").StrMap(), m.pod.Labels()); want != nil {
					c.params["SUGGESTED_SELECTOR"] = selectorText(want)
				}
				out = append(out, answer{via: t.links(s), cause: c})
			}
			return out
		},
	}
}

// portless finds behind a Service the Pods of a workload that declares no port, while another one declares the port that the Service leads
// to. That alone is no fault, since a program may listen on a port without declaring it.
func (q *inquiry) portless(svc *Object) *mixed {
	var m mixed
	for _, p := range svc.At("spec", "ports").Items() {
		m.target = targetPort(p)
		for _, pod := range q.selected(svc) {
			if pod.partial || !isReady(pod) {
				continue
			}
			ports := declaredPorts(pod.At("spec"))
			if found, _ := portIn(ports, m.target); found {
				m.member = q.top(pod)
			} else if len(ports) == 0 {
				m.stranger, m.pod = q.top(pod), pod
			}
		}
		if m.member != nil && m.stranger != nil && m.member != m.stranger {
			return &m
		}
		m = mixed{}
	}
	return nil
}

// distinguishing adds to a selector a label of the member that the stranger does not have; nil when there is none.
func distinguishing(selector, member, stranger map[string]string) map[string]string {
	for _, k := range sortedKeys(member) {
		if stranger[k] != member[k] && k != "pod-template-hash" && k != "controller-revision-hash" {
			out := map[string]string{k: member[k]}
			maps.Copy(out, selector)
			return out
		}
	}
	return nil
}
