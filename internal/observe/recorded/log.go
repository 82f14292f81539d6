package recorded

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// logPart is an excerpt of a log, of which it may not be known whose.
type logPart struct {
	kind      string // Pod, or Node for journals
	pod       string
	namespace string
	known     bool // the namespace
	container string
	previous  bool
	lines     []string
	cut       bool
	target    string   // a workload's name, when the Pod was chosen by kubectl
	words     []string // where the Pod's name may stand
	src       Source
	to        int
}

var (
	// goneLog are the sentences that stand where a log would.
	goneLog     = regexp.MustCompile(`^(?:unable to retrieve container logs for |failed to try resolving symlinks in path |Error from server|error: |Error: |rpc error: code = NotFound|container ".*" in pod ".*" is (?:waiting|not)|previous terminated container .* not found|Unable to connect to the server)`)
	defaulted   = regexp.MustCompile(`^Defaulted container "([^"]+)" out of: `)
	defaulting  = regexp.MustCompile(`^Defaulting container name to ([^.\s]+)\.`)
	foundPods   = regexp.MustCompile(`^Found \d+ pods, using pod/(\S+)`)
	prefixed    = regexp.MustCompile(`^\[pod/([^/\]]+)/([^\]]+)\] ?(.*)$`)
	startOfLogs = regexp.MustCompile(`^==== START logs for container (\S+) of pod (?:([^/\s]+)/)?(\S+) ====$`)
	endOfLogs   = regexp.MustCompile(`^==== END logs for container `)
	stampedLine = regexp.MustCompile(`^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)[\s\]|]`)
)

// logBlock reads the output of `kubectl logs`, or a file that is a log.
func (r *reader) logBlock(p *piece) {
	first := line{}
	l := &logPart{kind: "Pod", src: Source{p.file, 0, FormDocument}}
	l.namespace, l.known = p.where()
	if h := p.hint; h != nil {
		l.pod, l.container, l.previous, l.words = h.pod, h.container, h.previous, slices.Clone(h.words)
	}
	wantPrefix := false
	if c := p.cmd; c != nil {
		l.container, l.previous, wantPrefix = c.container, c.previous, c.prefix
		if res, ok := c.only(); ok && len(c.names) > 0 {
			if res.kind == "Pod" {
				l.pod = c.names[0]
			} else {
				l.target = c.names[0]
			}
		}
	}
	parts := map[[2]string]*logPart{}
	for _, ln := range p.lines {
		if m := defaulted.FindStringSubmatch(ln.text); m != nil {
			l.container = m[1]
			continue
		}
		if m := defaulting.FindStringSubmatch(ln.text); m != nil {
			l.container = m[1]
			continue
		}
		if m := foundPods.FindStringSubmatch(ln.text); m != nil {
			l.pod = m[1]
			continue
		}
		if first.n == 0 && ln.blank() {
			continue
		}
		if first.n == 0 {
			first = ln
		}
		if m := prefixed.FindStringSubmatch(ln.text); m != nil {
			key := [2]string{m[1], m[2]}
			part := parts[key]
			if part == nil {
				part = &logPart{kind: "Pod", pod: m[1], container: m[2], namespace: l.namespace, known: l.known, previous: l.previous, src: Source{p.file, ln.n, FormDocument}}
				parts[key] = part
				r.logs = append(r.logs, part)
			}
			part.lines, part.to = append(part.lines, r.logLine(m[3], p)), ln.n
			continue
		}
		if wantPrefix && ln.blank() {
			continue
		}
		l.lines = append(l.lines, r.logLine(ln.text, p))
		l.to = ln.n
	}
	l.lines = trimBlank(l.lines)
	l.src.Line = first.n
	if len(l.lines) == 0 {
		return
	}
	if len(l.lines) <= 3 && goneLog.MatchString(l.lines[0]) {
		gap := diagnose.Gap{Kind: incident.GapExpired, Subject: incident.Ref{Kind: "Log", Namespace: l.namespace, Name: l.pod}, What: "log of container " + l.container + " in Pod " + l.pod, Reason: l.lines[0]}
		if m := forbidden.FindStringSubmatch(l.lines[0]); m != nil {
			gap.Kind = incident.GapForbidden
		}
		r.gaps = append(r.gaps, gap)
		if m := notFound.FindStringSubmatch(l.lines[0]); m != nil {
			r.message(p, []line{{l.lines[0], first.n}})
		}
		return
	}
	r.logs = append(r.logs, l)
}

// logLine takes the timestamp of --timestamps off a line, and notes it.
func (r *reader) logLine(text string, p *piece) string {
	if m := stampedLine.FindStringSubmatch(text); m != nil {
		if t, err := time.Parse(time.RFC3339Nano, m[1]); err == nil {
			r.date(t.UTC())
			if p.cmd != nil && p.cmd.timestamps {
				return strings.TrimPrefix(text[len(m[1]):], " ")
			}
		}
	}
	return text
}

func trimBlank(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// dumped reads the logs of a cluster-info dump, which say whose they are.
func (r *reader) dumped(file string, lines []line) bool {
	found := false
	var cur *logPart
	for _, ln := range lines {
		if m := startOfLogs.FindStringSubmatch(ln.text); m != nil {
			found = true
			cur = &logPart{kind: "Pod", pod: m[3], container: m[1], namespace: m[2], known: m[2] != "", src: Source{file, ln.n, FormDocument}}
			continue
		}
		if endOfLogs.MatchString(ln.text) {
			if cur != nil {
				if cur.lines = trimBlank(cur.lines); len(cur.lines) > 0 && (len(cur.lines) > 2 || !goneLog.MatchString(cur.lines[0])) {
					r.logs = append(r.logs, cur)
				}
			}
			cur = nil
			continue
		}
		if cur != nil {
			cur.lines, cur.to = append(cur.lines, ln.text), ln.n
		}
	}
	return found
}

// logLike are beginnings of lines that programs write.
var logLike = regexp.MustCompile(`^(?:\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d|[IWEF]\d{4} \d\d:\d\d:\d\d|\[?\d\d:\d\d:\d\d|time="?\d{4}-|level=|ts=|\{"(?:level|ts|time|msg|timestamp|severity|@timestamp|logger|message)"|\[?(?:INFO|WARN|WARNING|ERROR|DEBUG|FATAL|TRACE|PANIC)\b|panic: |goroutine \d+ \[|Traceback \(most recent|Exception in thread|\tat |\s+at \S+\(|Caused by: |\S+\.(?:\S*Exception|\S*Error): |fatal: |FATAL: |nginx: \[|Error: Cannot find module|\d+:[MCSX] \d\d \w{3} \d{4})`)

// logShape reads lines that look like a log of a container which is not named by a command.
func (r *reader) logShape(p *piece, lines []line) int {
	if p.cmd != nil || !logLike.MatchString(lines[0].text) {
		return 0
	}
	n, misses := 1, 0
	for n < len(lines) && misses < 4 {
		text := lines[n].text
		switch {
		case logLike.MatchString(text):
			misses = 0
		case isHeader(text) || describeStart(lines[n:]) || yamlStart.MatchString(text):
			misses = 99
			continue
		default:
			misses++
		}
		n++
	}
	for n > 1 && !logLike.MatchString(lines[n-1].text) && lines[n-1].indent() == 0 {
		n--
	}
	sub := *p
	sub.lines = lines[:n]
	before := len(r.logs)
	r.logBlock(&sub)
	for _, l := range r.logs[before:] {
		if l.pod == "" {
			l.words = append(l.words, strings.FieldsFunc(p.heading, func(c rune) bool { return strings.ContainsRune(" `\"'()[]:,/*#", c) })...)
			l.previous = l.previous || strings.Contains(strings.ToLower(p.heading), "previous")
		}
	}
	return n
}

var (
	unitStatus  = regexp.MustCompile(`^[●○×*] (\S+)\.service - `)
	journalLine = regexp.MustCompile(`^(?:\w{3} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*) (\S+) ([\w.@-]+)\[\d+\]: `)
)

// journalBlock reads systemctl's status and journal lines by their shape.
func (r *reader) journalBlock(p *piece, lines []line) int {
	text := lines[0].text
	if m := unitStatus.FindStringSubmatch(text); m != nil {
		n := 1
		for n < len(lines) && (lines[n].blank() || strings.HasPrefix(lines[n].text, " ") || journalLine.MatchString(lines[n].text)) {
			n++
		}
		r.journal(p, lines[:n])
		return n
	}
	if !journalLine.MatchString(text) {
		return 0
	}
	n := 1
	for n < len(lines) && journalLine.MatchString(lines[n].text) {
		n++
	}
	r.journal(p, lines[:n])
	return n
}

// journal keeps a node's journal: the log of a unit.
func (r *reader) journal(p *piece, lines []line) {
	unit, node := "", ""
	if p.cmd != nil {
		unit, node = p.cmd.unit, p.cmd.host
	}
	if unit == "" && p.hint != nil {
		unit = p.hint.unit
	}
	var text []string
	for _, l := range lines {
		if m := unitStatus.FindStringSubmatch(l.text); m != nil {
			unit = m[1]
		}
		if m := journalLine.FindStringSubmatch(l.text); m != nil {
			node = m[1]
			if unit == "" {
				unit = m[2]
			}
		}
		text = append(text, l.text)
	}
	if text = trimBlank(text); len(text) == 0 {
		return
	}
	var words []string
	if p.hint != nil {
		words = p.hint.words
	}
	r.logs = append(r.logs, &logPart{kind: "Node", pod: node, known: true, container: unit, lines: text, words: words, src: Source{p.file, lines[0].n, FormDocument}, to: lines[len(lines)-1].n})
}
