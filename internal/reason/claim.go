package reason

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"kubernaut.ai/kubernaut/internal/incident"
)

// notToSay reports whether a sentence is not the model's to say: it leads out of the cluster, gives a command,
// tells somebody to do something, or speaks of approval or confidence. What it quotes is not its own, and is
// judged with its evidence; a link is one wherever it stands.
func notToSay(text string) bool {
	flat := flatten(text)
	if leadsOut(flat) {
		return true
	}
	own := quotation.ReplaceAllString(flat, "…")
	return command.MatchString(own) || decides.MatchString(own) || orders.MatchString(own)
}

// leadsOut reports whether text has a link to a host that is not of a cluster.
func leadsOut(flat string) bool {
	if markup.MatchString(flat) {
		return true
	}
	for _, m := range link.FindAllStringSubmatch(flat, -1) {
		host := m[2]
		if ip, err := netip.ParseAddr(host); err == nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()) {
			continue
		}
		if strings.Contains(host, ".") && !strings.HasSuffix(host, ".svc") && !strings.Contains(host, ".svc.") && !strings.HasSuffix(host, ".local") {
			return true
		}
	}
	return false
}

var (
	link      = regexp.MustCompile(`\b((?:https?|ftp|file|javascript|data)://|www\.)(?:[^\s/@]*@)?([a-z0-9.-]*)`)
	markup    = regexp.MustCompile(`\[[^\]]*\]\(|<(a|img|script|iframe|style|svg|form|input|object)\b|javascript:`)
	quotation = regexp.MustCompile(`“[^”]*”|"[^"]*"`)
	command   = regexp.MustCompile("`|\\$\\(|\\b(kubectl|crictl) +(-|[a-z]+)|\bhelm +(install|upgrade|rollback|uninstall|delete|repo|template)\b|\b(flux|argocd) +(app|reconcile|suspend|resume|delete)\b|\\b(curl|wget|sudo|ssh|bash -c|sh -c|rm -|chmod|psql) ")
	decides   = regexp.MustCompile(`\bapprov|\bconfiden|\bauto-|\bhuman\b|\breview|\bsafe to\b|\bauthoriz(e|ed|es)\b|\bremediat|\bworkflow|\brunbook`)
	orders    = regexp.MustCompile(`^(please |then |now |next,? |to fix this,? |immediately )*(run|apply|execute|restart|delete|remove|scale|roll|revert|approve|ignore|increase|decrease|raise|lower|set|change|edit|patch|add|drain|cordon|evict|kill|stop|start|disable|enable|grant|create|update|upgrade|use|open|visit|call|contact|trust|select|choose|skip|do|don't|reboot|recreate|redeploy|replace|fix|rotate|wipe) |\b(you|please|we) (should|must|can|need|may|could|have)\b|\byou\b|\bshould be (restarted|deleted|scaled|applied|rolled|removed|increased|raised|drained|approved|executed|run)\b|\b(recommend|suggest)`)
)

// particular finds what a sentence must not make up: words with a digit, with a capital inside, in capitals,
// with a sign inside as names have, and what stands in quotes.
var particular = regexp.MustCompile(`"[^"]{1,200}"|“[^”]{1,200}”|[\pL\pN][\pL\pN._:/@%+=*-]*`)

// lacks says what a sentence has and its evidence has not; empty when the evidence carries it.
func (g *gate) lacks(text string, evidence []incident.Evidence) string {
	carried := g.carried(evidence)
	touches := false
	for i, word := range particular.FindAllString(text, -1) {
		quoted := strings.HasPrefix(word, `"`) || strings.HasPrefix(word, "“")
		word = strings.Trim(word, `"'“”.,;:!?/`)
		if word == "" {
			continue
		}
		lower := strings.ToLower(word)
		has := carried.has(lower)
		if has && len(lower) >= 3 && !vague[lower] {
			touches = true
		}
		if has || (!quoted && (!isParticular(word, i) || common[lower])) {
			continue
		}
		return fmt.Sprintf("its evidence does not carry %q", clip(word, 60))
	}
	if !touches {
		return "it says nothing of what its evidence is about"
	}
	return ""
}

// isParticular reports whether a word says something that could be made up, and is no word of plain English.
// The first word of a sentence has a capital anyway.
func isParticular(word string, place int) bool {
	inner, capital, lower, sign := false, false, false, false
	for i, r := range word {
		switch {
		case unicode.IsDigit(r):
			return true
		case unicode.IsUpper(r):
			capital = true
			inner = inner || i > 0
		case unicode.IsLower(r):
			lower = true
		case r == '/' || r == '_' || r == ':' || r == '.' || r == '@' || r == '=':
			sign = true
		}
	}
	switch {
	case inner && lower, sign, inner && !lower:
		return true
	case capital:
		return place > 0
	}
	// A name of hyphenated parts. English has such words too, of few and long parts.
	parts := strings.Split(word, "-")
	return len(parts) > 2 || len(parts) == 2 && !prefixes[parts[0]] && !(english[parts[0]] && english[parts[1]])
}

// common are words with capitals or signs that name no object.
var common = words(`pod pods container containers deployment deployments replicaset replicasets statefulset statefulsets daemonset daemonsets job jobs
	cronjob cronjobs service services node nodes namespace namespaces configmap configmaps secret secrets ingress ingresses persistentvolumeclaim
	persistentvolumeclaims persistentvolume pvc pvcs pv storageclass serviceaccount resourcequota limitrange networkpolicy networkpolicies hpa
	horizontalpodautoscaler pdb poddisruptionbudget event events cpu ram dns http https tcp udp api tls ssl rbac crd oom id ids url ip kubernetes kubelet
	scheduler kernel image images volume volumes probe probes i it the a an endpoint endpoints endpointslice`)

// prefixes begin hyphenated words that are no names.
var prefixes = words(`re non pre un self well so multi cross in out over under co mid`)

// english are parts of hyphenated words that are no names.
var english = words(`long short read write only back off out of up down in first second third last newly least most well so self one two three
	high low per cross multi single start started run running based level side wide time out-of start-up set end by to the image memory ready unready
	crash loop node cluster container pod service limit quota never always old new style full over under control plane term line point existing existent
	created scheduled deployed configured defined known ended health check config map file system name server client connection request response`)

// vague are words that stand in much evidence and tie a sentence to none.
var vague = words(`true false null none the and for with not has are was its this that from name names status spec kind type metadata http https tcp v1
	latest app apps default main all any can but`)

func words(text string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(text) {
		out[w] = true
	}
	return out
}

// carried is all that some evidence says, for words to be looked up in.
type carried struct{ text string }

// carried collects, in lower case: the values, where they stand, and what the engine and the tools state on
// this evidence alone.
func (g *gate) carried(evidence []incident.Evidence) carried {
	var b strings.Builder
	ids := make([]string, len(evidence))
	for i, e := range evidence {
		ids[i] = e.ID
	}
	for _, e := range evidence {
		b.WriteString("\n" + Visible(e.Value) + "\n" + e.Ref.Kind + " " + e.Ref.Namespace + "/" + e.Ref.Name + " " + e.Ref.Name + "\n")
		for token := range strings.SplitSeq(e.Path, "/") {
			if token != "" && isDigit(token[0]) {
				continue // a place in a list is no number of the cluster's
			}
			b.WriteString(strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~") + " ")
		}
		if e.Absent {
			b.WriteString(" absent missing ")
		}
	}
	for _, s := range g.stated {
		if !slices.ContainsFunc(s.evidence, func(id string) bool { return !slices.Contains(ids, id) }) {
			b.WriteString("\n" + s.text)
		}
	}
	return carried{strings.ToLower(b.String())}
}

// has reports whether a word stands in the text: a number as a number, another as a word or the beginning of
// words and names that the text has.
func (c carried) has(word string) bool {
	text := c.text
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		i += from
		from = i + 1
		end := i + len(word)
		before, after := byte(' '), byte(' ')
		if i > 0 {
			before = text[i-1]
		}
		if end < len(text) {
			after = text[end]
		}
		switch {
		case isNumber(word) && (before == '-' || isLetter(before)): // the end of a name
		case isDigit(word[0]) && (isDigit(before) || before == '.' && i > 1 && isDigit(text[i-2])): // within a number
		case isDigit(word[len(word)-1]) && isDigit(after):
		case isDigit(word[0]) && isDigit(word[len(word)-1]) && after == '.' && end+1 < len(text) && isDigit(text[end+1]):
		case isLetter(before) && isLetter(word[0]) && len(word) < 4: // a short word within another
		default:
			return true
		}
	}
}

func isNumber(word string) bool {
	return strings.Trim(word, "0123456789.%") == ""
}

func isDigit(b byte) bool  { return b >= '0' && b <= '9' }
func isLetter(b byte) bool { return b >= 'a' && b <= 'z' }

// statement is something that the engine or a tool concluded from evidence.
type statement struct {
	text     string
	evidence []string
}

// stated collects what the engine says about its evidence.
func stated(c Case) []statement {
	var out []statement
	add := func(text string, evidence []string) {
		if len(evidence) > 0 {
			out = append(out, statement{Visible(text), evidence})
		}
	}
	links := slices.Clone(c.Result.Symptoms)
	for _, cand := range candidates(c.Result) {
		links = append(links, cand.cause.Chain...)
	}
	for _, l := range links {
		add(l.Subject.String()+" "+l.Statement, l.Evidence)
	}
	for _, n := range c.Result.Noise {
		add(n.Subject.String()+" "+n.Statement, n.Evidence)
	}
	return out
}
