package recorded

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// node is a line of a description with the lines that are indented below it.
type node struct {
	key, value string // key is "" for a line that has none
	text       string
	line       line
	indent     int
	kids       []*node
}

// keyed finds the key of a line: it ends at a colon that blanks or the line's end follow.
func keyed(text string) (key, value string, ok bool) {
	from := 0
	for {
		i := strings.IndexByte(text[from:], ':')
		if i < 0 {
			return "", text, false
		}
		i += from
		if i+1 == len(text) || text[i+1] == ' ' || text[i+1] == '\t' {
			return strings.TrimSpace(text[:i]), strings.TrimSpace(text[i+1:]), i > 0
		}
		from = i + 1
	}
}

// outline builds the tree of a description.
func outline(lines []line) *node {
	root := &node{indent: -1}
	stack := []*node{root}
	for _, l := range lines {
		if l.blank() {
			continue
		}
		text := strings.ReplaceAll(l.text, "\t", "  ")
		n := &node{line: l, indent: len(text) - len(strings.TrimLeft(text, " "))}
		n.text = strings.TrimSpace(text)
		n.key, n.value, _ = keyed(n.text)
		for len(stack) > 1 && stack[len(stack)-1].indent >= n.indent {
			stack = stack[:len(stack)-1]
		}
		parent := stack[len(stack)-1]
		parent.kids = append(parent.kids, n)
		if len(stack) < 60 {
			stack = append(stack, n)
		}
	}
	return root
}

// kid returns the first line below with one of the keys; an empty node when there is none.
func (n *node) kid(keys ...string) *node {
	for _, k := range n.kids {
		if slices.Contains(keys, k.key) {
			return k
		}
	}
	return &node{}
}

func (n *node) has(key string) bool { return n.kid(key).key != "" }

// entry returns the value below a key: "" for none of it, as kubectl prints it.
func (n *node) entry(keys ...string) string { return plain(n.kid(keys...).value) }

func plain(v string) string {
	switch v {
	case "<none>", "<unset>", "<unknown>", "<nil>", "N/A", "<no value>":
		return ""
	}
	return v
}

// entries returns the value of a line and those that continue it.
func (n *node) entries() []string {
	var out []string
	if v := plain(n.value); v != "" {
		out = append(out, v)
	}
	for _, k := range n.kids {
		if v := plain(k.text); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// pairs reads labels or a selector: k=v, one or several to a line.
func (n *node) pairs() map[string]any {
	out := map[string]any{}
	for _, e := range n.entries() {
		for part := range strings.SplitSeq(e, ",") {
			if k, v, ok := strings.Cut(strings.TrimSpace(part), "="); ok {
				out[k] = v
			}
		}
	}
	return out
}

// notes reads annotations: "key: value".
func (n *node) notes() map[string]any {
	out := map[string]any{}
	last := ""
	add := func(text string) {
		k, v, ok := keyed(text)
		if !ok || strings.ContainsAny(k, " {\"") {
			if last != "" {
				s, _ := out[last].(string)
				out[last] = strings.TrimSpace(s + "\n" + text)
			}
			return
		}
		out[k], last = v, k
	}
	var walk func(n *node)
	walk = func(n *node) {
		for _, k := range n.kids {
			add(k.text)
			walk(k)
		}
	}
	if v := plain(n.value); v != "" {
		add(v)
	}
	walk(n)
	return out
}

// gaps separate the cells of a row that is not cut by offsets.
var gaps = regexp.MustCompile(`\s{2,}|\t+`)

func cells(text string) []string { return gaps.Split(strings.TrimSpace(text), -1) }

// rows reads a small table below a line: a header, a line of dashes, rows.
func (n *node) rows() (head []string, rows [][]string, lines []line) {
	var at []int
	var walk func(n *node)
	walk = func(n *node) {
		for _, k := range n.kids {
			switch {
			case head == nil:
				head = cells(k.text)
				at = offsets(k.line.text)
			case strings.Trim(k.text, "- \t") == "":
			default:
				row := cells(k.text)
				if len(row) != len(head) && len(at) == len(head) {
					if cutRow, ok := cutAt(k.line.text, at); ok {
						row = cutRow
					}
				}
				rows, lines = append(rows, row), append(lines, k.line)
			}
			walk(k)
		}
	}
	walk(n)
	return head, rows, lines
}

func cell(row []string, i int) string {
	if i < 0 || i >= len(row) {
		return ""
	}
	return row[i]
}

func column(head []string, name string) int {
	for i, h := range head {
		if h == name {
			return i
		}
	}
	return -1
}

// number returns the integer that a text begins with.
func number(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && s[end] == '-') {
		end++
	}
	v, err := strconv.ParseInt(s[:end], 10, 64)
	return v, err == nil
}

// counted reads "3 desired | 2 updated" and "1 Running / 0 Waiting" into counts by word.
func counted(s string) map[string]int64 {
	out := map[string]int64{}
	for _, part := range strings.FieldsFunc(s, func(c rune) bool { return c == '|' || c == '/' }) {
		if n, ok := number(part); ok {
			f := strings.Fields(part)
			out[strings.ToLower(f[len(f)-1])] = n
		}
	}
	return out
}
