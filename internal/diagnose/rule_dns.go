package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// DNSDown leads from a container that cannot resolve names to the cluster's DNS when that does not serve: to what is wrong with its
// workload, and to the workload itself when nothing else is.
func (catalogue) DNSDown() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			said := q.unresolvedName(s)
			dns := q.dns()
			if dns.svc != nil && s.kind != callFails && q.isDNS(s.object) {
				return q.dnsEnds(s, dns)
			}
			if said == nil || dns.svc == nil || q.isDNS(s.object) {
				return nil
			}
			trouble := q.serviceSymptoms(dns.svc)
			if len(trouble) == 0 || trouble[0].kind != serviceEmpty {
				return nil
			}
			via := []link{
				{s.subject, fmt.Sprintf("container %q cannot resolve names: %s", s.container.name, quote(said.text)), []cite{said.cite}},
				trouble[0].link,
			}
			target := q.behind(dns.svc)
			c := &cause{
				class: ClassDNSDown, target: target, direct: compared, timing: timingUnrelated, elsewhere: true,
				signals: []string{"DNSDown"}, params: map[string]string{"SERVICE_NAME": dns.ref.Name}, depends: []string{"Log"},
				last:    link{target, "the cluster's DNS has no Pod that is ready", trouble[0].proof},
				summary: fmt.Sprintf("%s, the cluster's DNS, does not serve: %s cannot resolve names.", target, q.owner(s.object)),
			}
			out := []answer{{via: via, cause: c}}
			if w := q.snap.Object(target); w != nil && isZero(w) {
				c.direct = proven
				c.last.statement = "the cluster's DNS is asked to run no Pod"
				c.last.proof = append(slices.Clip(c.last.proof), at(w.At("spec", "replicas")))
				return out
			}
			for _, w := range q.snap.selectedWorkloads(dns.svc) {
				for _, next := range q.workloadSymptoms(w) {
					c.tier = fallback // what is wrong with its Pods says more
					out = append(out, answer{via: via, next: &next, tie: proven, settles: true})
				}
			}
			return out
		},
	}
}

// dnsEnds is for a Pod of the cluster's DNS that is not well itself.
func (q *inquiry) dnsEnds(s symptom, dns dnsService) []answer {
	trouble := q.serviceSymptoms(dns.svc)
	if len(trouble) == 0 || trouble[0].kind != serviceEmpty {
		return nil
	}
	target := q.owner(s.object)
	return []answer{{cause: &cause{
		class: ClassDNSDown, target: target, direct: compared, timing: timingUnrelated, elsewhere: true, tier: fallback,
		signals: []string{"DNSDown"}, params: map[string]string{"SERVICE_NAME": dns.ref.Name}, depends: []string{"Log"},
		last:    link{target, "the cluster's DNS has no Pod that is ready", trouble[0].proof},
		summary: fmt.Sprintf("%s, the cluster's DNS, does not serve: no name is resolved.", target),
	}}}
}

// isDNS reports whether a Pod is one of the cluster's DNS.
func (q *inquiry) isDNS(pod *Object) bool {
	d := q.dns()
	if d.svc == nil || pod.ref.Namespace != d.ref.Namespace {
		return false
	}
	selector := d.svc.At("spec", "selector").StrMap()
	return len(selector) > 0 && selects(selector, pod.Labels())
}

// DNSPolicy ends at a workload whose Pods ask another name server than the cluster's for the cluster's names.
func (catalogue) DNSPolicy() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			for _, t := range q.ties(s) {
				if t.said == nil || t.said.kind != unresolved || t.svc == nil {
					continue
				}
				statement, proof, direct := q.pastClusterDNS(s.object, t.host)
				if statement == "" {
					continue
				}
				target := q.owner(s.object)
				return []answer{{via: t.links(s), cause: &cause{
					class: ClassDNSPolicy, target: target, direct: direct, timing: timingUnrelated,
					signals: []string{"DNSPolicy", "CrashLoopBackOff"}, params: map[string]string{},
					last:    link{target, statement, proof},
					summary: fmt.Sprintf("%s cannot resolve %s, which exists: %s.", target, t.ref, statement),
				}}}
			}
			return nil
		},
	}
}

// pastClusterDNS says how a Pod's settings lead past the cluster's DNS for a name; "" when they do not.
func (q *inquiry) pastClusterDNS(pod *Object, host string) (string, []cite, directness) {
	policy, config := pod.At("spec", "dnsPolicy"), pod.At("spec", "dnsConfig")
	switch {
	case policy.Str() == "Default":
		return "its dnsPolicy is Default: its Pods ask the node's name servers, which do not know the cluster's names", []cite{at(policy)}, proven
	case pod.At("spec", "hostNetwork").Bool() && (policy.Str() == "ClusterFirst" || !policy.Exists() && policy.Known()):
		return "its Pods use the host's network with dnsPolicy ClusterFirst, which then asks the node's name servers", []cite{at(policy), at(pod.At("spec", "hostNetwork"))}, proven
	case policy.Str() != "None":
		return "", nil, 0
	}
	servers := config.At("nameservers")
	ip := ""
	if d := q.dns(); d.svc != nil {
		ip = d.svc.At("spec", "clusterIP").Str()
	}
	if !slices.ContainsFunc(servers.Items(), func(v Value) bool { return v.Str() == ip }) && servers.Len() > 0 {
		direct := proven
		if ip == "" {
			direct = reported
		}
		return fmt.Sprintf("its dnsPolicy is None and its name servers %s are not the cluster's DNS", servers.Text()), []cite{at(policy), at(servers)}, direct
	}
	searches := config.At("searches")
	if !strings.Contains(host, ".") && searches.Known() && !slices.ContainsFunc(searches.Items(), func(v Value) bool {
		return strings.HasPrefix(v.Str(), pod.ref.Namespace+".svc")
	}) {
		return fmt.Sprintf("its dnsPolicy is None and its search list does not complete %q to a name of its namespace", host), []cite{at(policy), at(searches)}, proven
	}
	return "", nil, 0
}

// DNSConfig ends at the configuration of the cluster's DNS: it keeps the DNS from starting, or it does not answer for the cluster's names.
func (catalogue) DNSConfig() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			if q.isDNS(s.object) {
				return q.dnsRefusesConfig(s)
			}
			d := q.dns()
			if d.svc == nil {
				return nil
			}
			var out []answer
			for _, t := range q.ties(s) {
				if t.said == nil || t.said.kind != unresolved || t.svc == nil {
					continue
				}
				pods := q.selected(d.svc)
				if len(pods) == 0 {
					continue
				}
				for _, ctr := range pods[0].At("spec", "containers").Items() {
					for _, cm := range q.mountedConfigMaps(pods[0], ctr) {
						for _, key := range cm.At("data").Keys() {
							f := corefileFault(cm.At("data", key).Str(), t)
							if f == "" {
								continue
							}
							c := dnsConfigCause(cm, fmt.Sprintf("its %s %s", key, f), []cite{at(cm.At("data", key))})
							if q.youngerThan(cm, s.object) {
								c.timing = timingFits
							}
							out = append(out, answer{via: append(t.links(s), link{d.ref, "the cluster's DNS runs with " + cm.ref.String(), []cite{exists(pods[0])}}), cause: c})
						}
					}
				}
			}
			if len(out) > 1 {
				out = out[:1]
			}
			return out
		},
	}
}

func dnsConfigCause(cm *Object, statement string, proof []cite) *cause {
	return &cause{
		class: ClassDNSConfig, target: cm.ref, direct: proven, timing: timingUnrelated, elsewhere: true,
		signals: []string{"DNSConfig"}, params: map[string]string{"CONFIG_MAP": cm.ref.Name},
		last:    link{cm.ref, statement, proof},
		summary: fmt.Sprintf("The configuration of the cluster's DNS is wrong: %s.", statement),
	}
}

// dnsRefusesConfig is for a Pod of the cluster's DNS that ends and says what it does not like in its configuration.
func (q *inquiry) dnsRefusesConfig(s symptom) []answer {
	if s.kind == callFails {
		return nil
	}
	for _, cm := range q.mountedConfigMaps(s.object, s.container.spec) {
		for _, l := range q.tail(s) {
			for _, key := range cm.At("data").Keys() {
				_, plugin, named := strings.Cut(l.text, "plugin/")
				plugin, _, _ = strings.Cut(plugin, ":")
				if !strings.Contains(l.text, key+":") && !(named && isGrave(l.text) && hasWord(cm.At("data", key).Str(), plugin)) {
					continue
				}
				c := dnsConfigCause(cm, fmt.Sprintf("the DNS server refuses its %s: %s", key, quote(l.text)), []cite{l.cite, at(cm.At("data", key))})
				c.direct = stated + 0.02
				return []answer{{cause: c}}
			}
		}
	}
	return nil
}

// corefileFault says why a CoreDNS configuration does not answer for a Service's name; "" when it does, as far as it can be read.
func corefileFault(text string, t tie) string {
	fqdn := t.ref.Name + "." + t.ref.Namespace + ".svc."
	kubernetes, blocks := false, 0
	var zones []string
	var stack []string
	inTemplate, match := false, true
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "}" {
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
			inTemplate = inTemplate && len(stack) > 1
			continue
		}
		switch {
		case len(stack) == 0 && words[len(words)-1] == "{":
			blocks++
		case len(stack) == 1 && words[0] == "kubernetes":
			kubernetes = true
			zones = append(zones, words[1:]...)
		case len(stack) == 1 && words[0] == "template":
			inTemplate, match = true, len(words) < 4 || slices.ContainsFunc(words[3:], func(z string) bool { return strings.HasSuffix(fqdn+"cluster.local", strings.TrimSuffix(z, ".")) })
		case len(stack) == 1 && words[0] == "rewrite" && slices.ContainsFunc(words[1:], func(w string) bool { return strings.HasPrefix(w, fqdn) }):
			if target := words[len(words)-1]; !strings.HasPrefix(target, fqdn) {
				return fmt.Sprintf("rewrites %s to %s", strings.TrimSuffix(fqdn, "."), target)
			}
		case inTemplate && words[0] == "match" && len(words) > 1:
			match = mentions(words[1:], t)
		case inTemplate && words[0] == "rcode" && len(words) > 1 && words[1] != "NOERROR" && match:
			return fmt.Sprintf("answers %s for %s in a template", words[1], strings.TrimSuffix(fqdn, "."))
		}
		if words[len(words)-1] == "{" {
			stack = append(stack, words[0])
		}
	}
	if blocks == 0 {
		return ""
	}
	if !kubernetes {
		return "has no kubernetes plugin, so that it knows none of the cluster's names"
	}
	if _, domain, ok := strings.Cut(t.host, ".svc."); ok && domain != "" && !slices.ContainsFunc(zones, func(z string) bool {
		z = strings.TrimSuffix(z, ".")
		return z == domain || strings.HasSuffix(domain, "."+z) || z == ""
	}) {
		return fmt.Sprintf("answers for %s, and not for the domain %s", list(zones[:min(len(zones), 1)], 1), domain)
	}
	return ""
}

// mentions reports whether a template's expression is about a Service's names: about all names of Services, or the Service's own. Expressions
// are compared as text, without their signs.
func mentions(expressions []string, t tie) bool {
	for _, e := range expressions {
		plain := strings.ReplaceAll(e, `\`, "")
		if strings.Contains(plain, t.ref.Name+".") || strings.Contains(plain, "svc.") && !strings.ContainsAny(strings.SplitN(plain, "svc.", 2)[0], "abcdefghijklmnopqrstuvwxyz") || plain == ".*" || plain == "." {
			return true
		}
	}
	return false
}

// dnsNeeds are the namespaces that tell why names are not resolved.
func (q *inquiry) dnsNeeds(s symptom) []incident.Ref {
	if s.container == nil || q.unresolvedName(s) == nil {
		return nil
	}
	d := q.dns()
	out := []incident.Ref{d.ref}
	if d.svc == nil {
		return out
	}
	for _, pod := range q.selected(d.svc) {
		for _, r := range podReferences(pod.At("spec")) {
			if ref := r.ref(pod); r.kind == "ConfigMap" && !slices.Contains(out, ref) {
				out = append(out, ref)
			}
		}
	}
	return out
}
