package config

import (
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder fills a struct from a YAML document and refuses what it does not know. It reads the
// document's nodes itself because no decoder at hand reports unknown, repeated and wrong-case
// keys together, with the line of each.
type decoder struct {
	*report
	root reflect.Value
	// aliases maps older keys to the keys that replace them. Both may be given when they agree.
	aliases map[string]string
	// ignored maps keys that are accepted and have no effect to the reason why.
	ignored map[string]string
	// delayed are the aliases that were met; they apply once all proper keys are known.
	delayed []aliasUse
}

type aliasUse struct {
	key  string
	line int
	node *yaml.Node
}

var yamlErrorLine = regexp.MustCompile(`^yaml: line (\d+): (.*)`)

// document decodes one YAML document.
func (d *decoder) document(r io.Reader) {
	dec := yaml.NewDecoder(r)
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			d.syntax(err)
		}
		return
	}
	d.section(doc.Content[0], "", d.root)
	for _, use := range d.delayed {
		d.alias(use)
	}
	var next yaml.Node
	if err := dec.Decode(&next); err == nil {
		d.addAt(origin{line: next.Line}, "", "a second YAML document begins here; the file must hold one")
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
	}
}

func (d *decoder) syntax(err error) {
	f := Fault{File: d.file, Message: "not valid YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := yamlErrorLine.FindStringSubmatch(err.Error()); m != nil {
		// The library gives the line where the enclosing block begins.
		f.Line, _ = strconv.Atoi(m[1])
		f.Message = "not valid YAML at or after this line: " + m[2]
	}
	d.faults = append(d.faults, f)
}

// section decodes a mapping. into is a struct, or invalid for a section whose keys are all aliases
// or ignored.
func (d *decoder) section(node *yaml.Node, path string, into reflect.Value) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		d.addAt(origin{line: node.Line}, path, "must be a section of keys and values, not %s", describe(node))
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key := join(path, name.Value)
		at := origin{line: name.Line}
		switch {
		case name.Kind != yaml.ScalarNode:
			d.addAt(at, path, "a key must be a word, not %s", describe(name))
			continue
		case name.Tag == "!!merge":
			d.addAt(at, key, "merge keys are not supported; write the values out")
			continue
		case lines[name.Value] > 0:
			d.addAt(at, key, "repeated key: it is set in line %d already", lines[name.Value])
			continue
		}
		lines[name.Value] = name.Line
		d.entry(key, name, value, path, into)
	}
}

// entry decodes one key of a section.
func (d *decoder) entry(key string, name, value *yaml.Node, path string, into reflect.Value) {
	at := origin{line: name.Line}
	if why, ok := d.ignored[key]; ok {
		d.origins[key] = at
		d.warn(key, "accepted, and has no effect: "+why)
		return
	}
	if _, ok := d.aliases[key]; ok {
		d.delayed = append(d.delayed, aliasUse{key: key, line: name.Line, node: value})
		return
	}
	field, ok := fieldNamed(into, name.Value)
	switch {
	case ok && field.Kind() == reflect.Struct:
		d.origins[key] = at
		d.section(value, key, field)
	case ok:
		d.origins[key] = at
		d.value(value, key, field)
	case d.legacySection(key):
		d.section(value, key, reflect.Value{})
	default:
		d.addAt(at, key, "unknown key; %s", suggest(name.Value, d.names(path, into)))
	}
}

// alias applies an older key to the key that replaces it.
func (d *decoder) alias(use aliasUse) {
	target := d.aliases[use.key]
	field := fieldAt(d.root, target)
	first, given := d.origins[target]
	before := reflect.New(field.Type()).Elem()
	before.Set(field)
	faults := len(d.faults)
	d.value(use.node, use.key, field)
	switch {
	case len(d.faults) > faults:
		d.faults[len(d.faults)-1].Line = use.line
	case given && !reflect.DeepEqual(before.Interface(), field.Interface()):
		d.addAt(origin{line: use.line}, use.key, "differs from %s in line %d, which means the same; keep one of them",
			target, first.line)
	default:
		d.origins[target] = origin{line: use.line}
	}
}

// value decodes a scalar or a list into a field.
func (d *decoder) value(node *yaml.Node, key string, field reflect.Value) {
	at := origin{line: node.Line}
	switch {
	case node.Kind == yaml.AliasNode:
		d.addAt(at, key, "YAML anchors are not supported; write the value out")
		return
	case isNull(node):
		d.addAt(at, key, "has no value; give one or remove the key")
		return
	case field.Kind() == reflect.Slice:
		d.list(node, key, field)
		return
	case node.Kind != yaml.ScalarNode:
		d.addAt(at, key, "must be %s, not %s", wanted(field), describe(node))
		return
	}
	if !tagFits(node.ShortTag(), field) {
		d.addAt(at, key, "%s is not %s", describe(node), wanted(field))
		return
	}
	if problem := setText(field, node.Value); problem != "" {
		d.addAt(at, key, "%s", problem)
	}
}

func (d *decoder) list(node *yaml.Node, key string, field reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		d.addAt(origin{line: node.Line}, key, "must be a list, not %s", describe(node))
		return
	}
	out := make([]string, 0, len(node.Content))
	for i, item := range node.Content {
		if item.Kind != yaml.ScalarNode || isNull(item) {
			d.addAt(origin{line: item.Line}, fmt.Sprintf("%s[%d]", key, i), "must be text, not %s", describe(item))
			continue
		}
		out = append(out, item.Value)
	}
	field.Set(reflect.ValueOf(out))
}

// names returns the keys that a section may hold.
func (d *decoder) names(path string, into reflect.Value) []string {
	var names []string
	if into.IsValid() {
		for _, f := range reflect.VisibleFields(into.Type()) {
			inlined := len(f.Index) == 1 || isInline(into.Type().Field(f.Index[0]))
			if name := keyOf(f); name != "" && inlined {
				names = append(names, name)
			}
		}
	}
	for _, set := range []map[string]string{d.aliases, d.ignored} {
		for key := range set {
			rest, ok := strings.CutPrefix(key, join(path, ""))
			if name, _, _ := strings.Cut(rest, "."); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// legacySection reports whether a key is a section that exists only for aliases or ignored keys.
func (d *decoder) legacySection(key string) bool {
	for _, set := range []map[string]string{d.aliases, d.ignored} {
		for known := range set {
			if strings.HasPrefix(known, key+".") {
				return true
			}
		}
	}
	return false
}

// setText parses text into a field and returns what is wrong with it, or "".
func setText(field reflect.Value, text string) string {
	refuse := func() string { return fmt.Sprintf("%q is not %s", text, wanted(field)) }
	switch {
	case field.Type() == reflect.TypeFor[time.Duration]():
		v, err := time.ParseDuration(text)
		if err != nil {
			return refuse()
		}
		field.SetInt(int64(v))
	case field.Kind() == reflect.Bool:
		switch strings.ToLower(text) {
		case "true":
			field.SetBool(true)
		case "false":
			field.SetBool(false)
		default:
			return refuse()
		}
	case field.CanInt():
		v, err := strconv.ParseInt(text, 10, field.Type().Bits())
		if err != nil {
			return refuse()
		}
		field.SetInt(v)
	case field.CanFloat():
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return refuse()
		}
		field.SetFloat(v)
	default:
		field.SetString(text)
	}
	return ""
}

// tagFits reports whether a scalar that YAML reads as tag may stand for the field. Text takes any
// scalar as it is written, so that a name or a password of digits needs no quotes.
func tagFits(tag string, field reflect.Value) bool {
	switch {
	case field.Type() == reflect.TypeFor[time.Duration](), field.Kind() == reflect.String:
		return true
	case field.Kind() == reflect.Bool:
		return tag == "!!bool"
	case field.CanInt():
		return tag == "!!int"
	default:
		return tag == "!!int" || tag == "!!float"
	}
}

func wanted(field reflect.Value) string {
	switch {
	case field.Type() == reflect.TypeFor[time.Duration]():
		return `a duration; write a number with its unit, for example "500ms", "60s" or "5m"`
	case field.Kind() == reflect.Bool:
		return "true or false"
	case field.CanInt():
		return "a whole number"
	case field.CanFloat():
		return "a number"
	default:
		return "text"
	}
}

func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "a YAML anchor"
	}
	if isNull(node) {
		return "nothing"
	}
	if node.ShortTag() == "!!str" {
		return "the text " + strconv.Quote(clip(node.Value))
	}
	return clip(node.Value)
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// keyOf returns the YAML key of a struct field, or "" when it has none.
func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func fieldNamed(into reflect.Value, name string) (reflect.Value, bool) {
	if !into.IsValid() || name == "" {
		return reflect.Value{}, false
	}
	for i := range into.NumField() {
		f := into.Type().Field(i)
		if isInline(f) {
			if field, ok := fieldNamed(into.Field(i), name); ok {
				return field, true
			}
		}
		if keyOf(f) == name {
			return into.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// isInline reports whether the keys of a struct field stand among those of the struct that holds it.
func isInline(f reflect.StructField) bool {
	_, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return options == "inline"
}

// fieldAt returns the field of a dotted key. A key that does not exist is a mistake in this
// package's own tables, which a test would meet; it panics.
func fieldAt(root reflect.Value, key string) reflect.Value {
	field := root
	for name := range strings.SplitSeq(key, ".") {
		next, ok := fieldNamed(field, name)
		if !ok {
			panic("config: no field for key " + key)
		}
		field = next
	}
	return field
}
