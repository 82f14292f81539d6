package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// chain returns a valid trail of n events.
func chain(t *testing.T, n int) Trail {
	t.Helper()
	var trail Trail
	prev := ""
	for i := range n {
		e := Event{
			ID: string(rune('a' + i)), Timestamp: "2026-03-02T09:00:00Z", Type: "t", Version: "1.0", Category: "analysis", Action: "a",
			Outcome: "success", CorrelationID: "c", ResourceType: "r", ResourceID: "i", Severity: "info", ActorID: "x", ActorType: "service",
			Data: json.RawMessage(`{"b":1,"a":"<&>"}`), Sequence: int64(i + 1), PrevHash: prev, StoredAt: "2026-03-02T09:00:01Z",
		}
		if i == 1 {
			e.DurationMS, e.Namespace = new(int64(7)), "shop"
		}
		hash, err := hashOf(e)
		if err != nil {
			t.Fatal(err)
		}
		e.Hash, prev = hash, hash
		trail = append(trail, e)
	}
	return trail
}

func TestCheckChain(t *testing.T) {
	if err := CheckChain(chain(t, 3)); err != nil {
		t.Errorf("a valid chain: %v", err)
	}
	for name, tamper := range map[string]func(Trail) Trail{
		"edited":   func(c Trail) Trail { c[1].Data = json.RawMessage(`{"b":2,"a":"<&>"}`); return c },
		"duration": func(c Trail) Trail { *c[1].DurationMS = 8; return c },
		"dropped":  func(c Trail) Trail { return append(c[:1], c[2:]...) },
		"swapped":  func(c Trail) Trail { c[1], c[2] = c[2], c[1]; return c },
		"renamed":  func(c Trail) Trail { c[0].ActorID = "somebody"; return c },
	} {
		if err := CheckChain(tamper(chain(t, 3))); err == nil {
			t.Errorf("a chain with an event that is %s passes", name)
		}
	}
}

func TestHashOrderDoesNotMatter(t *testing.T) {
	a, b := chain(t, 1)[0], chain(t, 1)[0]
	b.Data = json.RawMessage(`{"a":"<&>","b":1}`)
	ha, err := hashOf(a)
	if err != nil {
		t.Fatal(err)
	}
	if hb, err := hashOf(b); hb != ha || err != nil {
		t.Errorf("got %s, %v; want %s", hb, err, ha)
	}
}

func bundle(t *testing.T) *Bundle {
	t.Helper()
	const text = `{
	"reads": [{"kind": "ConfigMap", "namespace": "shop"}, {"kind": "Secret", "namespace": "shop", "selector": "x=y"}],
	"objects": [{"object": {"kind": "Pod", "metadata": {"namespace": "shop", "name": "web"}, "spec": {"a/b": ["x", 7, {"deep": true}]}}}],
	"events": [{"object": {"kind": "Event", "metadata": {"namespace": "shop", "name": "web.1"}, "message": "Back-off"}}],
	"logs": [{"pod": {"namespace": "shop", "name": "web"}, "container": "main", "previous": true, "lines": ["one", "two"]}]}`
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	if _, err := zw.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := readBundle("d", packed.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBundleCheck(t *testing.T) {
	b := bundle(t)
	pod := v1alpha1.ObjectRef{Kind: "Pod", Namespace: "shop", Name: "web"}
	long := strings.Repeat("x", 10)
	for _, row := range []struct {
		name string
		e    v1alpha1.Evidence
		hash string // of which value; "" for the evidence's own
		want string // in the error; "" for none
	}{
		{"text", v1alpha1.Evidence{Kind: "object", Ref: pod, Path: "/spec/a~1b/0", Value: "x"}, "", ""},
		{"number", v1alpha1.Evidence{Kind: "object", Ref: pod, Path: "/spec/a~1b/1", Value: "7"}, "", ""},
		{"object", v1alpha1.Evidence{Kind: "object", Ref: pod, Path: "/spec/a~1b/2", Value: `{"deep":true}`}, "", ""},
		{"event", v1alpha1.Evidence{Kind: "event", Ref: v1alpha1.ObjectRef{Kind: "Event", Namespace: "shop", Name: "web.1"}, Path: "/message", Value: "Back-off"}, "", ""},
		{"log", v1alpha1.Evidence{Kind: "log", Ref: pod, Path: "main/previous/1", Value: "two"}, "", ""},
		{"absent field", v1alpha1.Evidence{Kind: "object", Ref: pod, Path: "/spec/none", Absent: true}, "", ""},
		{"absent object", v1alpha1.Evidence{Kind: "object", Ref: v1alpha1.ObjectRef{Kind: "ConfigMap", Namespace: "shop", Name: "no"}, Absent: true}, "", ""},
		{"another value", v1alpha1.Evidence{Kind: "object", Ref: pod, Path: "/spec/a~1b/0", Value: "y"}, "", "SHA-256"},
		{"a hash of another value", v1alpha1.Evidence{Kind: "object", Ref: pod, Path: "/spec/a~1b/0", Value: "x"}, long, "SHA-256"},
		{"no such place", v1alpha1.Evidence{Kind: "object", Ref: pod, Path: "/spec/a~1b/9", Value: "x"}, "", "does not have it"},
		{"no such line", v1alpha1.Evidence{Kind: "log", Ref: pod, Path: "main/previous/2", Value: "x"}, "", "does not have it"},
		{"no such run", v1alpha1.Evidence{Kind: "log", Ref: pod, Path: "main/current/0", Value: "one"}, "", "does not have it"},
		{"absent and there", v1alpha1.Evidence{Kind: "object", Ref: pod, Path: "/spec/a~1b", Absent: true}, "", "the bundle has it"},
		{"absent and not asked for", v1alpha1.Evidence{Kind: "object", Ref: v1alpha1.ObjectRef{Kind: "Secret", Namespace: "shop", Name: "no"}, Absent: true}, "", "not asked for"},
	} {
		row.e.ID, row.e.SHA256 = "e1", digest(row.e.Value)
		if row.hash != "" {
			row.e.SHA256 = digest(row.hash)
		}
		err := b.Check([]v1alpha1.Evidence{row.e})
		if (row.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestSamples(t *testing.T) {
	before, err := parseSamples([]byte("# HELP x y\nx_total{b=\"2\",a=\"one \\\"1\\\"\"} 3\nup 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	now, err := parseSamples([]byte("x_total{a=\"one \\\"1\\\"\",b=\"2\"} 5.5 1700000000000\nnew_total 2\nbig +Inf\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := now.Delta(before, "x_total", "a", `one \"1\"`, "b", "2"); got != 2.5 {
		t.Errorf("growth of x_total: got %v, want 2.5 (of %v, %v)", got, before, now)
	}
	if got := now.Delta(before, "new_total"); got != 2 {
		t.Errorf("growth of a series that is new: got %v, want 2", got)
	}
	if _, ok := now.Value("x_total", "a", "2"); ok {
		t.Error("a series with other labels is found")
	}
	if names := now.Names("x_"); !names["x_total"] || len(names) != 1 {
		t.Errorf("names: got %v", names)
	}
	if _, err := parseSamples([]byte("this is no sample\n")); err == nil {
		t.Error("a line that is no sample passes")
	}
}
