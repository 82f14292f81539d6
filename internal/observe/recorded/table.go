package recorded

import (
	"regexp"
	"slices"
	"strings"
)

// twoWords are headers of two words, which matter when a table has lost its blanks.
var twoWords = []string{"LAST SEEN", "FIRST SEEN", "NOMINATED NODE", "READINESS GATES", "ACCESS MODES", "RECLAIM POLICY", "LAST SCHEDULE", "NODE SELECTOR", "MIN AVAILABLE", "MAX UNAVAILABLE", "ALLOWED DISRUPTIONS", "CREATED AT", "SYNC STATUS", "HEALTH STATUS"}

var headerWord = regexp.MustCompile(`^[A-Z][A-Z0-9._/-]*(?:\([a-z%A-Z]+\)|%)?$`)

// isHeader reports whether a line is the header of a kubectl table.
func isHeader(text string) bool {
	text = strings.TrimSpace(text)
	if len(text) < 8 || len(text) > 600 || text[0] < 'A' || text[0] > 'Z' {
		return false
	}
	f := strings.Fields(text)
	if len(f) < 2 {
		return false
	}
	switch f[0] {
	case "NAME", "NAMESPACE", "LAST", "POD", "TYPE":
	default:
		return false
	}
	for _, w := range f {
		if !headerWord.MatchString(w) {
			return false
		}
	}
	return f[0] != "LAST" || f[1] == "SEEN"
}

// offsets returns where the columns of a header begin.
func offsets(header string) []int {
	var out []int
	blanks := 2
	n := 0
	for _, c := range header {
		if c == ' ' {
			blanks++
		} else {
			if blanks >= 2 {
				out = append(out, n)
			}
			blanks = 0
		}
		n++
	}
	return out
}

// cutAt cuts a row at offsets; false when a word stands across one.
func cutAt(row string, at []int) ([]string, bool) {
	runes := []rune(row)
	out := make([]string, len(at))
	for i, from := range at {
		to := len(runes)
		if i+1 < len(at) {
			to = min(at[i+1], len(runes))
		}
		if from >= len(runes) {
			continue
		}
		if from > 0 && runes[from] != ' ' && runes[from-1] != ' ' {
			return nil, false
		}
		out[i] = strings.TrimSpace(string(runes[from:max(from, to)]))
	}
	return out, true
}

// titles returns a header's columns.
func titles(header string) []string {
	header = strings.TrimSpace(header)
	if strings.Contains(header, "\t") {
		return splitTabs(header)
	}
	if out := cells(header); len(out) > 1 && !(len(out) < 3 && len(strings.Fields(header)) > 3) {
		return out
	}
	for _, w := range twoWords {
		header = strings.ReplaceAll(header, w, strings.Replace(w, " ", "\x00", 1))
	}
	f := strings.Fields(header)
	for i := range f {
		f[i] = strings.Replace(f[i], "\x00", " ", 1)
	}
	return f
}

func splitTabs(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, "\t") {
		if part = strings.TrimSpace(part); part != "" || len(out) > 0 {
			out = append(out, part)
		}
	}
	return out
}

// parenthesised is a value in brackets that belongs to the word before it: "2 (30s ago)".
var parenthesised = regexp.MustCompile(`(\S) (\(\S+ ago\)|\(x\d+ over \S+\))`)

// cut cuts a row into the columns of its header, however much of the layout has survived.
func cut(row string, at []int, columns int) []string {
	if strings.Contains(row, "\t") {
		if c := splitTabs(row); len(c) == columns {
			return c
		}
		row = strings.ReplaceAll(row, "\t", "  ")
	}
	if len(at) == columns {
		if c, ok := cutAt(row, at); ok && c[0] != "" {
			return c
		}
	}
	if c := cells(row); len(c) == columns {
		return c
	}
	f := strings.Fields(parenthesised.ReplaceAllStringFunc(row, func(s string) string { return strings.ReplaceAll(s, " ", "\x00") }))
	for i := range f {
		f[i] = strings.ReplaceAll(f[i], "\x00", " ")
	}
	for len(f) > columns { // only the last column may hold blanks
		f[columns-1] += " " + f[columns]
		f = slices.Delete(f, columns, columns+1)
	}
	return f
}

// row is one row of a table by its columns.
type row struct {
	line  line
	cells map[string]string
}

func (w row) get(column string) string { return plain(w.cells[column]) }

func (w row) has(column string) bool { _, ok := w.cells[column]; return ok }

// table reads a kubectl table that begins with its header.
func (r *reader) table(p *piece, lines []line) int {
	header := lines[0].text
	if !isHeader(header) {
		return 0
	}
	joined := 1
	if len(lines) > 1 && wrapped(header, lines[1].text) {
		header += strings.Repeat(" ", 1) + strings.TrimSpace(lines[1].text)
		joined = 2
	}
	head := titles(header)
	at := offsets(header)
	if strings.Contains(header, "\t") {
		at = nil
	}
	shape := shapeOfTable(p.cmd, head)
	if head[0] == "TYPE" && !slices.Contains(head, "REASON") {
		return 0
	}
	n, found := joined, 0
	for n < len(lines) {
		l := lines[n]
		if l.blank() || isHeader(l.text) || describeStart(lines[n:]) || yamlStart.MatchString(l.text) || emptyIn.MatchString(l.text) || unreachable.MatchString(l.text) {
			break
		}
		if strings.HasPrefix(strings.TrimSpace(l.text), "...") || strings.Trim(l.text, "-= ") == "" {
			n++
			continue
		}
		c := cut(l.text, at, len(head))
		for joined == 2 && len(c) < len(head) && n+1 < len(lines) && !lines[n+1].blank() { // the terminal wrapped rows as well
			n++
			c = cut(l.text+" "+strings.TrimSpace(lines[n].text), at, len(head))
		}
		if !plausible(head, c) {
			break
		}
		w := row{l, make(map[string]string, len(head))}
		for i, h := range head {
			if i < len(c) {
				w.cells[h] = c[i]
			}
		}
		switch {
		case shape.event:
			for n+1 < len(lines) && continues(lines[n+1].text, at) {
				n++
				w.cells["MESSAGE"] += "\n" + strings.TrimSpace(lines[n].text)
			}
			r.eventRow(p, w)
			found++
		case r.row(p, shape, head, w):
			found++
		default:
			r.leave(p.file, l.n, l.n, "is a row of a table of a kind that cannot be told")
		}
		n++
	}
	if shape.event || shape.known {
		r.tableRead(p, found)
	}
	return n
}

// tableRead notes what a table proves.
func (r *reader) tableRead(p *piece, found int) {
	if !p.cmd.lists() || len(p.cmd.resources) == 0 {
		return
	}
	if len(p.cmd.resources) > 1 { // each kind has a table of its own, and those without any have none
		if p.cmd.resources[0].kind != "" && !p.readNoted {
			p.readNoted = true
			r.asked(p, found)
		}
		return
	}
	r.asked(p, found)
}

// wrapped reports whether the second line continues a header that a terminal broke.
func wrapped(header, next string) bool {
	next = strings.TrimSpace(next)
	f := strings.Fields(next)
	if len(f) == 0 || isHeader(next) && strings.HasPrefix(next, "NAME") {
		return false
	}
	for _, w := range f {
		if !headerWord.MatchString(w) {
			return false
		}
	}
	return len(header) > 60
}

// continues reports whether a line belongs to the message of the event above it.
func continues(text string, at []int) bool {
	if len(at) < 4 || strings.TrimSpace(text) == "" {
		return false
	}
	indent := len(text) - len(strings.TrimLeft(text, " "))
	return indent > at[len(at)-2]
}

// plausible reports whether a row belongs to a table: its age is an age, its first cell a name.
func plausible(head, c []string) bool {
	if len(c) == 0 || c[0] == "" || len(c) < 2 {
		return false
	}
	for i, h := range head {
		if i >= len(c) {
			break
		}
		switch h {
		case "NAME":
			if !objectName.MatchString(c[i]) {
				return false
			}
		case "AGE":
			if _, ok := parseAge(c[i]); !ok && c[i] != "" && c[i][0] != '<' {
				return false
			}
		case "TYPE":
			if slices.Contains(head, "REASON") && c[i] != "Normal" && c[i] != "Warning" && c[i] != "" {
				return false
			}
		}
	}
	return true
}

var objectName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)

// tableShape is the kind of a table.
type tableShape struct {
	res    resource
	known  bool
	event  bool
	top    bool
	labels map[string]string // of -L: by column
}

func shapeOfTable(cmd *command, head []string) tableShape {
	has := func(columns ...string) bool {
		return !slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(head, c) })
	}
	s := tableShape{}
	if has("REASON", "MESSAGE") && (has("OBJECT") || has("LAST SEEN") || has("KIND")) {
		s.event = true
		return s
	}
	if cmd != nil && len(cmd.labels) > 0 && len(head) > len(cmd.labels) {
		s.labels = map[string]string{}
		for i, key := range cmd.labels {
			s.labels[head[len(head)-len(cmd.labels)+i]] = key
		}
		if head[len(head)-1] == "LABELS" {
			delete(s.labels, "LABELS")
		}
	}
	if has("CPU(cores)", "MEMORY(bytes)") {
		s.top, s.known = true, true
		s.res = resource{"metrics.k8s.io/v1beta1", "PodMetrics", true}
		if has("CPU%") || has("CPU(%)") {
			s.res = resource{"metrics.k8s.io/v1beta1", "NodeMetrics", false}
		}
		return s
	}
	if cmd != nil && cmd.verb == "get" {
		if res, ok := cmd.only(); ok {
			s.res, s.known = res, true
			return s
		}
		if cmd.unknown && len(cmd.resources) == 0 {
			return s
		}
	}
	for _, k := range []struct {
		kind    string
		columns []string
	}{
		{"Pod", []string{"READY", "STATUS", "RESTARTS"}},
		{"DaemonSet", []string{"DESIRED", "CURRENT", "UP-TO-DATE"}},
		{"ReplicaSet", []string{"DESIRED", "CURRENT", "READY"}},
		{"Deployment", []string{"READY", "UP-TO-DATE", "AVAILABLE"}},
		{"Job", []string{"COMPLETIONS", "DURATION"}},
		{"CronJob", []string{"SCHEDULE", "SUSPEND"}},
		{"Service", []string{"CLUSTER-IP", "PORT(S)"}},
		{"Ingress", []string{"HOSTS", "ADDRESS"}},
		{"EndpointSlice", []string{"ADDRESSTYPE", "ENDPOINTS"}},
		{"Endpoints", []string{"ENDPOINTS", "AGE"}},
		{"Node", []string{"STATUS", "ROLES", "VERSION"}},
		{"PersistentVolume", []string{"CAPACITY", "CLAIM"}},
		{"PersistentVolumeClaim", []string{"STATUS", "VOLUME", "CAPACITY"}},
		{"HorizontalPodAutoscaler", []string{"REFERENCE", "TARGETS"}},
		{"NetworkPolicy", []string{"POD-SELECTOR"}},
		{"StorageClass", []string{"PROVISIONER"}},
		{"ResourceQuota", []string{"REQUEST", "LIMIT"}},
		{"PodDisruptionBudget", []string{"MIN AVAILABLE", "MAX UNAVAILABLE"}},
		{"PriorityClass", []string{"VALUE", "GLOBAL-DEFAULT"}},
		{"Lease", []string{"HOLDER"}},
		{"ControllerRevision", []string{"CONTROLLER", "REVISION"}},
		{"Secret", []string{"TYPE", "DATA"}},
		{"ConfigMap", []string{"DATA", "AGE"}},
		{"ServiceAccount", []string{"SECRETS", "AGE"}},
		{"Application", []string{"SYNC STATUS", "HEALTH STATUS"}},
	} {
		if has(k.columns...) {
			s.res, s.known = kinds[k.kind], true
			return s
		}
	}
	core := slices.DeleteFunc(slices.Clone(head), func(h string) bool { return h == "NAMESPACE" || h == "LABELS" || s.labels[h] != "" })
	switch strings.Join(core, " ") {
	case "NAME READY AGE", "NAME READY AGE CONTAINERS IMAGES":
		s.res, s.known = kinds["StatefulSet"], true
	case "NAME STATUS AGE":
		s.res, s.known = kinds["Namespace"], true
	}
	return s
}

// row takes one object of a table.
func (r *reader) row(p *piece, shape tableShape, head []string, w row) bool {
	name := w.cells["NAME"]
	res, known := shape.res, shape.known
	if kind, rest, ok := strings.Cut(name, "/"); ok { // `kubectl get all` writes kind/name
		if found, isKind := resourceOf(kind); isKind {
			res, known, name = found, true, rest
		}
	}
	if shape.top && w.has("POD") {
		name = w.cells["POD"]
	}
	if !known || name == "" {
		return false
	}
	s := r.sighting(p, res, name, w.line, FormTable)
	if ns := w.get("NAMESPACE"); ns != "" && res.namespaced {
		s.namespace, s.known = ns, true
	}
	s.born(w.get("AGE"))
	labels := map[string]any{}
	for column, key := range shape.labels {
		if v := w.get(column); v != "" {
			labels[key] = v
		}
		s.fields = append(s.fields, "/metadata/labels/"+strings.ReplaceAll(key, "/", "~1"))
	}
	if w.has("LABELS") {
		for part := range strings.SplitSeq(w.get("LABELS"), ",") {
			if k, v, ok := strings.Cut(part, "="); ok {
				labels[k] = v
			}
		}
		s.fields = append(s.fields, "/metadata/labels")
	}
	if len(labels) > 0 {
		set(s.tree, labels, "metadata", "labels")
	}
	t := &tableRow{s: s, w: w}
	t.fill(head)
	r.see(s)
	if t.also != nil {
		r.see(t.also)
	}
	return true
}
