package report

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// scene is a run that is told phase by phase.
type scene struct {
	r  plan.Result
	at time.Time
}

func newScene(dir string) *scene {
	return &scene{at: begin, r: plan.Result{Suite: "aianalysis", Cluster: "aianalysis-e2e", RunID: "20260102T030405Z-1a2b", Dir: dir, Started: begin, Budget: 5}}
}

func (s *scene) phase(name string, status plan.Status, takes time.Duration, change ...func(*plan.PhaseResult)) *scene {
	p := plan.PhaseResult{Name: name, Status: status}
	if status != plan.NotRun {
		p.Started, p.Duration = s.at, takes
	}
	if status != plan.NotRun && status != plan.Held {
		p.Dir = filepath.Join(s.r.Dir, "phases", fmt.Sprintf("%02d-%s", len(s.r.Phases)+1, name))
	}
	for _, c := range change {
		c(&p)
	}
	s.at = s.at.Add(takes)
	s.r.Phases = append(s.r.Phases, p)
	return s
}

func (s *scene) end() plan.Result {
	s.r.Finished = s.at
	return s.r
}

func notes(texts ...string) func(*plan.PhaseResult) {
	return func(p *plan.PhaseResult) { p.Notes = texts }
}

func why(text string) func(*plan.PhaseResult) { return func(p *plan.PhaseResult) { p.Why = text } }

func found(all ...failure.Finding) func(*plan.PhaseResult) {
	return func(p *plan.PhaseResult) {
		for i := range all {
			all[i].Phase = p.Name
			all[i] = all[i].In(all[i].Unit)
		}
		p.Findings = all
	}
}

func retried(attempt int, healed bool, f failure.Finding) func(*plan.PhaseResult) {
	return func(p *plan.PhaseResult) {
		f.Phase = p.Name
		p.Retries = append(p.Retries, plan.Retry{
			Unit: f.Unit, Attempt: attempt, Finding: f.In(f.Unit), Healed: healed,
			Evidence: filepath.Join(p.Dir, fmt.Sprintf("attempt-%d", attempt), strings.ReplaceAll(f.Unit, " ", "-")),
		})
	}
}

var dropped = failure.Finding{
	Row: "F03", Class: failure.Transient, Unit: "holmesgpt-api on aianalysis-e2e-worker", Summary: "the runtime dropped the connection of an exec",
	Lines: []string{`Error: Get "http://d/v5.6.0/libpod/exec/8d1c3a0b2e7f/json": EOF`, "memory available: 1.2 GiB of 24 GiB"}, Probe: "node-health", Outcome: "running",
	Fix: "look at the memory of the machine where the runtime runs", Remedy: "reload-image",
}

// scenes are the ends that runs come to.
func scenes(dir string) map[string]plan.Result {
	upToLoad := func() *scene {
		return newScene(dir).
			phase("preflight", plan.Passed, 800*time.Millisecond).
			phase("static", plan.Passed, 400*time.Millisecond).
			phase("build", plan.Passed, 12*time.Second, notes("3 images at once: 21 GiB are available and the three need 4 GiB")).
			phase("cluster", plan.Passed, 21*time.Second, notes("egress is closed by a rule on 10.89.77.0/24"))
	}
	rest := func(s *scene, from ...string) *scene {
		needs := "load"
		for _, name := range from {
			s.phase(name, plan.NotRun, 0, why("it needs "+needs+", which failed"))
			needs = name
		}
		return s
	}
	failed := dropped
	failed.Tried = []string{"cleaned up (reload-image)", "tried again after 2.1s", "not retried again: the very same failure was met before in this run, so it does not pass by itself"}

	killed := upToLoad()
	killed.phase("load", plan.Running, 0)
	killed.r.Phases[4].Duration = 0

	interrupted := upToLoad().phase("load", plan.Interrupted, 2*time.Second, found(failure.Finding{Class: failure.Interrupted, Summary: "interrupted", Lines: []string{"context canceled: interrupt signal received"}})).
		phase("specs", plan.NotRun, 0, why("the run was interrupted")).phase("gather", plan.Passed, 3*time.Second).end()
	interrupted.Interrupted = true

	resumed := newScene(dir).phase("preflight", plan.Passed, 800*time.Millisecond).phase("build", plan.Held, 200*time.Millisecond).phase("cluster", plan.Held, time.Second).
		phase("deploy", plan.Passed, 4*time.Second, why("its inputs have changed")).phase("specs", plan.Passed, 61500*time.Millisecond).end()
	resumed.Resumed = "20260101T220000Z-9f9f"

	measured := func(r plan.Result) plan.Result {
		r.CPU = 2300 * time.Millisecond
		return r
	}
	return map[string]plan.Result{
		"passed": measured(upToLoad().phase("load", plan.Passed, 14*time.Second).phase("specs", plan.Passed, 61500*time.Millisecond).
			phase("teardown", plan.Passed, 2*time.Second).end()),
		"passed with a retry": upToLoad().phase("load", plan.Passed, 9*time.Second, retried(1, true, dropped)).phase("specs", plan.Passed, 61500*time.Millisecond).end(),
		"infrastructure": rest(upToLoad().phase("load", plan.Failed, 9*time.Second, retried(1, false, dropped), found(failed)), "deploy", "specs").
			phase("gather", plan.Passed, 3*time.Second).
			phase("teardown", plan.Failed, time.Second, notes("the cluster stays, because something failed")).end(),
		"host": newScene(dir).phase("preflight", plan.Failed, 600*time.Millisecond, found(
			failure.Finding{Row: "F20", Class: failure.Host, Summary: "the inotify or file limits are too low for the nodes", Lines: []string{"fs.inotify.max_user_instances = 128, needs 512"}, Fix: "sysctl -w fs.inotify.max_user_instances=512"},
			failure.Finding{Row: "F17", Class: failure.Host, Unit: "port 8184", Summary: "a port of the host is taken", Lines: []string{"127.0.0.1:8184: nginx, pid 4711"}, Fix: "end what listens on the port (the evidence names it)"},
		)).phase("build", plan.NotRun, 0, why("it needs preflight, which failed")).end(),
		"specs failed": upToLoad().phase("specs", plan.Failed, 61500*time.Millisecond, found(failure.Finding{
			Row: "X01", Class: failure.Permanent, Product: true, Summary: "specs failed", Lines: []string{"[FAIL] Recovery escalates after three attempts", "FAIL! -- 2 Passed | 1 Failed | 1 Pending | 0 Skipped"},
			Fix: "read the report of the specs, and the log of the phase",
		})).end(),
		"unknown": upToLoad().phase("load", plan.Failed, 2*time.Second, found(failure.Finding{
			Class: failure.Unknown, Unit: "datastorage | all nodes", Summary: "not a known cause", Lines: []string{"the frobnicator refused:", "```", "exit status 3"}, Tried: []string{"not retried: a failure like this (unknown) never is"},
		})).end(),
		"killed":      killed.r,
		"interrupted": interrupted,
		"resumed":     resumed,
	}
}

// earlier is a history of five good runs and one bad one.
func earlier(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	var all []past
	for i := range 6 {
		p := past{
			RunID: fmt.Sprintf("2026010%dT000000Z-0000", i+1), Suite: "aianalysis", Started: begin.AddDate(0, 0, i-6), Seconds: 100 + float64(i),
			Phases: map[string]float64{"preflight": 0.7, "build": 11 + float64(i), "cluster": 20, "load": 5, "specs": 60}, ToSpecs: 40 + float64(i),
		}
		if i == 3 {
			f := dropped
			f.Phase = "load"
			p.ExitCode, p.Fingerprints = failure.ExitInfrastructure, []string{f.In("").Fingerprint}
		}
		all = append(all, p)
	}
	if err := writeHistory(path, all[:5], all[5]); err != nil {
		t.Fatal(err)
	}
	return path
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-"))
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// diagnoses are what the engine says in some scenes.
func diagnoses() map[string]*Diagnosis {
	pod := incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: "kubernaut-system", Name: "datastorage-0"}
	owner := incident.Ref{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "kubernaut-system", Name: "datastorage"}
	seen := incident.Link{Subject: pod, Statement: "container datastorage cannot be made.", Evidence: []string{"e1", "e2"}}
	return map[string]*Diagnosis{
		"infrastructure": {Seconds: 1.3, Result: &diagnose.Result{
			Verdict: diagnose.VerdictCause, Confidence: 0.97,
			Cause: &incident.Cause{Class: "configmap-missing", Target: owner, Summary: "ConfigMap datastorage-config does not exist.", Confidence: 0.97, Chain: []incident.Link{
				seen,
				{Subject: owner, Statement: "it refers to ConfigMap datastorage-config, which is not there", Evidence: []string{"e3"}},
				{Subject: owner, Statement: "it was renamed"},
			}},
			Others: []incident.Cause{{Class: "image-not-found", Target: pod, Summary: "another one."}},
			Evidence: []incident.Evidence{
				{ID: "e1", Kind: "object", Ref: pod, Path: "/status/phase", Value: "Pending"},
				{ID: "e2", Kind: "event", Ref: pod, Path: "/message", Value: "Error: configmap \"datastorage-config\"\nnot found"},
				{ID: "e3", Kind: "object", Ref: incident.Ref{Kind: "ConfigMap", Namespace: "kubernaut-system", Name: "datastorage-config"}, Absent: true},
				{ID: "e4", Kind: "object", Ref: owner, Path: "/spec", Value: "not cited by the chain"},
			},
			Gaps: []incident.Gap{{Kind: incident.GapForbidden, What: "events in namespace kube-system"}},
		}},
		"specs failed": {Seconds: 0.8, Result: &diagnose.Result{
			Verdict: diagnose.VerdictUndecidable, Summary: "What could be read does not decide.", Symptoms: []incident.Link{seen},
			ReadNext: []string{"the log of the program"},
		}},
		"unknown": {Seconds: 20, Why: "it has not answered: deadline passed"},
	}
}

func TestPages(t *testing.T) {
	dir := t.TempDir()
	for name, r := range scenes(dir) {
		t.Run(name, func(t *testing.T) {
			o := Options{History: earlier(t)}
			if name == "specs failed" {
				o.SpecReports = []string{"testdata/ginkgo-junit.xml"}
			}
			o.Diagnosis = diagnoses()[name]
			if r.ExitCode() != failure.ExitOK {
				o.Next = []string{"bin/e2e resume aianalysis", "bin/e2e down aianalysis"}
			}
			page, err := Write(r, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"report.md", "junit.xml"} {
				content, err := os.ReadFile(filepath.Join(filepath.Dir(page), file))
				if err != nil {
					t.Fatal(err)
				}
				golden(t, name+filepath.Ext(file), strings.ReplaceAll(string(content), dir, "RUN"))
			}
			var twin document
			content, err := os.ReadFile(filepath.Join(dir, "report.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(content, &twin); err != nil || twin.ExitCode != r.ExitCode() || len(twin.Cases) < len(r.Phases) || twin.Run.RunID != r.RunID {
				t.Errorf("report.json: %v: %s", err, content)
			}
			var out strings.Builder
			c := NewConsole(&out, ConsoleOptions{})
			c.Close()
			if err := c.Summary(r, "RUN/report.md", o.Diagnosis, o.Next...); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", out.String())
		})
	}
}

func TestHistory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.jsonl")
	r := scenes(dir)["passed"]
	var before []past
	for i := range kept + 10 {
		r.RunID = fmt.Sprintf("run-%04d", i)
		before = append(before, pastOf(r))
	}
	if err := writeHistory(path, before[:kept+9], before[kept+9]); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(r, Options{History: path}); err != nil { // the same run once more
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(content), "\n"); got != kept {
		t.Errorf("the history has %d lines, want %d", got, kept)
	}
	if err := os.WriteFile(path, append(content, "{cut off\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	r.RunID = "new"
	all, err := readHistory(path, r)
	if err != nil || len(all) != kept || all[kept-1].RunID != fmt.Sprintf("run-%04d", kept+9) {
		t.Errorf("got %d runs, %v", len(all), err)
	}
	r.Suite = "datastorage"
	if all, err := readHistory(path, r); err != nil || len(all) != 0 {
		t.Errorf("got %d runs of another suite, %v", len(all), err)
	}
}

func TestUnreadableParts(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "cut.xml")
	if err := os.WriteFile(bad, []byte(`<testsuites><testsuite name="x"><testcase`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "history"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := scenes(dir)["passed"]
	page, err := Write(r, Options{SpecReports: []string{bad, filepath.Join(dir, "none.xml")}})
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cut.xml", "none.xml"} {
		if !strings.Contains(string(content), want) {
			t.Errorf("the page does not say that %s could not be read:\n%s", want, content)
		}
	}
	if _, err := Write(r, Options{History: filepath.Join(dir, "history")}); err == nil {
		t.Error("a history that cannot be written is no error")
	}
}

// The XML must be what readers of JUnit expect, also of what ginkgo wrote.
func TestJUnitIsWellFormed(t *testing.T) {
	dir := t.TempDir()
	r := scenes(dir)["unknown"]
	r.Phases[4].Findings[0].Lines = []string{"a\x00b \x1b[31m <&> ]]>"}
	if _, err := Write(r, Options{SpecReports: []string{"testdata/ginkgo-junit.xml"}}); err != nil {
		t.Fatal(err)
	}
	raw, cases, err := readJUnit(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) != 2 || len(cases) != len(r.Phases)+3 {
		t.Errorf("got %d suites and %d cases, want 2 and %d", len(raw), len(cases), len(r.Phases)+3)
	}
	var counts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	content, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(content, &counts); err != nil || counts.Tests != len(r.Phases)+3 || counts.Failures != 1 || counts.Errors != 1 || counts.Skipped != 1 {
		t.Errorf("got %+v, %v", counts, err)
	}
	if !strings.Contains(string(content), "&gt; Enter [It] escalates &amp; waits") {
		t.Error("what ginkgo wrote was changed")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
		of     int
	}{
		{nil, 0, 0},
		{[]float64{3}, 3, 1},
		{[]float64{9, 1, 3}, 3, 3},
		{[]float64{4, 1, 3, 2}, 2.5, 4},
		{append(make([]float64, 50), 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), 1, compared},
	} {
		if got, of := median(c.values); got != c.want || of != c.of {
			t.Errorf("median(%v): got %v of %d, want %v of %d", c.values, got, of, c.want, c.of)
		}
	}
}

func TestTook(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0.0 s", 0.44: "0.4 s", 9.94: "9.9 s", 12.3: "12 s", 99.4: "99 s", 100: "1 min 40 s", 192: "3 min 12 s", 3725: "62 min 05 s"} {
		if got := took(seconds); got != want {
			t.Errorf("%v: got %s, want %s", seconds, got, want)
		}
	}
}
