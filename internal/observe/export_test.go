package observe

import "k8s.io/apimachinery/pkg/runtime/schema"

// Builtin is how a built-in kind is read, for tests of the package.
type Builtin struct {
	Kind       string
	Resource   schema.GroupVersionResource
	Namespaced bool
}

// Builtins returns all kinds that are read without asking the API server what it serves, and Event.
func Builtins() []Builtin {
	var out []Builtin
	for _, k := range append([]kind{eventKind}, builtins...) {
		out = append(out, Builtin{k.name, k.resource, k.namespaced})
	}
	return out
}
