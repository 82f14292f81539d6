package diagnose

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// place wraps a value as if it stood in an object.
func place(raw any) Value {
	return Value{object: &Object{}, path: "/x", raw: canonical(raw), ok: true}
}

func TestMilli(t *testing.T) {
	for _, tt := range []struct {
		in   any
		want int64
		ok   bool
	}{
		{"500m", 500, true},
		{"2", 2000, true},
		{2, 2000, true},
		{1.5, 1500, true},
		{"1Gi", 1 << 30 * 1000, true},
		{"100M", 1e8 * 1000, true},
		{"1e30", math.MaxInt64, true},
		{"9223372036854775807", math.MaxInt64, true},
		{"", 0, false},
		{"lots", 0, false},
		{nil, 0, false},
		{true, 0, false},
		{"-1", -1000, true},
	} {
		got, ok := milli(place(tt.in))
		if got != tt.want || ok != tt.ok {
			t.Errorf("milli(%v) = %d, %v, want %d, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestRequestsOf(t *testing.T) {
	requests := func(cpu string) map[string]any {
		return map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": cpu}}}
	}
	sidecar := requests("100m")
	sidecar["restartPolicy"] = "Always"
	for _, tt := range []struct {
		name string
		spec map[string]any
		want int64
	}{
		{"containers add up", map[string]any{"containers": []any{requests("500m"), requests("1")}}, 1500},
		{"a larger init container counts alone", map[string]any{"containers": []any{requests("500m")}, "initContainers": []any{requests("2"), requests("1")}}, 2000},
		{"a sidecar counts with the containers", map[string]any{"containers": []any{requests("500m")}, "initContainers": []any{sidecar}}, 600},
		{"a sidecar counts with later init containers", map[string]any{"containers": []any{requests("500m")}, "initContainers": []any{sidecar, requests("2")}}, 2100},
		{"the Pod's own request wins", map[string]any{"containers": []any{requests("500m")}, "resources": map[string]any{"requests": map[string]any{"cpu": "3"}}}, 3000},
		{"overhead is added", map[string]any{"containers": []any{requests("500m")}, "overhead": map[string]any{"cpu": "250m"}}, 750},
		{"nothing is asked for", map[string]any{"containers": []any{map[string]any{}}}, 0},
	} {
		if got := requestsOf(place(tt.spec), "requests")["cpu"]; got != tt.want {
			t.Errorf("%s: cpu = %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestSuggestLimit(t *testing.T) {
	const mi = 1 << 20 * 1000
	for _, tt := range []struct{ now, want int64 }{{128 * mi, 256 * mi}, {100 * mi, 256 * mi}, {1 * mi, 64 * mi}, {1024 * mi, 2048 * mi}, {math.MaxInt64, 0}} {
		if got := suggestLimit(tt.now); got != tt.want {
			t.Errorf("suggestLimit(%d) = %d, want %d", tt.now, got, tt.want)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, tt := range []struct {
		name       string
		candidates []string
		want       string
	}{
		{"web-config", []string{"web-configs", "other"}, "web-configs"},
		{"web-config", []string{"db-secret", "kube-root-ca.crt"}, ""},
		{"web-config", []string{"web-config"}, ""},
		{"a", []string{"b"}, ""},
		{"settings", nil, ""},
		{"abcdef", []string{"abcdeg", "abcdeh"}, "abcdeg"},
	} {
		if got := nearest(tt.name, tt.candidates); got != tt.want {
			t.Errorf("nearest(%q, %q) = %q, want %q", tt.name, tt.candidates, got, tt.want)
		}
	}
}

func TestConfidence(t *testing.T) {
	for _, tt := range []struct {
		name                                                      string
		directness, completeness, timing, competition, gaps, want float64
	}{
		{"proven and complete", 1, 1, 1, 1, 1, 0.97},
		{"proven, no corroboration", 1, 0, 1, 1, 1, 0.825},
		{"stated and complete", 0.96, 1, 1, 1, 1, 0.931},
		{"inferred", 0.6, 1, 1, 1, 1, 0.582},
		{"proven with a rival", 1, 1, 1, 0.8, 1, 0.776},
		{"a gap", 1, 1, 1, 1, 0.9, 0.873},
	} {
		if got := Confidence(tt.directness, tt.completeness, tt.timing, tt.competition, tt.gaps); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestResolve(t *testing.T) {
	tree := canonical(map[string]any{"a/b": map[string]any{"m~n": 1}, "": "empty", "list": []any{"x", map[string]any{"y": nil}}})
	for _, tt := range []struct {
		pointer string
		want    any
		ok      bool
	}{
		{"/a~1b/m~0n", int64(1), true},
		{"/", "empty", true},
		{"/list/0", "x", true},
		{"/list/1/y", nil, true},
		{"/list/2", nil, false},
		{"/list/-", nil, false},
		{"/list/01", nil, false},
		{"/list/x", nil, false},
		{"list", nil, false},
		{"/nope", nil, false},
		{"/list/0/x", nil, false},
	} {
		got, ok := resolve(tree, tt.pointer)
		if ok != tt.ok || cmp.Diff(tt.want, got) != "" {
			t.Errorf("resolve(%q) = %v, %v, want %v, %v", tt.pointer, got, ok, tt.want, tt.ok)
		}
	}
}

// What Value reads, its path finds again.
func TestValuePathsResolve(t *testing.T) {
	o, err := NewObject(map[string]any{"kind": "K", "metadata": map[string]any{"name": "n", "labels": map[string]any{"a/b~c": "x"}}, "list": []any{map[string]any{"k": 1.5}}}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []Value{o.At("metadata", "labels", "a/b~c"), o.At("list").Items()[0].At("k"), o.Root()} {
		raw, ok := resolve(o.Tree(), v.Path())
		if !ok || textOf(raw) != v.Text() {
			t.Errorf("path %q finds %v, %v, want %q", v.Path(), raw, ok, v.Text())
		}
	}
	if v := o.At("list", "k", "deeper"); v.Exists() || v.Path() != "/list/k/deeper" || v.Str() != "" || v.Len() != 0 || v.Items() != nil {
		t.Errorf("reading where nothing is gives %+v", v)
	}
}
