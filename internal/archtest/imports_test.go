// Package archtest holds the rules of the repository's architecture as tests. A failure says which rule, and why it is
// one; a rule that no longer serves is changed here, with its reason.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "kubernaut.ai/kubernaut/"

// unit is a package with its sub-packages, and the units of this module that its code (tests aside) may import.
type unit struct {
	path string // a trailing /* makes each sub-directory a unit
	may  []string
	why  string
}

const anything = "*"

// units are all of them. A package that belongs to none fails the test: its place must be decided.
var units = []unit{
	{"api/v1alpha1", nil, "the resource types are what other programs import; they carry nothing of ours with them"},
	{"deploy", nil, "the manifests that ship are data, embedded by those who need them"},

	// The domain: decisions about values, which are handed in and handed out.
	{"internal/incident", nil, "the domain is what everything else may rely on; it relies on nothing"},
	{"internal/diagnose", []string{"internal/incident"}, "a diagnosis is a function of a snapshot"},
	{"internal/catalog", []string{"internal/incident"}, "matching and filling are functions of workflows and evidence"},
	{"internal/investigate", []string{"internal/incident", "internal/diagnose", "internal/catalog", "internal/audit", "internal/reason"}, "the pipeline sees the cluster, the store and the model through interfaces of its own; it knows the events it writes, and the case that it puts to a model"},
	{"internal/evaluate", []string{"internal/incident", "internal/diagnose", "internal/catalog", "internal/investigate", "internal/reason"}, "it measures the engine and a model on scenarios; which model, its caller says"},

	// The adapters: each talks to one thing and to the domain, never to another adapter.
	{"internal/approval", []string{"internal/incident"}, "it adapts OPA to the domain"},
	{"internal/audit", []string{"internal/incident"}, "it keeps events on disk and hands them to a sink, whichever that is"},
	{"internal/config", nil, "configuration is read before anything else exists"},
	{"internal/controlplane", nil, "it starts an API server, for whomever"},
	{"internal/dsapi", []string{"internal/incident"}, "a protocol knows neither the database behind it nor the other protocol"},
	{"internal/hapi", []string{"internal/incident"}, "a protocol knows neither the pipeline behind it nor the other protocol"},
	{"internal/observe", []string{"internal/incident", "internal/diagnose"}, "it fills the engine's snapshot from a cluster or a bundle"},
	{"internal/reason", []string{"internal/incident", "internal/diagnose"}, "it refines a diagnosis with a model"},
	{"internal/mcp", []string{"internal/incident", "internal/diagnose", "internal/reason"}, "it serves the registry of tools to agents; what it reads comes in through an interface"},
	{"internal/modelstub", []string{"internal/incident", "internal/reason"}, "it plays models over HTTP to whoever asks"},
	{"internal/store", []string{"internal/incident"}, "it keeps the domain's values in a database"},
	{"internal/controller", []string{"api/v1alpha1", "internal/incident", "internal/approval", "internal/audit"}, "it turns investigations into status; HAPI and Data Storage come in through interfaces"},
	{"internal/console", []string{"api/v1alpha1", "internal/incident"}, "pages show the domain; what they show comes in through interfaces"},

	// Where the parts are put together, and nowhere else.
	{"internal/app/*", []string{anything}, "a composition root may know every part"},
	{"internal/cli", []string{anything}, "the CLI runs all services in one process"},
	{"cmd/*", []string{"internal/app/*", "internal/cli", "internal/config"}, "main turns flags into a call of one composition root"},

	// Not shipped.
	{"internal/archtest", nil, "it reads the repository and imports none of it"},
	{"internal/pgtest", nil, "it starts a database, for whomever"},
	{"hack/*", []string{anything}, "a tool of the repository"},
	{"test/*", []string{anything}, "tests of the whole"},
}

// foreign are libraries and the standard library's doors to the outside, and the units whose code (tests aside) may
// import them directly.
var foreign = []struct {
	libraries []string
	only      []string
	why       string
}{
	{
		[]string{"github.com/open-policy-agent/opa"},
		[]string{"internal/approval"},
		"the policy engine can be replaced in one place",
	},
	{
		[]string{"modernc.org/sqlite", "github.com/jackc/pgx", "github.com/pressly/goose"},
		[]string{"internal/store", "internal/pgtest"},
		"SQL stays in one package, so that both databases keep passing one suite",
	},
	{
		[]string{"database/sql"},
		[]string{"internal/store", "internal/pgtest", "test/*"},
		"SQL stays in one package, so that both databases keep passing one suite",
	},
	{
		[]string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"},
		[]string{"internal/app/*", "internal/cli", "internal/controller", "internal/controlplane", "internal/observe", "hack/*", "test/*"},
		"a cluster is read by observe, written by the controller, and staged by the CLI",
	},
	{
		[]string{"github.com/getkin/kin-openapi", "github.com/oapi-codegen"},
		[]string{"internal/dsapi", "internal/hapi"},
		"the shape of a protocol ends at its package",
	},
	{
		[]string{"github.com/modelcontextprotocol/go-sdk"},
		[]string{"internal/mcp"},
		"the shape of a protocol ends at its package",
	},
	{
		[]string{"github.com/spf13/cobra", "github.com/spf13/pflag"},
		[]string{"internal/cli"},
		"the services take two flags, for which the standard library is enough",
	},
	{
		[]string{"sigs.k8s.io/kind", "github.com/google/go-containerregistry", "github.com/onsi", "github.com/google/go-cmp", "go.uber.org/goleak", "pgregory.net/rapid", "testing"},
		[]string{"internal/controlplane/controlplanetest", "internal/pgtest", "internal/store/storetest", "internal/audit/audittest", "test/*"},
		"what only tests need is not shipped",
	},
}

// pure are the units that decide about values, and what they must not import, directly: with it they would do I/O.
var (
	pure   = []string{"api/v1alpha1", "internal/incident", "internal/diagnose", "internal/catalog", "internal/investigate"}
	doors  = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall", "database/sql", "log", "math/rand", "math/rand/v2", "github.com/prometheus/client_golang/prometheus"}
	silent = []string{"internal/incident", "internal/diagnose", "internal/catalog"} // these do not log either
)

// binaries must not link, in any depth, what they have no use for: it costs memory, start-up time and attack surface.
var binaries = []struct {
	library string
	only    []string // the commands that may
}{
	{"github.com/open-policy-agent/opa", []string{"cmd/aianalysis", "cmd/kubernaut"}},
	{"modernc.org/sqlite", []string{"cmd/datastorage", "cmd/kubernaut"}},
	{"github.com/jackc/pgx", []string{"cmd/datastorage", "cmd/kubernaut"}},
	{"github.com/pressly/goose", []string{"cmd/datastorage", "cmd/kubernaut"}},
	{"k8s.io/client-go", []string{"cmd/aianalysis", "cmd/holmesgpt-api", "cmd/kubernaut"}},
	{"sigs.k8s.io/controller-runtime", []string{"cmd/aianalysis", "cmd/kubernaut"}},
	{"github.com/spf13/cobra", []string{"cmd/kubernaut"}},
	{"github.com/modelcontextprotocol/go-sdk", []string{"cmd/kubernaut"}},
	{"testing", nil},
	{"k8s.io/kubernetes", nil},
}

// goPackage is what go list tells about a package.
type goPackage struct {
	ImportPath string
	Name       string
	Dir        string
	Imports    []string
	Deps       []string
}

// rel is the package's path in the module.
func (p goPackage) rel() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists the module's packages.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Dir,Imports,Deps", module+"...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var all []goPackage
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("output of go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list found no packages")
	}
	return all
}

// within reports whether a package's path lies in a unit's, or in any of the units' under a pattern.
func within(rel, pattern string) bool {
	if pattern == anything {
		return true
	}
	if parent, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(rel, parent+"/")
	}
	return rel == pattern || strings.HasPrefix(rel, pattern+"/")
}

func withinAny(rel string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return within(rel, p) })
}

// unitOf returns the rule for a package, and the unit's own path, which with a pattern is one of those under it.
func unitOf(rel string) (unit, string, bool) {
	for _, u := range units {
		if !within(rel, u.path) {
			continue
		}
		parent, ok := strings.CutSuffix(u.path, "/*")
		if !ok {
			return u, u.path, true
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(rel, parent+"/"), "/")
		return u, path.Join(parent, name), true
	}
	return unit{}, "", false
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, violation := range check(p) {
			t.Error(violation)
		}
	}
}

// check returns what is wrong with a package's imports, and why it is.
func check(p goPackage) []string {
	return slices.Concat(checkUnit(p), checkLibraries(p), checkDomain(p), checkBinary(p))
}

func checkUnit(p goPackage) (wrong []string) {
	rule, own, ok := unitOf(p.rel())
	if !ok {
		return []string{p.rel() + " belongs to no unit: decide what it may import and add it to units in this file"}
	}
	for _, imported := range p.Imports {
		rel, ours := strings.CutPrefix(imported, module)
		if ours && !within(rel, own) && !withinAny(rel, rule.may) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: %s. It may import %v", p.rel(), rel, rule.why, rule.may))
		}
	}
	return wrong
}

func checkLibraries(p goPackage) (wrong []string) {
	for _, imported := range p.Imports {
		for _, f := range foreign {
			if withinAny(imported, f.libraries) && !withinAny(p.rel(), f.only) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s: %s. Only %v may", p.rel(), imported, f.why, f.only))
			}
		}
	}
	return wrong
}

func checkDomain(p goPackage) (wrong []string) {
	if !withinAny(p.rel(), pure) {
		return nil
	}
	for _, imported := range p.Imports {
		if slices.Contains(doors, imported) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: it decides about values and must do no I/O; take what it needs as an argument or an interface", p.rel(), imported))
		}
		if imported == "log/slog" && withinAny(p.rel(), silent) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: it returns what there is to say, and its caller logs", p.rel(), imported))
		}
	}
	return wrong
}

func checkBinary(p goPackage) (wrong []string) {
	if p.Name != "main" || !within(p.rel(), "cmd/*") {
		return nil
	}
	for _, b := range binaries {
		if withinAny(p.rel(), b.only) {
			continue
		}
		if i := slices.IndexFunc(p.Deps, func(dep string) bool { return within(dep, b.library) }); i >= 0 {
			wrong = append(wrong, fmt.Sprintf("%s links %s: only %v may, and this binary has no use for it", p.rel(), p.Deps[i], b.only))
		}
	}
	return wrong
}

func TestCheck(t *testing.T) {
	for _, row := range []struct {
		name string
		pkg  goPackage
		want string // in the only violation; empty: none
	}{
		{"domain imports nothing of ours", goPackage{ImportPath: module + "internal/incident", Imports: []string{module + "internal/audit"}}, "imports internal/audit"},
		{"adapter imports adapter", goPackage{ImportPath: module + "internal/hapi", Imports: []string{module + "internal/dsapi"}}, "imports internal/dsapi"},
		{"adapter imports the domain", goPackage{ImportPath: module + "internal/hapi", Imports: []string{module + "internal/incident"}}, ""},
		{"adapter imports its own part", goPackage{ImportPath: module + "internal/hapi", Imports: []string{module + "internal/hapi/wire"}}, ""},
		{"main imports an adapter", goPackage{ImportPath: module + "cmd/datastorage", Imports: []string{module + "internal/store"}}, "imports internal/store"},
		{"unknown package", goPackage{ImportPath: module + "internal/new"}, "belongs to no unit"},
		{"library elsewhere", goPackage{ImportPath: module + "internal/config", Imports: []string{"github.com/open-policy-agent/opa/v1/rego"}}, "policy engine"},
		{"test library in code", goPackage{ImportPath: module + "internal/config", Imports: []string{"testing"}}, "not shipped"},
		{"test library in a test's helper", goPackage{ImportPath: module + "internal/store/storetest", Imports: []string{"testing"}}, ""},
		{"domain opens files", goPackage{ImportPath: module + "internal/diagnose", Imports: []string{"os"}}, "no I/O"},
		{"domain logs", goPackage{ImportPath: module + "internal/diagnose", Imports: []string{"log/slog"}}, "its caller logs"},
		{"pipeline logs", goPackage{ImportPath: module + "internal/investigate", Imports: []string{"log/slog"}}, ""},
		{"binary links too much", goPackage{ImportPath: module + "cmd/datastorage", Name: "main", Deps: []string{"k8s.io/client-go/rest"}}, "links k8s.io/client-go/rest"},
		{"binary links what it needs", goPackage{ImportPath: module + "cmd/aianalysis", Name: "main", Deps: []string{"k8s.io/client-go/rest"}}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := check(row.pkg)
			switch {
			case row.want == "" && len(got) > 0:
				t.Errorf("got %q, want nothing", got)
			case row.want != "" && (len(got) != 1 || !strings.Contains(got[0], row.want)):
				t.Errorf("got %q, want one violation with %q", got, row.want)
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	for _, row := range []struct {
		rel, pattern string
		want         bool
	}{
		{"internal/hapi", "internal/hapi", true},
		{"internal/hapi/wire", "internal/hapi", true},
		{"internal/hapiserver", "internal/hapi", false},
		{"internal/app/datastorage", "internal/app/*", true},
		{"internal/app", "internal/app/*", false},
		{"x", anything, true},
	} {
		if got := within(row.rel, row.pattern); got != row.want {
			t.Errorf("within(%q, %q): got %v, want %v", row.rel, row.pattern, got, row.want)
		}
	}
	if _, own, ok := unitOf("internal/app/datastorage/x"); !ok || own != "internal/app/datastorage" {
		t.Errorf("unitOf: got %q, %v", own, ok)
	}
}
