package failure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

type text struct {
	Row    string   `json:"row"`
	Name   string   `json:"name"`
	Phases []string `json:"phases"`
	Text   string   `json:"text"`
}

func texts(t *testing.T) []text {
	t.Helper()
	content, err := os.ReadFile("testdata/texts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []text
	if err := yaml.UnmarshalStrict(content, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// failed is how a text reaches the harness: the command's error says little, its output the rest.
func failed(output string) error {
	first, rest, _ := strings.Cut(output, "\n")
	return fmt.Errorf("step: %w", &command.Error{Cmd: "step", ExitCode: 1, Err: errors.New(first), Output: rest})
}

// answers is a prober with one answer for everything; it counts what it was asked.
type answers struct {
	outcome string
	asked   []string
}

func (a *answers) Probe(_ context.Context, name string) (string, []string) {
	a.asked = append(a.asked, name)
	return a.outcome, []string{"probed: " + name}
}

func TestEveryRowIsRecognised(t *testing.T) {
	rows := make(map[string]Row)
	for _, r := range Table() {
		rows[r.ID] = r
	}
	seen := make(map[string]bool)
	for _, c := range texts(t) {
		seen[c.Row] = true
		phases := c.Phases
		if len(phases) == 0 {
			phases = rows[c.Row].Phases
		}
		if len(phases) == 0 {
			t.Errorf("%s %s: names no phase", c.Row, c.Name)
		}
		for _, phase := range phases {
			t.Run(strings.TrimSpace(c.Row+" "+c.Name+" in "+phase), func(t *testing.T) {
				got := Classify(t.Context(), phase, failed(c.Text), nil)
				if c.Row == "unknown" {
					if got.Row != "" || got.Class != Unknown || got.Retries != 0 {
						t.Fatalf("got row %q, class %s, %d retries, want an unknown failure that is not retried", got.Row, got.Class, got.Retries)
					}
					return
				}
				want := rows[c.Row]
				if got.Row != want.ID || got.Class != want.Class || got.Retries != want.Retries {
					t.Fatalf("got row %q, class %s, %d retries, want %s, %s, %d\nsummary: %s\nlines: %q", got.Row, got.Class, got.Retries, want.ID, want.Class, want.Retries, got.Summary, got.Lines)
				}
				if len(got.Lines) == 0 || got.Fix == "" && want.Fix != "" {
					t.Errorf("got lines %q, fix %q: a finding must prove itself and say what to do", got.Lines, got.Fix)
				}
				for _, line := range got.Lines {
					if !strings.HasPrefix(line, "… ") && !strings.Contains(c.Text, strings.TrimSuffix(line, " …")) && !strings.Contains(line, "step") {
						t.Errorf("line %q is not in the text", line)
					}
				}
			})
		}
	}
	for id := range rows {
		if !seen[id] {
			t.Errorf("row %s has no text", id)
		}
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	ids := make(map[string]bool)
	for _, r := range Table() {
		ids[r.ID] = true
	}
	for n := 1; n <= 46; n++ {
		if id := fmt.Sprintf("F%02d", n); !ids[id] {
			t.Errorf("row %s is missing", id)
		}
	}
}

func TestProbesDecide(t *testing.T) {
	for _, c := range texts(t) {
		i := slices.IndexFunc(Table(), func(r Row) bool { return r.ID == c.Row })
		if i < 0 || Table()[i].Probe == "" {
			continue
		}
		row := Table()[i]
		phase := slices.Concat(c.Phases, row.Phases)[0]
		for outcome, want := range row.Outcomes {
			t.Run(row.ID+" "+c.Name+" "+outcome, func(t *testing.T) {
				probes := &answers{outcome: outcome}
				got := Classify(t.Context(), phase, failed(c.Text), probes)
				if got.Class != want.Class || got.Retries != want.Retries || got.Product != want.Product || got.Harness != want.Harness {
					t.Errorf("got %s, %d retries, product %v, harness %v, want %s, %d, %v, %v", got.Class, got.Retries, got.Product, got.Harness, want.Class, want.Retries, want.Product, want.Harness)
				}
				if !slices.Equal(probes.asked, []string{row.Probe}) || got.Outcome != outcome || !slices.Contains(got.Lines, "probed: "+row.Probe) {
					t.Errorf("asked %q, outcome %q, lines %q, want one question of %s and its evidence", probes.asked, got.Outcome, got.Lines, row.Probe)
				}
			})
		}
		t.Run(row.ID+" "+c.Name+" without an answer", func(t *testing.T) {
			got := Classify(t.Context(), phase, failed(c.Text), &answers{outcome: "unknown"})
			if got.Class != row.Class || got.Retries != row.Retries {
				t.Errorf("got %s, %d retries, want those of the row, %s, %d", got.Class, got.Retries, row.Class, row.Retries)
			}
		})
	}
}

// Two causes of one text must lead to different answers, or the probe is for nothing.
func TestTwoCauses(t *testing.T) {
	for _, c := range []struct {
		phase, text, outcome string
		class                Class
		retries, exit        int
	}{
		{"cluster", "Bind for 127.0.0.1:8184 failed: port is already allocated", "ours", Stale, 1, ExitInfrastructure},
		{"cluster", "Bind for 127.0.0.1:8184 failed: port is already allocated", "other", Host, 0, ExitHost},
		{"load", `Get "http://d/v5.6.0/libpod/exec/1/json": EOF`, "running", Transient, 2, ExitInfrastructure},
		{"load", `Get "http://d/v5.6.0/libpod/exec/1/json": EOF`, "oom", Resource, 1, ExitInfrastructure},
		{"load", `Get "http://d/v5.6.0/libpod/exec/1/json": EOF`, "exited", Stale, 1, ExitInfrastructure},
		{"build", "x509: certificate has expired or is not yet valid", "skewed", Host, 0, ExitHost},
		{"build", "x509: certificate has expired or is not yet valid", "in-step", Permanent, 0, ExitProduct},
		{"load", "payload does not match any of the supported image formats", "enough", Permanent, 0, ExitHarness},
		{"wait", "ErrImageNeverPull", "lost", Transient, 1, ExitInfrastructure},
		{"wait", "ErrImageNeverPull", "present", Permanent, 0, ExitProduct},
		{"specs", "A Ginkgo parallel process has disappeared", "oom", Resource, 0, ExitInfrastructure},
		{"specs", "A Ginkgo parallel process has disappeared", "panic", Permanent, 0, ExitProduct},
	} {
		f := Classify(t.Context(), c.phase, errors.New(c.text), &answers{outcome: c.outcome})
		if f.Class != c.class || f.Retries != c.retries || f.ExitCode() != c.exit {
			t.Errorf("%s, %s: got %s, %d retries, exit code %d, want %s, %d, %d", c.text, c.outcome, f.Class, f.Retries, f.ExitCode(), c.class, c.retries, c.exit)
		}
	}
}

// What the table tells people and does itself must never destroy what is not ours.
func TestNothingDestructiveIsAdvised(t *testing.T) {
	destructive := regexp.MustCompile(`(?i)prune|machine (?:reset|rm)|system reset|rm -rf|rmi -f|--all\b`)
	if at := destructive.Find(source); at != nil {
		t.Errorf("the table contains %q", at)
	}
}

func TestParseIsStrict(t *testing.T) {
	const good = `
probes: {p: {asks: what, outcomes: {a: is a}}}
remedies: {r: does}
rows:
  - {id: A, summary: s, text: [x], class: stale, source: s, remedy: r, probe: p, outcomes: {a: {class: host}}}
`
	if _, err := parse([]byte(good)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "source: s", "source: s, sauce: s", "sauce"},
		{"repeated key", "id: A", "id: A, id: B", "id"},
		{"no summary", "summary: s, ", "", "summary"},
		{"unknown class", "class: stale", "class: stall", "stall"},
		{"undeclared remedy", "remedy: r", "remedy: q", `"q"`},
		{"undeclared probe", "probe: p", "probe: q", `"q"`},
		{"undeclared outcome", "{a: {class: host}}", "{b: {class: host}}", `"b"`},
		{"probe without outcomes", ", outcomes: {a: {class: host}}", "", "together"},
		{"stale is retried once", "class: stale", "class: stale, retries: 2", "allows 1"},
		{"host is not retried", "{class: host}", "{class: host, retries: 1}", "allows 0"},
		{"bad expression", "text: [x]", "text: ['(']", "missing"},
		{"twice", "rows:\n", "rows:\n  - {id: A, summary: s, text: [x], class: host, source: s}\n", "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := strings.Replace(good, c.old, c.new, 1)
			if content == good {
				t.Fatal("the row changes nothing")
			}
			if _, err := parse([]byte(content)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestRivalsAreUnknown(t *testing.T) {
	rows, err := parse([]byte(`
rows:
  - {id: A, summary: s, text: [alpha], class: transient, source: s}
  - {id: B, summary: s, text: [beta], class: stale, source: s}
  - {id: C, summary: s, text: [gamma], class: host, priority: 1, source: s}
`))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, rivals := rows.find("any", "alpha and beta"); !slices.Equal(rivals, []string{"A", "B"}) {
		t.Errorf("got rivals %q, want A and B", rivals)
	}
	if row, _, rivals := rows.find("any", "alpha and beta and gamma"); row.ID != "C" || rivals != nil {
		t.Errorf("got %s and rivals %q, want C alone", row.ID, rivals)
	}
}

func TestClassify(t *testing.T) {
	exit := func(t *testing.T) error {
		_, err := command.Runner{}.Run(t.Context(), command.Cmd{Name: "sh", Args: []string{"-c", "echo 'Error: no space left on device' >&2; exit 125"}})
		return err
	}
	for _, c := range []struct {
		name  string
		err   error
		row   string
		class Class
	}{
		{"typed", New(Permanent, "F38", "no image", ""), "F38", Permanent},
		{"typed, wrapped", fmt.Errorf("wait: %w", New(Host, "", "no memory", "buy some")), "", Host},
		{"interrupted", fmt.Errorf("apply: %w", context.Canceled), "", Interrupted},
		{"a command's output", exit(t), "F08", Resource},
		{"not installed", &command.Error{Cmd: "docker ps", Err: exec.ErrNotFound}, "S35", Host},
		{"stalled", &command.Error{Cmd: "podman build .", Err: fmt.Errorf("%w for 5m", command.ErrStalled)}, "F45", Transient},
		{"late", &command.Error{Cmd: "podman build .", Err: command.ErrDeadline}, "X02", Unknown},
		{"stalled, with a cause", &command.Error{Cmd: "x", Err: command.ErrStalled, Output: "no space left on device"}, "F08", Resource},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Classify(t.Context(), "build", c.err, nil)
			if f.Row != c.row || f.Class != c.class || f.Phase != "build" || f.Fingerprint == "" || f.Summary == "" {
				t.Errorf("got %+v, want row %q, class %s", f, c.row, c.class)
			}
		})
	}
	f := Classify(t.Context(), "wait", New(Permanent, "F38", "no image", ""), nil)
	if !f.Product || f.Fix == "" || f.ExitCode() != ExitProduct {
		t.Errorf("got %+v, want the product's fault and the fix of the row", f)
	}
}

func TestClassifyAll(t *testing.T) {
	host := New(Host, "", "no memory", "")
	err := fmt.Errorf("preflight: %w", errors.Join(host, fmt.Errorf("disk: %w", errors.New("no space left on device")), errors.Join(errors.New("odd"))))
	var got []Class
	for _, f := range ClassifyAll(t.Context(), "preflight", err, nil) {
		got = append(got, f.Class)
	}
	if want := []Class{Host, Resource, Unknown}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	two := fmt.Errorf("%w: %w", context.Canceled, errors.New("signal"))
	if all := ClassifyAll(t.Context(), "build", two, nil); len(all) != 1 || all[0].Class != Interrupted {
		t.Errorf("got %+v, want one interruption", all)
	}
}

func TestLongTextsAreBounded(t *testing.T) {
	err := errors.New(strings.Repeat(strings.Repeat("x", 900)+"\n", 50) + "manifest unknown " + strings.Repeat("y", 900))
	f := Classify(t.Context(), "build", err, nil)
	if f.Row != "F35" || len(f.Lines) != 1 || len(f.Lines[0]) > maxLineLength+10 {
		t.Errorf("got row %q with %d lines", f.Row, len(f.Lines))
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "odd line %d\n", i)
	}
	if f := Classify(t.Context(), "build", errors.New(many.String()), nil); len(f.Lines) != maxLines+1 || f.Lines[0] != "odd line 0" || f.Lines[maxLines] != "odd line 99" {
		t.Errorf("got %q", f.Lines)
	}
}

func TestFingerprint(t *testing.T) {
	of := func(unit, text string) string {
		return Classify(t.Context(), "load", errors.New(text), nil).In(unit).Fingerprint
	}
	one := of("a on worker", `Get "http://d/v5.6.0/libpod/exec/8d1c3a0b2e7f/json": EOF`)
	for name, same := range map[string]string{
		"another id":      of("a on worker", `Get "http://d/v5.6.0/libpod/exec/0011aa22bb33/json": EOF`),
		"another version": of("a on worker", `Get "http://d/v5.6.1/libpod/exec/8d1c3a0b2e7f/json": EOF`),
	} {
		if same != one {
			t.Errorf("%s: got another fingerprint", name)
		}
	}
	for name, other := range map[string]string{
		"another unit":  of("b on worker", `Get "http://d/v5.6.0/libpod/exec/8d1c3a0b2e7f/json": EOF`),
		"another cause": of("a on worker", `ctr images import: exit status 255`),
	} {
		if other == one {
			t.Errorf("%s: got the same fingerprint", name)
		}
	}
	if of("", "odd at 2025-12-13T10:00:00Z in /tmp/a1/x after 3.5s") != of("", "odd at 2026-01-01T11:22:33.123Z in /tmp/b2/y after 12s") {
		t.Error("an unknown text's times and paths change its fingerprint")
	}
}
