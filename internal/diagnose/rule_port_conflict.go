package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// holder is who has a port that a container wants.
type holder struct {
	what  string
	place Value
}

// PortConflict ends at two programs that share a network and listen on one port: containers of one Pod, or Pods on the
// host's network of one node. The one that comes second says that the address is in use.
func (catalogue) PortConflict() rule {
	return rule{
		explains: []symptomKind{containerDying},
		why: func(q *inquiry, s symptom) []answer {
			if s.container.init {
				return nil
			}
			var said *spoken
			for _, l := range q.tail(s) {
				m := strings.ToLower(l.text)
				if strings.Contains(m, "address already in use") || strings.Contains(m, "eaddrinuse") || strings.Contains(m, "address in use") || strings.Contains(m, "port is already allocated") {
					said = &l
					break
				}
			}
			if said == nil {
				return nil
			}
			own := q.portsOf(s.object, *s.container, said.text)
			target := q.owner(s.object)
			for _, p := range own {
				for _, h := range q.holders(s, p.number) {
					c := &cause{
						class: ClassPortConflict, target: target, detail: s.container.name, direct: stated, timing: timingUnrelated,
						signals: q.orRollout(s, "CrashLoopBackOff", "PortConflict"),
						params:  map[string]string{"CONTAINER": s.container.name, "PORT": strconv.FormatInt(p.number, 10)},
						last: link{
							target, fmt.Sprintf("container %q and %s listen on port %d of one network", s.container.name, h.what, p.number),
							[]cite{said.cite, at(p.place), at(h.place)},
						},
					}
					c.summary = fmt.Sprintf("%s: %s.", target, c.last.statement)
					return []answer{{cause: c}}
				}
			}
			return nil
		},
	}
}

// portsOf returns the ports that a container listens on: those that the line names, else those that it declares.
func (q *inquiry) portsOf(pod *Object, c container, line string) []port {
	var declared, named []port
	for _, p := range declaredPorts(pod.At("spec")) {
		if p.container == c.name {
			declared = append(declared, p)
			if hasWord(line, strconv.FormatInt(p.number, 10)) {
				named = append(named, p)
			}
		}
	}
	if len(named) > 0 {
		return named
	}
	for _, other := range declaredPorts(pod.At("spec")) { // it need not declare what it listens on
		if other.container != c.name && hasWord(line, strconv.FormatInt(other.number, 10)) {
			return []port{{container: c.name, number: other.number, protocol: other.protocol, place: c.spec.At("ports")}}
		}
	}
	return declared
}

// holders returns who else listens on a port in the container's network.
func (q *inquiry) holders(s symptom, number int64) []holder {
	var out []holder
	for _, p := range declaredPorts(s.object.At("spec")) {
		if p.container != s.container.name && p.number == number {
			out = append(out, holder{fmt.Sprintf("container %q", p.container), p.place.At("containerPort")})
		}
	}
	text := strconv.FormatInt(number, 10)
	for _, c := range s.object.At("spec", "containers").Items() {
		if c.At("name").Str() == s.container.name || len(out) > 0 {
			continue
		}
		for _, e := range c.At("env").Items() {
			if e.At("value").Str() == text || strings.HasSuffix(e.At("value").Str(), ":"+text) {
				out = append(out, holder{fmt.Sprintf("container %q, by its variable %s,", c.At("name").Str(), e.At("name").Str()), e.At("value")})
			}
		}
		for _, list := range []string{"command", "args"} {
			for _, w := range c.At(list).Items() {
				if hasWord(w.Str(), text) {
					out = append(out, holder{fmt.Sprintf("container %q, by its command,", c.At("name").Str()), w})
				}
			}
		}
	}
	if len(out) > 0 || !s.object.At("spec", "hostNetwork").Bool() {
		return out
	}
	for _, pod := range q.snap.OnNode(s.object.At("spec", "nodeName").Str()) {
		if pod == s.object || isDone(pod) {
			continue
		}
		host := pod.At("spec", "hostNetwork").Bool()
		ports := declaredPorts(pod.At("spec"))
		i := slices.IndexFunc(ports, func(p port) bool {
			return host && p.number == number || p.place.At("hostPort").IntOr(0) == number
		})
		if i >= 0 {
			out = append(out, holder{pod.ref.String(), ports[i].place.At("containerPort")})
		}
	}
	return out
}
