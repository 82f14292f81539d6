package recorded

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

var (
	yamlStart = regexp.MustCompile(`^(?:---\s*$|--- |apiVersion:\s*\S|kind:\s*[A-Z]\w+$|- apiVersion:|items:\s*(?:\[\])?$|metadata:\s*$)`)
	yamlLine  = regexp.MustCompile(`^(?:[\w.$/-]+:(?:\s|$)|"[^"]*":(?:\s|$)|- |-$|---|\.\.\.$|#|\s|\}|\]|$)`)
)

// document reads YAML or JSON that begins at the first line.
func (r *reader) document(p *piece, lines []line) int {
	text := lines[0].text
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") && len(lines) > 1 {
		return r.jsonBlock(p, lines)
	}
	if !yamlStart.MatchString(text) || strings.HasPrefix(text, "---") && len(lines) < 2 {
		return 0
	}
	n := 1
	for n < len(lines) && yamlLine.MatchString(lines[n].text) {
		if commandIn(lines[n].text) != nil || !strings.HasPrefix(lines[n].text, " ") && describeStart(lines[n:]) {
			break
		}
		n++
	}
	begin := 0
	for i := 0; i <= n; i++ {
		if i < n && !strings.HasPrefix(lines[i].text, "---") {
			continue
		}
		r.yaml(p, lines[begin:i])
		begin = i + 1
	}
	return n
}

func join(lines []line) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// yaml reads one document. The items of a list are read one by one: it is quicker, and a damaged one harms no other.
func (r *reader) yaml(p *piece, lines []line) {
	for len(lines) > 0 && lines[0].blank() {
		lines = lines[1:]
	}
	if len(lines) == 0 {
		return
	}
	if head, items, ok := splitItems(lines); ok {
		var list map[string]any
		if err := yaml.Unmarshal(head, &list); err == nil {
			found := 0
			for _, item := range items {
				if tree := r.decodeYAML(p, item.lines, item.body); tree != nil {
					r.tree(p, tree, item.lines[0])
					found++
				}
			}
			r.listed(p, list, found)
			return
		}
	}
	if tree := r.decodeYAML(p, lines, join(lines)); tree != nil {
		r.tree(p, tree, lines[0])
	}
}

func (r *reader) decodeYAML(p *piece, lines []line, body []byte) map[string]any {
	var tree map[string]any
	err := safely(func() error {
		raw, err := yaml.YAMLToJSON(body)
		if err != nil {
			return err
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		return dec.Decode(&tree)
	})
	if err != nil || tree == nil {
		r.leave(p.file, lines[0].n, lines[len(lines)-1].n, "looks like YAML and is not")
		return nil
	}
	return tree
}

// safely turns a panic of a foreign parser into an error.
func safely(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the parser failed")
		}
	}()
	return f()
}

type yamlItem struct {
	lines []line
	body  []byte
}

// splitItems cuts a list as kubectl prints it into its items and what surrounds them.
func splitItems(lines []line) (head []byte, items []yamlItem, ok bool) {
	at, flow := -1, false
	for i, l := range lines {
		if l.text == "items:" {
			at = i
			break
		}
		flow = flow || strings.HasPrefix(l.text, "items: [")
	}
	if at < 0 || flow {
		return nil, nil, false
	}
	h := append([]line{}, lines[:at]...)
	i := at + 1
	for i < len(lines) && (strings.HasPrefix(lines[i].text, "- ") || strings.HasPrefix(lines[i].text, "  - ")) {
		margin := lines[i].indent()
		j := i + 1
		for j < len(lines) && (lines[j].blank() || lines[j].indent() > margin) {
			j++
		}
		var b bytes.Buffer
		for k := i; k < j; k++ {
			t := lines[k].text
			if k == i {
				t = strings.Repeat(" ", margin+2) + t[margin+2:]
			}
			b.WriteString(t[min(len(t), margin+2):])
			b.WriteByte('\n')
		}
		items = append(items, yamlItem{lines[i:j], b.Bytes()})
		i = j
	}
	h = append(h, lines[i:]...)
	return join(h), items, true
}

// jsonBlock reads JSON documents from the first line on.
func (r *reader) jsonBlock(p *piece, lines []line) int {
	end := jsonEnd(lines)
	if end == 0 {
		return 0
	}
	dec := json.NewDecoder(bytes.NewReader(join(lines[:end])))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil || tree["kind"] == nil && tree["items"] == nil {
		return 0
	}
	r.tree(p, tree, lines[0])
	return end
}

// jsonEnd returns the number of lines up to the bracket that closes the first.
func jsonEnd(lines []line) int {
	depth, quoted, escaped := 0, false, false
	for i, l := range lines {
		for j := range len(l.text) {
			c := l.text[j]
			switch {
			case escaped:
				escaped = false
			case quoted:
				escaped, quoted = c == '\\', c != '"'
			case c == '"':
				quoted = true
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		if quoted { // JSON text has no line ends within
			return 0
		}
	}
	return 0
}

// jsonStream reads a file that is JSON through and through; false when it is not.
func (r *reader) jsonStream(file string, h *hint, body string) bool {
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	var trees []map[string]any
	var starts []int64
	for {
		at := dec.InputOffset()
		var tree map[string]any
		err := dec.Decode(&tree)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || tree["kind"] == nil && tree["items"] == nil {
			return false
		}
		trees, starts = append(trees, tree), append(starts, at)
	}
	n, from := 1, int64(0)
	for i, tree := range trees {
		for starts[i] < int64(len(body)) && strings.IndexByte(" \t\r\n", body[starts[i]]) >= 0 {
			starts[i]++
		}
		n += strings.Count(body[from:starts[i]], "\n")
		from = starts[i]
		r.tree(&piece{file: file, hint: h}, tree, line{n: n})
	}
	return true
}

// tree takes an object or a list of them.
func (r *reader) tree(p *piece, tree map[string]any, l line) {
	kind, _ := tree["kind"].(string)
	version, _ := tree["apiVersion"].(string)
	if list, ok := tree["items"].([]any); ok && (strings.HasSuffix(kind, "List") || kind == "") {
		itemKind := strings.TrimSuffix(kind, "List")
		found := 0
		for _, e := range list {
			item, ok := e.(map[string]any)
			if !ok {
				continue
			}
			if item["kind"] == nil && itemKind != "" { // a typed list does not repeat it
				item["kind"], item["apiVersion"] = itemKind, version
			}
			r.object(p, item, l)
			found++
		}
		r.listed(p, tree, found)
		return
	}
	if strings.HasSuffix(kind, "List") && tree["metadata"] != nil {
		if meta, _ := tree["metadata"].(map[string]any); meta["name"] == nil {
			r.listed(p, tree, 0)
			return
		}
	}
	r.object(p, tree, l)
}

// listed notes what a list in YAML or JSON proves: what its command asked for, or what tools put into a file of that
// name.
func (r *reader) listed(p *piece, list map[string]any, found int) {
	if p.cmd != nil {
		r.asked(p, found)
		return
	}
	if !p.hint.listing || len(p.hint.kinds) == 0 {
		return
	}
	if meta, _ := list["metadata"].(map[string]any); meta["continue"] != nil && meta["continue"] != "" {
		return
	}
	for _, res := range p.hint.kinds {
		if res.namespaced && p.hint.namespace == "" {
			r.hint(p, res)
			continue
		}
		r.askedIn(p, diagnose.Read{APIVersion: res.apiVersion, Kind: res.kind, Found: found}, res, "")
	}
}

// hint notes a list without a namespace: it proves absence in the namespaces of its objects.
func (r *reader) hint(p *piece, res resource) {
	seen := map[string]bool{}
	for _, list := range [][]*sighting{r.objects, r.events} {
		for _, s := range list {
			if s.src.File == p.file && s.res.kind == res.kind && s.known && !seen[s.namespace] {
				seen[s.namespace] = true
				r.reads = append(r.reads, diagnose.Read{APIVersion: res.apiVersion, Kind: res.kind, Namespace: s.namespace})
			}
		}
	}
}

// object takes one object.
func (r *reader) object(p *piece, tree map[string]any, l line) {
	kind, _ := tree["kind"].(string)
	version, _ := tree["apiVersion"].(string)
	meta, _ := tree["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if kind == "" || name == "" {
		if kind != "Status" && kind != "Config" {
			r.leave(p.file, l.n, l.n, "is an object without kind or name")
		}
		return
	}
	s := &sighting{res: resource{version, kind, true}, name: name, tree: tree, src: Source{p.file, l.n, FormDocument}}
	if res, ok := kinds[kind]; ok && (version == "" || groupOf(res.apiVersion) == groupOf(version)) {
		s.res = resource{version, kind, res.namespaced}
		if version == "" {
			s.res.apiVersion = res.apiVersion
		}
	}
	ns, _ := meta["namespace"].(string)
	s.namespace, s.known = ns, ns != "" || !s.res.namespaced
	if !s.known {
		if s.namespace, s.known = p.where(); !s.known && kinds[kind].kind == "" {
			s.known = true // of an unknown kind, that may have no namespace
		}
	}
	if meta != nil && meta["managedFields"] == nil && tree["status"] == nil && meta["uid"] == nil && meta["creationTimestamp"] == nil && p.cmd == nil && kind != "Event" {
		// A manifest says what is wanted, and nothing of what is.
		s.fields = []string{}
		s.src.Form = FormDerived
	}
	r.dates(tree, 0)
	r.see(s)
}

func groupOf(apiVersion string) string {
	group, _, found := strings.Cut(apiVersion, "/")
	if !found {
		return ""
	}
	return group
}
