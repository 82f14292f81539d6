package infrastructure_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
	"kubernaut.ai/kubernaut/test/infrastructure/replay"
)

// TestReplay has the harness meet every row of the failure table.
func TestReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the harness many times")
	}
	s := newStage(t)
	all := rows()
	turns := make(chan struct{}, atOnce)
	machines, ends := make([]*machine, len(all)), make([]func(*testing.T) int, len(all))
	for i, r := range all {
		machines[i] = s.machine(t, r.scenario)
		ends[i] = machines[i].begin(turns, order{Command: "run"})
	}
	for i, r := range all {
		t.Run(strings.TrimSpace(r.id+" "+r.name), func(t *testing.T) { r.check(t, machines[i], ends[i](t)) })
	}
	replayed := make(map[string]bool)
	for _, r := range all {
		replayed[r.id] = true
	}
	for _, r := range failure.Table() {
		why, away := elsewhere()[r.ID]
		if replayed[r.ID] == away {
			t.Errorf("row %s is replayed: %v; a reason why not: %q", r.ID, replayed[r.ID], why)
		}
	}
}

// atOnce is how many runs go on at once: they wait more than they work.
const atOnce = 8

// check checks what a run came to.
func (r row) check(t *testing.T, m *machine, code int) {
	defer func() {
		if t.Failed() {
			t.Log("\n" + m.transcript())
		}
	}()
	if code != r.exit {
		t.Errorf("exit code %d, want %d", code, r.exit)
	}
	result := m.result()
	page := m.report(result)
	if got := result.Retries(); got != r.retries {
		t.Errorf("%d retries, want %d", got, r.retries)
	}
	if r.exit == 0 {
		r.healed(t, result, page)
	} else {
		r.failed(t, result, page)
	}
	r.inOrder(t, m)
}

// healed checks a run that passed.
func (r row) healed(t *testing.T, result plan.Result, page string) {
	t.Helper()
	for _, ph := range result.Phases {
		for _, again := range ph.Retries {
			f := again.Finding
			if ph.Name != r.phase || f.Row != r.id && f.Row != r.either || f.Class != r.class || !again.Healed {
				t.Errorf("retry in %s of row %q, class %s, healed %v; want %s, %s, %s", ph.Name, f.Row, f.Class, again.Healed, r.phase, r.id, r.class)
			}
			for _, file := range []string{"error.txt", "finding.json"} {
				if _, err := os.Stat(filepath.Join(again.Evidence, file)); err != nil {
					t.Errorf("evidence: %v", err)
				}
			}
			if !strings.Contains(page, "it passed in the end") || !strings.Contains(page, strings.Fields(f.Summary)[0]) {
				t.Errorf("the report does not tell of the retry:\n%s", page)
			}
		}
	}
	if r.retries > 0 && !regexp.MustCompile(`^# replayed: PASSED.*retr`).MatchString(page) {
		t.Errorf("the report's first line does not say that there were retries: %.100s", page)
	}
}

// failed checks a run that did not.
func (r row) failed(t *testing.T, result plan.Result, page string) {
	t.Helper()
	f, ok := result.Cause()
	if !ok || f.Row != r.id || f.Class != r.class || f.Phase != r.phase {
		t.Errorf("cause: row %q, class %s in %s (%s); want %q, %s, %s", f.Row, f.Class, f.Phase, f.Summary, r.id, r.class, r.phase)
	}
	wanted := []string{"FAILED in " + r.phase, string(f.Class), "bin/e2e resume"}
	if len(f.Lines) > 0 {
		wanted = append(wanted, "## The lines that prove it")
	}
	if f.Class != failure.Unknown {
		wanted = append(wanted, "What to do:** "+strings.TrimSuffix(strings.Join(strings.Fields(f.Fix), " "), "."))
	}
	for _, want := range wanted {
		if !strings.Contains(page, want) {
			t.Errorf("the report does not say %q:\n%s", want, page)
		}
	}
	i := slices.IndexFunc(result.Phases, func(p plan.PhaseResult) bool { return p.Name == "gather" })
	if i < 0 || result.Phases[i].Status != plan.Passed {
		t.Error("nothing was gathered")
	}
}

// inOrder checks that the calls of the row came one after the other, and all but the first after evidence had been saved.
func (r row) inOrder(t *testing.T, m *machine) {
	t.Helper()
	if len(r.order) == 0 {
		return
	}
	calls := m.calls()
	at, before := -1, -1
	for i, want := range r.order {
		expr := regexp.MustCompile(want)
		next := slices.IndexFunc(calls[at+1:], func(c replay.Call) bool {
			return expr.MatchString(c.Line) && (i > 0 || c.Scripted || !anyScripted(calls, expr)) && (i == 0 || r.retries == 0 || c.Evidence > before)
		})
		if next < 0 {
			t.Errorf("call %d of the order, %s, did not come, or came before there was evidence", i+1, want)
			return
		}
		at += 1 + next
		if i == 0 {
			before = calls[at].Evidence
		}
	}
}

func anyScripted(calls []replay.Call, expr *regexp.Regexp) bool {
	return slices.ContainsFunc(calls, func(c replay.Call) bool { return c.Scripted && expr.MatchString(c.Line) })
}
