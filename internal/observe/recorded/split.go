package recorded

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// line is a line of a file, cleaned, with its number.
type line struct {
	text string
	n    int
}

func (l line) blank() bool { return strings.TrimSpace(l.text) == "" }

func (l line) indent() int { return len(l.text) - len(strings.TrimLeft(l.text, " ")) }

var escapes = regexp.MustCompile("\x1b(?:\\[[0-9;?]*[A-Za-z]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[@-Z\\\\-_])")

// clean returns a text's lines without what terminals and ticket systems put around them.
func clean(text string) []line {
	text = strings.TrimPrefix(text, "\ufeff")
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	var out []line
	n := 0
	for raw := range strings.SplitSeq(text, "\n") {
		n++
		if strings.IndexByte(raw, '\x1b') >= 0 {
			raw = escapes.ReplaceAllString(raw, "")
		}
		if strings.Contains(raw, "\u00a0") {
			raw = strings.ReplaceAll(raw, "\u00a0", " ")
		}
		raw = strings.TrimRight(raw, " \t\r")
		out = append(out, line{raw, n})
	}
	return out
}

// piece is a run of lines under at most one command.
type piece struct {
	file    string
	hint    *hint // what the file's path says
	cmd     *command
	heading string // the last words before the block
	lines   []line
	cut     bool // lines were left out of it

	readNoted bool // what its command listed was noted
}

// text reads one file of text.
func (r *reader) text(file, body string) {
	r.files = append(r.files, file)
	h := hintOf(file)
	trimmed := strings.TrimLeft(body, " \t\r\n\ufeff")
	if h.log || strings.HasPrefix(trimmed, "==== START logs for container") {
		lines := clean(body)
		if r.dumped(file, lines) {
			return
		}
		if h.log && !strings.HasPrefix(trimmed, "$ kubectl") && !strings.HasPrefix(trimmed, "kubectl ") {
			r.logBlock(&piece{file: file, hint: h, lines: lines})
			return
		}
	}
	if strings.HasPrefix(trimmed, "{") && r.jsonStream(file, h, body) {
		return
	}
	for _, p := range sections(file, h, clean(body)) {
		r.section(p)
	}
}

// sections cuts a text at its command lines and at markdown fences.
func sections(file string, h *hint, lines []line) []*piece {
	var out []*piece
	cur := &piece{file: file, hint: h}
	flush := func(next *command) {
		if len(cur.lines) > 0 || cur.cmd != nil {
			out = append(out, cur)
		}
		cur = &piece{file: file, hint: h, cmd: next, heading: cur.heading}
	}
	fenced := false
	for i, l := range lines {
		text := strings.TrimSpace(l.text)
		if strings.HasPrefix(text, "```") || strings.HasPrefix(text, "~~~") || text == "{code}" || text == "{noformat}" || strings.HasPrefix(text, "{code:") {
			if fenced || cur.cmd == nil || len(cur.lines) > 0 {
				next := (*command)(nil)
				flush(next)
			}
			fenced = !fenced
			continue
		}
		if text != "" && len(text) < 600 && maybeCommand(text) {
			if c := commandIn(strings.Trim(text, "`*")); c != nil {
				flush(c)
				continue
			}
		}
		if text == "..." || text == "…" || text == "[...]" || text == "<snip>" || text == "[snip]" || text == "(truncated)" {
			cur.cut = true
		}
		cur.lines = append(cur.lines, l)
		if text != "" && (i+1 < len(lines) && lines[i+1].blank() || strings.HasSuffix(text, ":")) {
			cur.heading = text
		}
	}
	flush(nil)
	for _, p := range out {
		p.dedent()
	}
	return out
}

// maybeCommand is a quick look before commandIn.
func maybeCommand(text string) bool {
	return strings.Contains(text, "kubectl ") || strings.Contains(text, "oc ") || strings.Contains(text, "k ") || strings.Contains(text, "systemctl ") ||
		strings.Contains(text, "journalctl ") || strings.HasPrefix(text, "$ ") || strings.Contains(text, "date") || strings.Contains(text, "kubecolor ") || strings.Contains(text, "@")
}

// dedent removes a margin that all lines share: blanks, or the marks of a quotation.
func (p *piece) dedent() {
	quoted, margin, seen := true, 1<<20, 0
	for _, l := range p.lines {
		if l.blank() {
			continue
		}
		seen++
		quoted = quoted && strings.HasPrefix(strings.TrimLeft(l.text, " "), ">")
		margin = min(margin, l.indent())
	}
	if seen == 0 {
		return
	}
	for i, l := range p.lines {
		switch {
		case quoted:
			t := strings.TrimPrefix(strings.TrimLeft(l.text, " "), ">")
			p.lines[i].text = strings.TrimPrefix(t, " ")
		case margin > 0 && len(l.text) >= margin && margin < 1<<20:
			p.lines[i].text = l.text[margin:]
		}
	}
}

// section reads the blocks of a piece, each by its shape.
func (r *reader) section(p *piece) {
	if p.cmd != nil && p.cmd.verb == "date" {
		r.dateOutput(p)
		return
	}
	if p.cmd != nil && p.cmd.verb == "other" { // it may print an object, or a log, all the same
		p.cmd = nil
	}
	if p.cmd != nil && p.cmd.verb == "logs" {
		r.logBlock(p)
		return
	}
	if p.cmd != nil && (p.cmd.verb == "systemctl" || p.cmd.verb == "journalctl") {
		r.journal(p, p.lines)
		return
	}
	for i := 0; i < len(p.lines); {
		if p.lines[i].blank() {
			i++
			continue
		}
		rest := p.lines[i:]
		n := 0
		for _, read := range []func(*piece, []line) int{r.message, r.document, r.loose, r.table, r.description, r.eventLines, r.canI, r.rollout, r.version, r.journalBlock, r.logShape} {
			if n = read(p, rest); n > 0 {
				break
			}
		}
		if n > 0 {
			i += n
			continue
		}
		r.leave(p.file, rest[0].n, rest[0].n, "was not understood")
		i++
	}
}

func (r *reader) dateOutput(p *piece) {
	for _, l := range p.lines {
		if l.blank() {
			continue
		}
		if t, ok := parseTime(strings.TrimSpace(l.text)); ok {
			if t.After(r.dated) {
				r.dated = t
			}
			continue
		}
		r.leave(p.file, l.n, l.n, "was not understood")
	}
}

// where returns the namespace that a command or path gives.
func (p *piece) where() (namespace string, known bool) {
	if p.cmd != nil && p.cmd.namespace != "" {
		return p.cmd.namespace, true
	}
	if p.hint != nil && p.hint.namespace != "" {
		return p.hint.namespace, true
	}
	return "", false
}
