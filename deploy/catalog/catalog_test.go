package catalog_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	starter "kubernaut.ai/kubernaut/deploy/catalog"
	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/incident"
)

const engine = "../../internal/diagnose/"

func workflows(t *testing.T) []incident.Workflow {
	t.Helper()
	documents, err := starter.Documents()
	if err != nil {
		t.Fatal(err)
	}
	var out []incident.Workflow
	for name, text := range documents {
		w, err := catalog.ParseDocument(name, text)
		if err != nil {
			t.Error(err)
			continue
		}
		if want := w.Name + ".yaml"; name != want {
			t.Errorf("%s holds workflow %s: name it %s", name, w.Name, want)
		}
		out = append(out, w)
	}
	if _, err := catalog.Load(os.DirFS(".")); err != nil {
		t.Error(err)
	}
	if len(out) < 25 {
		t.Errorf("%d workflows, want at least 25", len(out))
	}
	return out
}

// classes reads the classes of cause from the engine's source: every constant Class….
func classes(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), engine+"class.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Class") {
			class, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, class)
		}
		return true
	})
	if len(out) < 20 {
		t.Fatalf("found %d classes only", len(out))
	}
	return out
}

// parameter is a line of the engine's documentation: NAME  text [classes] or (all …).
var parameter = regexp.MustCompile(`^//\t([A-Z]+(?:_[A-Z]+)*) +.*?(\[[^\]]*\]|\(all[^)]*\))`)

// provided returns which parameters the engine documents, with the patterns of the classes that set
// them; "*" for those that every cause with such an object sets.
func provided(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(engine + "doc.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		m := parameter.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if strings.HasPrefix(m[2], "(all") || strings.Contains(m[2], "the same") || strings.Contains(m[2], "others") || strings.Contains(m[2], "all ") {
			out[m[1]] = append(out[m[1]], "*")
		}
		out[m[1]] = append(out[m[1]], regexp.MustCompile(`[a-z]+(?:-[a-z*]+)+`).FindAllString(m[2], -1)...)
	}
	if len(out) < 20 {
		t.Fatalf("found %d documented parameters only", len(out))
	}
	return out
}

// byHand names the classes for which no workflow is the right answer, and why.
func byHand() map[string]string {
	return map[string]string{
		"config-invalid":        "what the content should be is known to people only",
		"init-blocked":          "nothing says what the init container waits for",
		"oom-growth":            "a higher limit only puts the kill off; the program is to be mended",
		"cronjob-invalid":       "when it should run is known to people only",
		"dependency-refuses":    "credentials are given out by people",
		"connections-exhausted": "who may hold how many connections is decided by people",
		"service-missing":       "the ports of a Service that is gone are recorded nowhere",
		"pv-mismatch":           "which volume a claim is to have, and what may become of its data, is decided by people",
		"volume-node-affinity":  "data does not move by itself",
		"volume-permission":     "who may write to data is decided by people",
		"host-port-conflict":    "which of two programs has the port is decided by people",
		"preempted":             "which of two workloads matters more is decided by people",
		"hpa-misconfigured":     "what a Pod needs is known to those who made it",
		"limitrange-violation":  "bounds are an agreement between people",
		"admission-denied":      "a policy is kept or changed by people",
		"webhook-unavailable":   "whether Pods may be made unchecked is decided by people",
		"scheduler-down":        "the control plane is repaired by those who run it",
	}
}

func TestEveryClassHasAWorkflow(t *testing.T) {
	known := classes(t)
	covered := map[string]bool{}
	for _, w := range workflows(t) {
		causes := w.CustomLabels[incident.LabelCauses]
		if len(causes) == 0 {
			t.Errorf("%s names no cause", w.Name)
		}
		for _, c := range causes {
			covered[c] = true
			if !slices.Contains(known, c) {
				t.Errorf("%s: the engine has no class %s", w.Name, c)
			}
		}
	}
	manual := byHand()
	for _, c := range known {
		switch _, people := manual[c]; {
		case !covered[c] && !people:
			t.Errorf("no workflow for class %s", c)
		case covered[c] && people:
			t.Errorf("class %s has a workflow and is left to people", c)
		}
	}
	for c := range manual {
		if !slices.Contains(known, c) {
			t.Errorf("class %s is left to people, and the engine has none such", c)
		}
	}
}

func TestRequiredParametersComeFromEvidence(t *testing.T) {
	documented := provided(t)
	for _, w := range workflows(t) {
		for _, p := range w.Parameters {
			if !p.Required || p.Default != "" {
				continue
			}
			for _, class := range w.CustomLabels[incident.LabelCauses] {
				if !slices.ContainsFunc(documented[p.Name], func(pattern string) bool {
					ok, err := path.Match(pattern, class)
					return err == nil && ok
				}) {
					t.Errorf("%s requires %s, which causes of class %s do not provide (%v)", w.Name, p.Name, class, documented[p.Name])
				}
			}
			if p.Type == incident.ParameterString && p.Pattern == "" && len(p.Enum) == 0 {
				t.Errorf("%s: %s comes from the cluster and takes any text", w.Name, p.Name)
			}
		}
	}
}

func TestWorkflowsAreDescribed(t *testing.T) {
	for _, w := range workflows(t) {
		if len(w.Description) < 80 || !strings.HasPrefix(w.Description, "For ") {
			t.Errorf("%s: the description does not say for what it is", w.Name)
		}
		if w.ExpectedSuccessRate == nil || w.ExpectedDurationSeconds == nil {
			t.Errorf("%s: no expected success rate or duration", w.Name)
		}
		if catalog.Risk(w) != "low" && len(catalog.Preconditions(w)) == 0 {
			t.Errorf("%s: risk %s without a precondition", w.Name, catalog.Risk(w))
		}
		if w.DetectedLabels.GitOpsManaged && w.CustomLabels[catalog.LabelChanges][0] != catalog.ChangesSource {
			t.Errorf("%s is for GitOps and does not change the source", w.Name)
		}
		for _, p := range w.Parameters {
			if p.Description == "" {
				t.Errorf("%s: %s is not described", w.Name, p.Name)
			}
		}
	}
}
