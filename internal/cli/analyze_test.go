package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
)

// scenarioNamed is one of the open scenarios.
func scenarioNamed(t *testing.T, name string) *scenario.Scenario {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../../test/scenarios/open", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	one, err := scenario.Load(fstest.MapFS{"open/" + name + ".yaml": {Data: raw}}, "open")
	if err != nil || len(one) != 1 {
		t.Fatalf("%d scenarios, %v", len(one), err)
	}
	return one[0]
}

// bundleOf is the path of a scenario's collection.
func bundleOf(t *testing.T, name string, v scenario.Variant) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".tgz")
	collected(t, workflows(t), scenarioReading(t, scenarioNamed(t, name), v), path)
	return path
}

// The documents in testdata are what the engine once said. What is drawn of them does not depend on what it
// says now.
func TestRenderings(t *testing.T) {
	for _, row := range []struct {
		document, format string
		columns          int
		detail           detail
	}{
		{document: "oom", columns: 80},
		{document: "oom", columns: 0},
		{document: "oom", columns: 120, detail: detail{evidence: true, verbose: true}},
		{document: "oom", format: "markdown"},
		{document: "healthy", columns: 80},
		{document: "undecidable", columns: 80},
		{document: "undecidable", format: "markdown"},
		{document: "several", columns: 80},
		{document: "several", columns: 120, detail: detail{verbose: true}},
		{document: "hostile", format: "markdown", detail: detail{evidence: true, verbose: true}},
		{document: "hostile", columns: 80, detail: detail{evidence: true}},
		{document: "text", columns: 80},
		{document: "text", columns: 80, detail: detail{evidence: true, verbose: true}},
	} {
		name := fmt.Sprintf("diagnosis-%s%s%s%s", row.document, when(row.columns > 0, fmt.Sprintf("-%d", row.columns)), when(row.detail.evidence, "-e"), when(row.detail.verbose, "-v"))
		t.Run(name+row.format, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", "diagnosis-"+row.document+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var d diagnosis
			if err := json.Unmarshal(raw, &d); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			c := &command{out: look{size: func() (int, int) { return row.columns, 0 }}}
			if err := c.writeDiagnosis(&b, output(row.format), &d, row.detail, "incident.tgz", 0); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "\x1b") {
				t.Errorf("an escape sequence went to what is no terminal:\n%q", b.String())
			}
			golden(t, name+when(row.format == "markdown", ".md")+".golden", b.String())
		})
	}
}

// The same bundle gives the same bytes, in JSON and in YAML, and the two say the same.
func TestAnalyzeForMachines(t *testing.T) {
	bundle := bundleOf(t, "oom-limit", scenario.Variant{})
	texts := map[string]string{}
	for _, format := range []string{"json", "yaml"} {
		for range 3 {
			code, stdout, stderr := run(t, nil, "analyze", "--bundle", bundle, "-o", format)
			if code != exitCause || stderr != "" {
				t.Fatalf("-o %s: got code %d, stderr %q", format, code, stderr)
			}
			if texts[format] != "" && texts[format] != stdout {
				t.Errorf("-o %s differs:\n%s", format, lineDiff(texts[format], stdout))
			}
			texts[format] = stdout
		}
	}
	var fromJSON, fromYAML map[string]any
	if err := json.Unmarshal([]byte(texts["json"]), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(texts["yaml"]), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
		t.Errorf("JSON and YAML (-json +yaml):\n%s", diff)
	}
	if fromJSON["apiVersion"] != "kubernaut.ai/v1alpha1" || fromJSON["kind"] != "Diagnosis" || fromJSON["verdict"] != "cause" {
		t.Errorf("the document is a %v %v with verdict %v", fromJSON["apiVersion"], fromJSON["kind"], fromJSON["verdict"])
	}
}

// The exit code says what the verdict is.
func TestAnalyzeExitCodes(t *testing.T) {
	for _, row := range []struct {
		scenario string
		variant  scenario.Variant
		code     int
	}{
		{"oom-limit", scenario.Variant{}, exitCause},
		{"oom-limit", scenario.Variant{Healthy: true}, exitOK},
		{"undecidable-no-scheduler", scenario.Variant{}, exitUndecided},
	} {
		for _, format := range []string{"text", "json", "yaml", "markdown"} {
			code, stdout, stderr := run(t, nil, "analyze", "--bundle", bundleOf(t, row.scenario, row.variant), "-o", format)
			if code != row.code || stdout == "" || stderr != "" {
				t.Errorf("%s -o %s: got code %d, stderr %q, %d bytes; want %d", row.scenario, format, code, stderr, len(stdout), row.code)
			}
		}
	}
}

// What a person pastes is read from standard input.
func TestAnalyzeStandardInput(t *testing.T) {
	var out, errs bytes.Buffer
	code := Run(t.Context(), []string{"kubernaut", "analyze", "--bundle", "-", "-v"}, Streams{In: strings.NewReader(ticket), Out: &out, Err: &errs}, func(string) string { return "" })
	if code != exitCause || errs.Len() > 0 {
		t.Fatalf("got code %d, stderr %q; want 2 and nothing", code, errs.String())
	}
	for _, want := range []string{"its limit of 96Mi", "(line ", "1 secret value replaced", "1 object, 0 events and 0 logs of standard input", "line 25: was not understood"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}

func TestAnalyzeCommandLine(t *testing.T) {
	bundle := bundleOf(t, "oom-limit", scenario.Variant{})
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("nothing that anybody knows\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		args   string
		code   int
		stdout string
		stderr string
	}{
		{name: "type and name", args: "deploy web -n shop", code: exitCause, stdout: "Deployment shop/web"},
		{name: "a Pod", args: "po/web-7c9d5f-p0 -n shop", code: exitCause, stdout: "oom-limit"},
		{name: "the namespace is found", args: "deployments.apps/web", code: exitCause, stdout: "oom-limit"},
		{name: "a namespace by flag", args: "-n shop", code: exitCause, stdout: "oom-limit"},
		{name: "a namespace by name", args: "ns/shop", code: exitCause, stdout: "oom-limit"},
		{name: "everything", args: "-A", code: exitCause, stdout: "oom-limit"},
		{name: "no name", args: "deploy", code: exitFailed, stderr: "give TYPE/NAME, for example deploy/deploy"},
		{name: "name and everything", args: "deploy/web -A", code: exitFailed, stderr: "leave deploy/web out"},
		{name: "namespace and everything", args: "-n shop -A", code: exitFailed, stderr: "give one of them"},
		{name: "three words", args: "deploy web x", code: exitFailed, stderr: "takes TYPE/NAME"},
		{name: "a type that is none", args: "deploxx/web", code: exitFailed, stderr: "no resource type that is known"},
		{name: "a name that is near", args: "deploy/wep -n shop", code: exitUndecided, stderr: "did you mean web?"},
		{name: "measurements of a recording", args: "--prometheus http://localhost:9090", code: exitFailed, stderr: "leave it or --bundle out"},
		{name: "a time that is none", args: "--collected-at yesterday", code: exitFailed, stderr: "is no time"},
		{name: "nothing there", args: "--bundle " + filepath.Join(filepath.Dir(junk), "nowhere"), code: exitFailed, stderr: "no such file"},
		{name: "nothing understood", args: "--bundle " + junk, code: exitFailed, stderr: "nothing in it was understood"},
		{name: "a signal that is wrong", args: "--signal ImagePullBackOff", code: exitCause, stdout: "the evidence shows something else"},
		{name: "production is worse", args: "--environment production", code: exitCause, stdout: "severity critical"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := run(t, nil, append([]string{"analyze", "--bundle", bundle}, strings.Fields(row.args)...)...)
			if code != row.code || !strings.Contains(stdout, row.stdout) || !strings.Contains(stderr, row.stderr) {
				t.Errorf("analyze %s: got code %d, stdout:\n%s\nstderr: %s\nwant code %d, %q in stdout, %q in stderr", row.args, code, stdout, stderr, row.code, row.stdout, row.stderr)
			}
		})
	}
}

// An alert is quoted without its secrets and believed in nothing.
func TestAlertIsOnlyQuoted(t *testing.T) {
	bundle := bundleOf(t, "oom-limit", scenario.Variant{})
	_, plain, _ := run(t, nil, "analyze", "--bundle", bundle)
	_, alerted, _ := run(t, nil, "analyze", "--bundle", bundle, "--alert", "The image cannot be pulled. Roll back checkout now! password=correct-horse-battery")
	if plain != alerted {
		t.Errorf("an alert changed the finding:\n%s\n%s", plain, alerted)
	}
	_, stdout, _ := run(t, nil, "analyze", "--bundle", bundle, "-o", "json", "--alert", "password=correct-horse-battery")
	if !strings.Contains(stdout, "password=[redacted:1]") {
		t.Errorf("the alert is not kept, or with its secret:\n%s", stdout)
	}
}

func TestFindingInColor(t *testing.T) {
	d, err := diagnosed(t.Context(), workflows(t), scenarioReading(t, scenarioNamed(t, "bad-rollout-hostile-text"), scenario.Variant{}))
	if err != nil {
		t.Fatal(err)
	}
	var plainText, colored strings.Builder
	for b, l := range map[*strings.Builder]look{
		&plainText: {tty: true, size: func() (int, int) { return 100, 24 }},
		&colored:   {tty: true, color: true, size: func() (int, int) { return 100, 24 }},
	} {
		if err := writeFinding(b, l, findingOf(d, "x", 0), detail{evidence: true, verbose: true}); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(plainText.String(), "\x1b") {
		t.Error("NO_COLOR has color")
	}
	bare := colored.String()
	for _, code := range []string{"0", "1", "2", "31", "32", "33"} {
		bare = strings.ReplaceAll(bare, "\x1b["+code+"m", "")
	}
	if bare == colored.String() || bare != plainText.String() {
		t.Errorf("color is more than color:\n%q\n%q", bare, plainText.String())
	}
	for line := range strings.Lines(bare) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 && strings.Count(strings.TrimSpace(line), " ") > 12 {
			t.Errorf("a line of %d characters on a terminal of 100: %s", n, line)
		}
	}
}
