package approval

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

const (
	// askAll always asks for a person, allowStaging does not in staging.
	askAll       = sound + "reason := \"ask all\"\n"
	allowStaging = sound + "require_approval := false if { input.environment == \"staging\"; input.target_in_owner_chain }\nreason := \"allow staging\"\n"
	failsOpen    = "package aianalysis.approval\ndefault require_approval := false\n"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configMap is a directory as the kubelet writes it: the file is a link through ..data, and an
// update swaps ..data.
type configMap struct {
	t       *testing.T
	dir     string
	version int
}

func newConfigMap(t *testing.T, text string) *configMap {
	c := &configMap{t: t, dir: t.TempDir()}
	c.update(text)
	if err := os.Symlink(filepath.Join("..data", "approval.rego"), c.path()); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *configMap) path() string { return filepath.Join(c.dir, "approval.rego") }

func (c *configMap) update(text string) {
	c.t.Helper()
	c.version++
	version := fmt.Sprintf("..version_%d", c.version)
	steps := []error{
		os.Mkdir(filepath.Join(c.dir, version), 0o700),
		os.WriteFile(filepath.Join(c.dir, version, "approval.rego"), []byte(text), 0o600),
		os.Symlink(version, filepath.Join(c.dir, "..data_tmp")),
		os.Rename(filepath.Join(c.dir, "..data_tmp"), filepath.Join(c.dir, "..data")),
	}
	if err := errors.Join(steps...); err != nil {
		c.t.Fatal(err)
	}
}

// watched starts Watch and returns the statuses that it reports. Watch ends with the test.
func watched(t *testing.T, path string, r prometheus.Registerer) (*Evaluator, <-chan Status) {
	t.Helper()
	reports := make(chan Status, 16)
	e, err := Load(path, Options{Registerer: r, OnReload: func(s Status) { reports <- s }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Watch(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return e, reports
}

func next(t *testing.T, reports <-chan Status) Status {
	t.Helper()
	select {
	case s := <-reports:
		return s
	case <-time.After(30 * time.Second):
		t.Fatal("the change was not noticed within 30 s")
		return Status{}
	}
}

func TestReloadFromConfigMap(t *testing.T) {
	c := newConfigMap(t, askAll)
	registry := prometheus.NewRegistry()
	e, reports := watched(t, c.path(), registry)
	first := e.Hash()
	decides := func(want bool, reason string) {
		t.Helper()
		got, err := e.Evaluate(context.Background(), knownInput())
		if err != nil || got.ApprovalRequired != want || got.Reason != reason || got.PolicyHash != e.Hash() {
			t.Errorf("decision = %+v, %v, want approval %v because of %q", got, err, want, reason)
		}
	}
	decides(true, "ask all")
	checkMetrics(t, registry, map[string]float64{
		"aianalysis_policy_reloads_total{success}": 0, "aianalysis_policy_reloads_total{failure}": 0,
		"aianalysis_policy_reload_error": 0, "aianalysis_policy_info{" + first[:16] + "}": 1,
	})

	c.update(allowStaging)
	good := next(t, reports)
	if good.Err != nil || good.Hash != hashOf([]byte(allowStaging)) || good.Path != c.path() {
		t.Errorf("status = %+v, want the new policy", good)
	}
	decides(false, "allow staging")

	c.update(failsOpen)
	bad := next(t, reports)
	var refused *PolicyError
	if !errors.As(bad.Err, &refused) || refused.Refusal != FailsOpen || bad.Hash != good.Hash || bad.LoadedAt != good.LoadedAt {
		t.Errorf("status = %+v, want the refusal and the policy before", bad)
	}
	if diff := cmp.Diff(bad.Err.Error(), e.Status().Err.Error()); diff != "" {
		t.Errorf("Status differs from what was reported: %s", diff)
	}
	decides(false, "allow staging")
	checkMetrics(t, registry, map[string]float64{
		"aianalysis_policy_reloads_total{success}": 1, "aianalysis_policy_reloads_total{failure}": 1,
		"aianalysis_policy_reload_error": 1, "aianalysis_policy_info{" + good.Hash[:16] + "}": 1,
	})

	// The policy in force put back mends the error; it is no new policy.
	c.update(allowStaging)
	mended := next(t, reports)
	if mended.Err != nil || mended.Hash != good.Hash || mended.LoadedAt != good.LoadedAt {
		t.Errorf("status = %+v, want the policy in force, without error", mended)
	}
	c.update(askAll)
	if s := next(t, reports); s.Err != nil || s.Hash != first {
		t.Errorf("status = %+v, want the first policy again", s)
	}
	decides(true, "ask all")
	checkMetrics(t, registry, map[string]float64{
		"aianalysis_policy_reloads_total{success}": 3, "aianalysis_policy_reloads_total{failure}": 1,
		"aianalysis_policy_reload_error": 0, "aianalysis_policy_info{" + first[:16] + "}": 1,
	})
}

func TestReloadOfAPlainFile(t *testing.T) {
	path := write(t, askAll)
	e, reports := watched(t, path, nil)
	if err := os.WriteFile(path, []byte(allowStaging), 0o600); err != nil {
		t.Fatal(err)
	}
	for next(t, reports).Hash != hashOf([]byte(allowStaging)) {
		// A write in two steps may be seen in between; the next event mends it.
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var refused *PolicyError
	if s := next(t, reports); !errors.As(s.Err, &refused) || refused.Refusal != Unreadable || s.Hash != e.Hash() {
		t.Errorf("status = %+v, want that the file is not there", s)
	}
	if err := os.WriteFile(path+".new", []byte(askAll), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if s := next(t, reports); s.Err != nil || s.Hash != hashOf([]byte(askAll)) {
		t.Errorf("status = %+v, want the new file", s)
	}
}

// TestPollingFindsWhatEventsMiss follows a file without a watch on its directory.
func TestPollingFindsWhatEventsMiss(t *testing.T) {
	path := write(t, askAll)
	synctest.Test(t, func(t *testing.T) {
		reports := make(chan Status, 100)
		start := time.Now()
		e, err := Load(path, Options{OnReload: func(s Status) { reports <- s }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var rearmed atomic.Int32
		go e.follow(ctx, changes{rearm: func() { rearmed.Add(1) }})
		synctest.Wait()
		if err := os.WriteFile(path, []byte(failsOpen), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pollInterval - time.Second)
		synctest.Wait()
		if len(reports) != 0 {
			t.Errorf("report before the poll: %+v", <-reports)
		}
		time.Sleep(10 * pollInterval)
		synctest.Wait()
		if n := len(reports); n != 1 {
			t.Fatalf("%d reports, want one, however often the bad file is seen", n)
		}
		if s := <-reports; s.Err == nil {
			t.Errorf("report = %+v, want a refusal", s)
		}
		if err := os.WriteFile(path, []byte(allowStaging), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pollInterval)
		synctest.Wait()
		if n := len(reports); n != 1 {
			t.Fatalf("%d reports after the refusal, want one", n)
		}
		if s := <-reports; s.Err != nil || !s.LoadedAt.After(start) {
			t.Errorf("report = %+v, want the new policy", s)
		}
		cancel()
		synctest.Wait()
		if n := rearmed.Load(); n != 11 {
			t.Errorf("rearmed %d times, want once at each of 11 polls", n)
		}
	})
}

func TestEventsOfOneChangeComeTogether(t *testing.T) {
	path := write(t, askAll)
	synctest.Test(t, func(t *testing.T) {
		reports := make(chan Status, 100)
		e, err := Load(path, Options{OnReload: func(s Status) { reports <- s }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		source, send := eventsOf()
		go e.follow(ctx, source)
		synctest.Wait()
		for i := range 5 {
			if err := os.WriteFile(path, []byte(fmt.Sprint(askAll, "# ", i, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			send()
			time.Sleep(debounce / 10)
		}
		synctest.Wait()
		if n := len(reports); n != 0 {
			t.Errorf("%d reloads while the change went on", n)
		}
		time.Sleep(debounce)
		synctest.Wait()
		if want := hashOf([]byte(fmt.Sprint(askAll, "# 4\n"))); len(reports) != 1 || e.Hash() != want {
			t.Errorf("%d reloads to %s, want 1 to %s", len(reports), e.Hash(), want)
		}
		cancel()
		synctest.Wait()
	})
}

// eventsOf returns a source of events and the function that sends one.
func eventsOf() (changes, func()) {
	events := make(chan fsnotify.Event)
	return changes{events: events, rearm: func() {}}, func() { events <- fsnotify.Event{} }
}

// checkMetrics compares the counters and gauges of the policy.
func checkMetrics(t *testing.T, g prometheus.Gatherer, want map[string]float64) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.GetCounter() != nil:
				got[name] = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				got[name] = m.GetGauge().GetValue()
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
