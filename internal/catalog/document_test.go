package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/incident"
)

const goodDocument = `# a comment
apiVersion: kubernaut.ai/v1alpha1
kind: RemediationWorkflow
metadata:
  name: raise-memory-limit
  version: 1.2.0
spec:
  title: Raise a memory limit
  description: For a container that is killed at its limit.
  owner: platform
  maintainer: platform@example.com
  image: kubernaut/workflow-raise-memory-limit:1.2.0
  labels:
    signalType: OOMKilled
    severity: high
    component: deployment
  causes: [oom-limit]
  changes: declared
  risk: low
  traits: {stateful: true}
  customLabels: {team: [a, b]}
  expectedSuccessRate: 0.9
  expectedDurationSeconds: 60
  preconditions: [The node has room.]
  parameters:
    - name: NAMESPACE
      type: string
      required: true
      pattern: '[a-z]+'
      maxLength: 63
    - name: COUNT
      type: int
      default: "3"
      minimum: 1
      maximum: 9
  steps:
    - run $(NAMESPACE) $(COUNT)
`

func TestParseDocument(t *testing.T) {
	got, err := ParseDocument("good.yaml", []byte(goodDocument))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(goodDocument))
	rate, seconds, length, least, most := 0.9, 60, 63, 1.0, 9.0
	want := incident.Workflow{
		Name: "raise-memory-limit", Version: "1.2.0", Title: "Raise a memory limit",
		Description: "For a container that is killed at its limit.", Owner: "platform", Maintainer: "platform@example.com",
		Content: goodDocument, ContentHash: hex.EncodeToString(sum[:]),
		Parameters: []incident.Parameter{
			{Name: "NAMESPACE", Type: "string", Required: true, Pattern: "[a-z]+", MaxLength: &length},
			{Name: "COUNT", Type: "int", Default: "3", Minimum: &least, Maximum: &most},
		},
		ExecutionEngine: "tekton", ContainerImage: "kubernaut/workflow-raise-memory-limit:1.2.0",
		Labels: incident.WorkflowLabels{SignalType: "OOMKilled", Severity: "high", Component: "deployment", Environment: "*", Priority: "*"},
		CustomLabels: map[string][]string{
			"team": {"a", "b"}, incident.LabelCauses: {"oom-limit"}, LabelChanges: {"declared"}, LabelRisk: {"low"},
		},
		DetectedLabels: incident.WorkflowTraits{Stateful: true}, Status: incident.WorkflowActive,
		ExpectedSuccessRate: &rate, ExpectedDurationSeconds: &seconds,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workflow (-want +got):\n%s", diff)
	}
	if faults := got.Validate(); len(faults) > 0 {
		t.Errorf("the catalog would refuse it: %v", faults)
	}
	if diff := cmp.Diff([]string{"The node has room."}, Preconditions(got)); diff != "" {
		t.Errorf("preconditions (-want +got):\n%s", diff)
	}
}

func TestParseDocumentFaults(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, new string // replacement in goodDocument; an empty old replaces all of it
		want     []string
	}{
		{"unknown key", "  owner: platform", "  owners: platform", []string{`unknown field "spec.owners"`}},
		{"wrong case", "  title:", "  Title:", []string{`unknown field "spec.Title"`}},
		{"repeated key", "  owner: platform", "  owner: a\n  owner: b", []string{"owner"}},
		{"wrong type", "  title: Raise a memory limit", "  title: [a]", []string{"title"}},
		{"not YAML", "", "\t{", []string{"document"}},
		{"empty", "", "", []string{"apiVersion", "kind", "metadata.name", "spec.steps"}},
		{"no mapping", "", "a string", []string{"document"}},
		{"several documents", "# a comment", "a: b\n---", []string{"must be one YAML document"}},
		{"NUL", "# a comment", "# a \x00 comment", []string{"NUL"}},
		{"not UTF-8", "# a comment", "# \xff", []string{"UTF-8"}},
		{"wrong kind", "kind: RemediationWorkflow", "kind: Workflow", []string{"kind: must be RemediationWorkflow"}},
		{"wrong group", "kubernaut.ai/v1alpha1", "kubernaut.ai/v1", []string{"apiVersion: must be kubernaut.ai/v1alpha1"}},
		{"name with spaces", "name: raise-memory-limit", "name: Raise It", []string{"metadata.name: must be lower-case"}},
		{"version", "version: 1.2.0", "version: one", []string{"metadata.version: must be a semantic version"}},
		{"no title", "  title: Raise a memory limit\n", "", []string{"spec.title: must not be empty"}},
		{"no image", "  image: kubernaut/workflow-raise-memory-limit:1.2.0\n", "", []string{"spec.image: must not be empty"}},
		{"maintainer", "platform@example.com", "nobody", []string{"spec.maintainer: must be an e-mail address"}},
		{"signal type wildcard", "signalType: OOMKilled", `signalType: "*"`, []string{"spec.labels.signalType: must not be *"}},
		{"severity", "severity: high", "severity: urgent", []string{"spec.labels.severity: must be one of critical"}},
		{"component", "component: deployment", "component: Deployment", []string{"spec.labels.component: must be in lower case"}},
		{"cause", "causes: [oom-limit]", "causes: [OOM, a, a]", []string{"spec.causes[0]: must be the name", "spec.causes[2]: is there already"}},
		{"changes", "changes: declared", "changes: all", []string{"spec.changes: must be one of declared, runtime, source"}},
		{"risk", "risk: low", "risk: none", []string{"spec.risk: must be one of low, medium, high"}},
		{"tool", "{stateful: true}", "{gitOpsTool: jenkins}", []string{"spec.traits.gitOpsTool: must be one of argocd, flux"}},
		{"reserved label", "{team: [a, b]}", "{kubernaut.ai/cause: [x]}", []string{"spec.customLabels.kubernaut.ai/cause: is set by a field of its own"}},
		{"empty label", "{team: [a, b]}", `{team: [""]}`, []string{"spec.customLabels: each value must have 1 to 100 characters"}},
		{"success rate", "expectedSuccessRate: 0.9", "expectedSuccessRate: 9", []string{"spec.expectedSuccessRate: must be from 0 to 1"}},
		{"parameter name", "name: NAMESPACE", "name: nameSpace", []string{"spec.parameters[0].name: must be UPPER_SNAKE_CASE", "is not declared", "is used by no step"}},
		{"parameter type", "type: int", "type: integer", []string{"spec.parameters[1].type: must be one of string, int, float, bool"}},
		{"pattern", "'[a-z]+'", "'['", []string{"spec.parameters[0].pattern: must be a regular expression"}},
		{"default out of range", `default: "3"`, `default: "30"`, []string{"spec.parameters[1].default: must be at most 9"}},
		{"undeclared in step", "run $(NAMESPACE) $(COUNT)", "run $(NAMESPACE) $(COUNT) $(SECRET)", []string{"spec.steps[0]: uses a parameter that is not declared"}},
		{"unused parameter", "run $(NAMESPACE) $(COUNT)", "run $(NAMESPACE)", []string{"spec.parameters[1]: is used by no step"}},
		{
			"all at once", "kind: RemediationWorkflow\nmetadata:\n  name: raise-memory-limit", "kind: X\nmetadata:\n  name: X",
			[]string{"kind: must be", "metadata.name: must be"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(goodDocument, tt.old, tt.new, 1)
			if tt.old == "" {
				text = tt.new
			}
			_, err := ParseDocument("bad.yaml", []byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if kind := incident.KindOf(err); kind != incident.KindInvalid {
				t.Errorf("kind %s, want %s", kind, incident.KindInvalid)
			}
			for _, want := range append(tt.want, "bad.yaml") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not mention %q: %v", want, err)
				}
			}
		})
	}
}

func TestLoad(t *testing.T) {
	other := strings.Replace(goodDocument, "version: 1.2.0", "version: 1.3.0", 1)
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string // versions
		wrong []string // in the error
	}{
		{"in the order of names", map[string]string{"b.yaml": goodDocument, "a.yaml": other, "kustomization.yaml": "x: y", "c.txt": "?"}, []string{"1.3.0", "1.2.0"}, nil},
		{"none", nil, nil, nil},
		{"the same twice", map[string]string{"a.yaml": goodDocument, "b.yaml": goodDocument + "\n"}, nil, []string{"b.yaml: metadata: name and version are those of a.yaml"}},
		{"two bad files", map[string]string{"a.yaml": "kind: X", "b.yaml": "spec: 1"}, nil, []string{"a.yaml: kind", "b.yaml: document"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := fstest.MapFS{}
			for name, text := range tt.files {
				dir[name] = &fstest.MapFile{Data: []byte(text)}
			}
			workflows, err := Load(dir)
			for _, wrong := range tt.wrong {
				if err == nil || !strings.Contains(err.Error(), wrong) {
					t.Errorf("error does not mention %q: %v", wrong, err)
				}
			}
			if len(tt.wrong) == 0 && err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range workflows {
				got = append(got, w.Version)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("versions (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(goodDocument))
	f.Add([]byte("---\nkind: RemediationWorkflow\n...\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("spec: {parameters: [{name: A, type: float, default: '1e999'}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := ParseDocument("fuzz.yaml", data)
		if err != nil {
			if incident.KindOf(err) != incident.KindInvalid {
				t.Fatalf("error of kind %s: %v", incident.KindOf(err), err)
			}
			return
		}
		if faults := w.Validate(); len(faults) > 0 {
			t.Fatalf("accepted, and the catalog would refuse it: %v", faults)
		}
		again, err := ParseDocument("again.yaml", []byte(w.Content))
		if err != nil {
			t.Fatalf("the content is no document: %v", err)
		}
		if diff := cmp.Diff(w, again); diff != "" {
			t.Fatalf("parsing the content gives another workflow:\n%s", diff)
		}
	})
}
