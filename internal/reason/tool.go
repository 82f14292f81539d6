package reason

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Tool is something that a model may ask for. It reads and never writes.
type Tool struct {
	Definition
	schema *jsonschema.Resolved
	call   func(ctx context.Context, v *View, arguments json.RawMessage) (Output, error)
}

// NewTool makes a tool whose arguments are an In: a struct with json tags, whose jsonschema tags describe
// the fields. call is called with valid arguments only, from any goroutine. Its error is told to the model
// and must not quote text from the cluster.
func NewTool[In any](name, description string, call func(ctx context.Context, v *View, in In) (Output, error)) (Tool, error) {
	schema, err := schemaOf[In]()
	if err != nil {
		return Tool{}, incident.Errorf(incident.KindInternal, "make tool "+name, "%w", err)
	}
	return ForeignTool(name, description, schema, func(ctx context.Context, v *View, arguments json.RawMessage) (Output, error) {
		var in In
		if err := json.Unmarshal(arguments, &in); err != nil {
			return Output{}, incident.Errorf(incident.KindInvalid, name, "arguments: %w", err)
		}
		return call(ctx, v, in)
	})
}

// ForeignTool makes a tool with a schema from elsewhere.
func ForeignTool(name, description string, schema *jsonschema.Schema, call func(ctx context.Context, v *View, arguments json.RawMessage) (Output, error)) (Tool, error) {
	resolved, err := schema.Resolve(nil)
	if err != nil {
		return Tool{}, incident.Errorf(incident.KindInvalid, "make tool "+name, "schema: %w", err)
	}
	text, err := json.Marshal(schema)
	if err != nil {
		return Tool{}, incident.Errorf(incident.KindInvalid, "make tool "+name, "schema: %w", err)
	}
	return Tool{Definition{name, description, text}, resolved, call}, nil
}

// schemaOf takes the schema of a Go type. A list may be empty, but not null: models would send null.
func schemaOf[T any]() (*jsonschema.Schema, error) {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		return nil, err
	}
	var mend func(s *jsonschema.Schema)
	mend = func(s *jsonschema.Schema) {
		if s == nil {
			return
		}
		if slices.Contains(s.Types, "array") {
			s.Types, s.Type = nil, "array"
		}
		mend(s.Items)
		for _, p := range s.Properties {
			mend(p)
		}
	}
	mend(s)
	return s, nil
}

// maxArguments bounds the arguments of one call, in bytes.
const maxArguments = 16 << 10

// check returns every fault of a call's arguments.
func check(schema *jsonschema.Resolved, arguments json.RawMessage) error {
	if len(arguments) > maxArguments {
		return incident.Errorf(incident.KindInvalid, "read the arguments", "they have more than %d bytes", maxArguments)
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(arguments))
	if err := dec.Decode(&v); err != nil {
		return incident.Errorf(incident.KindInvalid, "read the arguments", "they are no JSON: %w", err)
	}
	if _, ok := v.(map[string]any); !ok {
		return incident.Errorf(incident.KindInvalid, "read the arguments", "they are no JSON object")
	}
	if err := schema.Validate(v); err != nil {
		return incident.Errorf(incident.KindInvalid, "read the arguments", "%w", err)
	}
	return nil
}

// Output is what a tool found. It is data: facts that can be read again, and what follows from them.
type Output struct {
	Facts []Fact
	// Findings are conclusions of the tool itself, in its own words.
	Findings []Finding
	// Notes say what could not be read, or what to ask instead; also in the tool's own words.
	Notes []string
	// Unverified is text that nothing in the snapshot proves. It cannot be cited.
	Unverified []string
	// Omitted counts facts that were left out, because of a bound.
	Omitted int
}

// Fact is a value that was read, as evidence without id.
type Fact struct {
	Evidence incident.Evidence
	// Times says how often its like was seen, for one that stands for many; 0 means once.
	Times int
}

// Finding is a conclusion and the facts of the same Output that it rests on, by their index.
type Finding struct {
	Text  string
	Facts []int
}

// Fact adds evidence, once, and returns its index.
func (o *Output) Fact(e incident.Evidence) int {
	for i, f := range o.Facts {
		if f.Evidence.Ref == e.Ref && f.Evidence.Path == e.Path && f.Evidence.Kind == e.Kind && f.Evidence.Value == e.Value {
			return i
		}
	}
	o.Facts = append(o.Facts, Fact{Evidence: e})
	return len(o.Facts) - 1
}

// Note adds a note.
func (o *Output) Note(format string, args ...any) {
	o.Notes = append(o.Notes, fmt.Sprintf(format, args...))
}

// Registry is a set of tools, in a fixed order.
type Registry struct{ tools []Tool }

// NewRegistry errs with KindInvalid when two tools have the same name.
func NewRegistry(tools ...Tool) (Registry, error) {
	for i, t := range tools {
		if t.Name == submitName || slices.ContainsFunc(tools[:i], func(o Tool) bool { return o.Name == t.Name }) {
			return Registry{}, incident.Errorf(incident.KindInvalid, "register tools", "there are two with the name %q", t.Name)
		}
	}
	return Registry{slices.Clone(tools)}, nil
}

// Tools returns the tools in their order.
func (r Registry) Tools() []Tool { return slices.Clone(r.tools) }

// Names returns the tools' names, in their order.
func (r Registry) Names() []string {
	out := make([]string, len(r.tools))
	for i, t := range r.tools {
		out[i] = t.Name
	}
	return out
}

// Call runs a tool. Errors are *incident.Error: KindNotFound when there is no such tool, KindInvalid when
// the arguments do not fit, what the tool gave, or KindInternal when it panicked.
func (r Registry) Call(ctx context.Context, v *View, name string, arguments json.RawMessage) (out Output, err error) {
	i := slices.IndexFunc(r.tools, func(t Tool) bool { return t.Name == name })
	if i < 0 {
		return Output{}, incident.Errorf(incident.KindNotFound, "call a tool", "there is none of that name; there are %s", strings.Join(r.Names(), ", "))
	}
	t := r.tools[i]
	if len(bytes.TrimSpace(arguments)) == 0 {
		arguments = json.RawMessage("{}")
	}
	if err := check(t.schema, arguments); err != nil {
		return Output{}, err
	}
	defer func() {
		if p := recover(); p != nil {
			out, err = Output{}, incident.Errorf(incident.KindInternal, t.Name, "the tool failed")
		}
	}()
	if err := ctx.Err(); err != nil {
		return Output{}, incident.Errorf(incident.KindTimeout, t.Name, "%w", err)
	}
	return t.call(ctx, v, arguments)
}
