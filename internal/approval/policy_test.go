package approval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"kubernaut.ai/kubernaut/internal/incident"
)

// sound is the smallest policy that passes the self-test; rules may be appended to it.
const sound = `package aianalysis.approval
import rego.v1
default require_approval := true
`

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "approval.rego")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t testing.TB, text string, o Options) *Evaluator {
	t.Helper()
	e, err := Load(write(t, text), o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, text string
		refusal    Refusal
		line       int
		rule       string
		says       string
	}{
		{name: "empty file", text: "", refusal: Syntax, says: "empty module"},
		{name: "not Rego", text: "approve: yes\n", refusal: Syntax, line: 1, says: "unexpected : token"},
		{
			name: "old syntax", text: "package aianalysis.approval\n\nrequire_approval = true { input.confidence < 1 }\n",
			refusal: Syntax, line: 3, says: "`if` keyword is required",
		},
		{
			name: "wrong package", text: "# policy\npackage kubernaut.approval\n\ndefault require_approval := true\n",
			refusal: WrongName, line: 2, says: "declares package kubernaut.approval; it must declare package aianalysis.approval",
		},
		{
			name: "no rule", text: "package aianalysis.approval\nreason := \"none\"\n",
			refusal: MissingRule, rule: "require_approval", says: `add "default require_approval := true"`,
		},
		{
			name: "misspelt rule", text: "package aianalysis.approval\ndefault requires_approval := true\n",
			refusal: MissingRule, rule: "require_approval", says: "is not there",
		},
		{
			name: "misspelt input", text: sound + "require_approval := false if input.enviroment == \"staging\"\n",
			refusal: Syntax, line: 4, rule: "require_approval", says: "input.enviroment",
		},
		{
			name: "unknown function", text: sound + "reason := spritnf(\"%s\", [\"a\"])\n",
			refusal: Syntax, line: 4, rule: "reason", says: "undefined function spritnf",
		},
		{
			name: "network", text: sound + "reason := http.send({\"method\": \"GET\", \"url\": \"http://x\"}).body\n",
			refusal: Syntax, line: 4, rule: "reason", says: "http.send is not available",
		},
		{
			name: "name service", text: sound + "reason := net.lookup_ip_addr(\"x\")[_]\n",
			refusal: Syntax, line: 4, rule: "reason", says: "net.lookup_ip_addr is not available",
		},
		{
			name: "environment of the process", text: sound + "reason := opa.runtime().env.HOME\n",
			refusal: Syntax, line: 4, rule: "reason", says: "opa.runtime is not available",
		},
		{
			name:    "approves unless a reason is found",
			text:    "package aianalysis.approval\nreasons contains \"prod\" if input.environment == \"production\"\nrequire_approval if count(reasons) > 0\nrequire_approval := false if count(reasons) == 0\n",
			refusal: FailsOpen, rule: "require_approval", says: "is false for an empty input",
		},
		{
			name:    "default is to approve",
			text:    "package aianalysis.approval\ndefault require_approval := false\nrequire_approval if input.environment == \"production\"\n",
			refusal: FailsOpen, rule: "require_approval", says: "is false for an empty input",
		},
		{
			name:    "approves nulls",
			text:    sound + "require_approval := false if input.warnings == null\n",
			refusal: FailsOpen, rule: "require_approval", says: "is false for an input of nulls",
		},
		{
			name:    "approves emptiness",
			text:    sound + "require_approval := false if { input.environment != \"production\"; input.warnings == [] }\n",
			refusal: FailsOpen, rule: "require_approval", says: "is false for an input without values",
		},
		{
			name:    "approves production with an unvalidated target",
			text:    sound + "require_approval := false if input.confidence > 0.5\n",
			refusal: FailsOpen, rule: "require_approval", says: "is false for production with an unvalidated target",
		},
		{
			name: "text in place of true", text: "package aianalysis.approval\ndefault require_approval := \"yes\"\n",
			refusal: WrongType, rule: "require_approval", says: `is "yes" and not true or false`,
		},
		{
			name:    "contradiction",
			text:    sound + "require_approval := false if input.severity == \"warning\"\nrequire_approval := true if input.environment == \"staging\"\nrequire_approval if input.environment == \"production\"\n",
			refusal: Failing, line: 6, rule: "require_approval", says: "produced conflicting values",
		},
		{
			name:    "built-in that fails",
			text:    sound + "matched_rules := {to_number(input.severity)}\n",
			refusal: Failing, line: 4, rule: "matched_rules", says: "fails for production with an unvalidated target: to_number: ",
		},
		{
			name:    "endless",
			text:    sound + "reason := \"x\" if { some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j == -1 }\n",
			refusal: Failing, says: "took longer than 1s",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tt.text)
			err := Check(path)
			var got *PolicyError
			if !errors.As(err, &got) {
				t.Fatalf("error = %v, want a *PolicyError", err)
			}
			if got.Refusal != tt.refusal || got.Line != tt.line || got.Rule != tt.rule || got.File != path {
				t.Errorf("got %s at line %d of rule %q in %s, want %s at %d of %q in %s\nerror: %v",
					got.Refusal, got.Line, got.Rule, got.File, tt.refusal, tt.line, tt.rule, path, err)
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "policy "+path) {
				t.Errorf("error = %q, want it to name the file and say %q", err, tt.says)
			}
			if _, loadErr := Load(path, Options{}); loadErr == nil {
				t.Error("Load takes what Check refuses")
			}
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.rego")
	for name, err := range map[string]error{"Check": Check(path), "Load": second(Load(path, Options{}))} {
		var got *PolicyError
		if !errors.As(err, &got) || got.Refusal != Unreadable || !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	large := write(t, sound+strings.Repeat("#", maxPolicyBytes))
	if err := Check(large); err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("large file: error = %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestPolicyOfThePredecessorsShape loads a policy that knows only the older keys.
func TestPolicyOfThePredecessorsShape(t *testing.T) {
	e := load(t, `package aianalysis.approval
import rego.v1
default require_approval := true
default reason := "Requires approval"
is_production if input.environment == "production"
has_warnings if count(input.warnings) > 0
has_failed_detections if count(input.failed_detections) > 0
team := input.custom_labels.team[0]
require_approval := false if {
	not is_production
	input.environment != ""
	not has_warnings
	not has_failed_detections
	input.failed_detections != null
	input.confidence >= 0.5
	input.target_resource.kind == "Deployment"
	not input.detected_labels.stateful
	team == "a"
}
reason := "Auto-approved" if not require_approval
`, Options{})
	in := knownInput()
	in.CustomLabels = map[string][]string{"team": {"a"}}
	got, err := e.Evaluate(context.Background(), in)
	if err != nil || got.ApprovalRequired || got.Degraded || got.Reason != "Auto-approved" || got.Rules != nil {
		t.Errorf("decision = %+v, %v, want automatic", got, err)
	}
}

func TestDegradedDecisions(t *testing.T) {
	// The self-test's inputs all have the priority P2 or none, so a policy may misbehave for P0
	// without being refused.
	tests := []struct {
		name, rules string
		says        string
	}{
		{"undefined", "package aianalysis.approval\nrequire_approval := false if { input.business_priority == \"P3\"; input.environment == \"qa\" }\n", "require_approval is undefined"},
		{"not a boolean", sound + "require_approval := \"no\" if input.business_priority == \"P0\"\n", `require_approval is "no" and not true or false`},
		{"null", sound + "require_approval := null if input.business_priority == \"P0\"\n", "require_approval is null and not true or false"},
		{"contradiction", sound + "require_approval := false if input.business_priority == \"P0\"\nrequire_approval if input.business_priority == \"P0\"\n", "produced conflicting values"},
		{"contradicting reasons", sound + "reason := \"a\" if input.business_priority == \"P0\"\nreason := \"b\" if input.business_priority == \"P0\"\n", "produced conflicting values"},
		{"failing function", sound + "require_approval := false if { input.business_priority == \"P0\"; to_number(input.severity) > 1 }\n", "to_number"},
		{"endless", sound + "require_approval := false if { input.business_priority == \"P0\"; some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j == -1 }\n", "took longer than 50ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := load(t, tt.rules, Options{EvaluationTimeout: 50 * time.Millisecond})
			in := knownInput()
			in.BusinessPriority = "P0"
			got, err := e.Evaluate(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			if !got.ApprovalRequired || !got.Degraded {
				t.Errorf("decision = %+v, want degraded and a person", got)
			}
			if !strings.Contains(got.Reason, tt.says) || !strings.HasPrefix(got.Reason, "The approval policy could not decide") {
				t.Errorf("reason = %q, want it to say %q", got.Reason, tt.says)
			}
			if strings.ContainsAny(got.Reason, "\n\t") {
				t.Errorf("reason has several lines: %q", got.Reason)
			}
			if got.PolicyHash != e.Hash() || got.PolicyName != PolicyName {
				t.Errorf("policy = %q %q, want those of the policy", got.PolicyName, got.PolicyHash)
			}
		})
	}
}

// TestSchemasAreNotFetched: a schema may refer to another by its URL.
func TestSchemasAreNotFetched(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path:
		default:
		}
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	for _, call := range []string{"json.match_schema({}, schema)", "json.verify_schema(schema)"} {
		text := sound + fmt.Sprintf("schema := {\"$ref\": \"%s/schema.json\"}\nreason := sprintf(\"%%v\", [%s])\n", server.URL, call)
		if e, err := Load(write(t, text), Options{}); err == nil { // else it is refused, which is as good
			_ = second(e.Evaluate(context.Background(), knownInput()))
		}
		select {
		case path := <-asked:
			t.Errorf("%s fetched %s", call, path)
		default:
		}
	}
}

func TestExplanationsAreBounded(t *testing.T) {
	tests := []struct {
		name, rules, reason string
		matched             int
		rule                string // the deciding one
	}{
		{"none", "", "The approval policy gives no reason", 0, ""},
		{"wrong types", "reason := 5\nmatched_rules := true\nrule := [\"a\"]\n", "The approval policy gives no reason", 0, ""},
		{"list", "reason := \" why \"\nmatched_rules := [\"b\", \"a\", 5, \"a\", \"\"]\n", "why", 2, ""},
		{"one rule", "matched_rules := {\"a\"}\n", "The approval policy gives no reason", 1, "a"},
		{"deciding rule", "matched_rules := {\"a\", \"b\"}\nrule := \"b\"\n", "The approval policy gives no reason", 2, "b"},
		{"too much", "reason := concat(\"é\", [\"x\" | some _ in numbers.range(1, 5000)])\nmatched_rules := {sprintf(\"%d\", [n]) | some n in numbers.range(1, 500)}\nrule := concat(\"\", [\"x\" | some _ in numbers.range(1, 127)])\n", "", maxRules, strings.Repeat("x", 127)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := load(t, sound+tt.rules, Options{EvaluationTimeout: time.Minute}).Evaluate(context.Background(), knownInput())
			if err != nil || got.Degraded || !got.ApprovalRequired {
				t.Fatalf("decision = %+v, %v", got, err)
			}
			if tt.reason != "" && got.Reason != tt.reason {
				t.Errorf("reason = %q, want %q", got.Reason, tt.reason)
			}
			if len(got.Reason) > maxReasonBytes || !utf8.ValidString(got.Reason) {
				t.Errorf("reason has %d bytes, valid %v", len(got.Reason), utf8.ValidString(got.Reason))
			}
			if len(got.Rules) != tt.matched {
				t.Errorf("rules = %q, want %d", got.Rules, tt.matched)
			}
			if got.Rule != tt.rule {
				t.Errorf("rule = %q, want %q", got.Rule, tt.rule)
			}
		})
	}
}

func TestEndedContextGivesNoDecision(t *testing.T) {
	e := load(t, sound, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	got, err := e.Evaluate(ctx, knownInput())
	if !errors.Is(err, context.Canceled) || got.PolicyName != "" {
		t.Errorf("decision = %+v, %v, want none and the context's error", got, err)
	}

	// A context that ends on the way stops the policy.
	slow := load(t, sound+"reason := \"x\" if { input.business_priority == \"P0\"; some i in numbers.range(1, 30000); some j in numbers.range(1, 30000); i * j == -1 }\n",
		Options{EvaluationTimeout: time.Hour})
	in := knownInput()
	in.BusinessPriority = "P0"
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := slow.Evaluate(ctx, in); incident.KindOf(err) != incident.KindTimeout {
		t.Errorf("error = %v, want a passed deadline", err)
	}
}

func TestEvaluateConcurrently(t *testing.T) {
	e := loadShipped(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in := knownInput()
			if i%2 == 0 {
				in.Environment = "production"
			}
			for range 50 {
				got, err := e.Evaluate(context.Background(), in)
				if err != nil || got.Degraded || got.ApprovalRequired != (i%2 == 0) {
					t.Errorf("decision = %+v, %v for environment %s", got, err, in.Environment)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestUnusableOptions(t *testing.T) {
	if _, err := Load(write(t, sound), Options{EvaluationTimeout: -1}); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("error = %v", err)
	}
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		sound, "", "package aianalysis.approval\nrequire_approval := input.confidence > 0.5\n",
		"package aianalysis.approval\ndefault require_approval := true\nrequire_approval := false if { input.warnings == []; input.confidence > 0 }\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := compile(context.Background(), "fuzz.rego", []byte(text), time.Millisecond)
		var refused *PolicyError
		if err != nil {
			if !errors.As(err, &refused) || refused.Err == nil {
				t.Fatalf("error = %#v, want a *PolicyError", err)
			}
			return
		}
		production := knownInput()
		production.Environment, production.TargetInOwnerChain = "production", nil
		for _, in := range []Input{{}, production} {
			if out, err := p.run(context.Background(), in.document(), time.Second); err == nil && !p.decide(out).ApprovalRequired {
				t.Fatalf("an accepted policy approves %+v by itself:\n%s", in, text)
			}
		}
	})
}
