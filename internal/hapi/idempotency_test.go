package hapi_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/hapi"
	"kubernaut.ai/kubernaut/internal/incident"
)

func TestConcurrentRequestsShareOneInvestigation(t *testing.T) {
	const callers = 100
	release := make(chan struct{})
	f := &fake{answer: func(_ context.Context, in incident.Incident) (incident.Investigation, error) {
		<-release
		return finding(in), nil
	}}
	reg := prometheus.NewRegistry()
	s := serve(t, hapi.Options{Investigator: f, MaxConcurrent: 1, MaxQueued: 1, Registry: reg})
	var wg sync.WaitGroup
	bodies, replayed := make([]string, callers), make([]string, callers)
	for i := range callers {
		wg.Go(func() {
			req, err := http.NewRequest(http.MethodPost, s.url+hapi.PathIncident, strings.NewReader(incidentBody))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Idempotency-Key", "one")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			var b bytes.Buffer
			if _, err := b.ReadFrom(resp.Body); err != nil || resp.StatusCode != 200 {
				t.Errorf("status %d, error %v", resp.StatusCode, err)
			}
			bodies[i], replayed[i] = b.String(), resp.Header.Get("Idempotency-Replayed")
		})
	}
	waitFor(t, func() bool { return activeOn(t, reg, hapi.PathIncident) == callers })
	close(release)
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
	if f.count() != 1 {
		t.Errorf("%d investigations, want 1", f.count())
	}
	first := 0
	for i := range callers {
		if bodies[i] != bodies[0] {
			t.Fatalf("answer %d differs: %s", i, bodies[i])
		}
		if replayed[i] == "" {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d answers are not marked as replayed, want 1", first)
	}
}

func activeOn(t *testing.T, reg *prometheus.Registry, endpoint string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "holmesgpt_api_active_requests" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "endpoint" && l.GetValue() == endpoint {
					return m.GetGauge().GetValue()
				}
			}
		}
	}
	return 0
}

func TestKeyBelongsToOneRequest(t *testing.T) {
	release, started := make(chan struct{}), make(chan struct{}, 1)
	f := &fake{answer: func(_ context.Context, in incident.Incident) (incident.Investigation, error) {
		started <- struct{}{}
		<-release
		return finding(in), nil
	}}
	s := serve(t, hapi.Options{Investigator: f})
	other := oomKill()
	other.SignalType = "CrashLoopBackOff"
	refused := func(when string) {
		t.Helper()
		for name, in := range map[string]incident.Incident{"other body": other, "other endpoint": failedRecovery()} {
			_, err := s.client.Investigate(t.Context(), "k", in)
			if e := wantKind(t, err, incident.KindInvalid); e.Status != 422 {
				t.Errorf("%s, %s: status %d, want 422", when, name, e.Status)
			}
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.client.Investigate(context.Background(), "k", oomKill())
		done <- err
	}()
	<-started
	refused("while the first runs")
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	refused("after the first")
	if f.count() != 1 {
		t.Errorf("%d investigations, want 1", f.count())
	}
}

func TestCallerGoesAway(t *testing.T) {
	started, release := make(chan struct{}, 2), make(chan struct{})
	ended := make(chan error, 2)
	f := &fake{answer: func(ctx context.Context, in incident.Incident) (incident.Investigation, error) {
		started <- struct{}{}
		select {
		case <-release:
			ended <- nil
			return finding(in), nil
		case <-ctx.Done():
			ended <- ctx.Err()
			return incident.Investigation{}, ctx.Err()
		}
	}}
	s := serve(t, hapi.Options{Investigator: f})
	leave := func(key string) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := s.client.Investigate(ctx, key, oomKill())
			done <- err
		}()
		<-started
		cancel()
		wantKind(t, <-done, incident.KindTimeout)
	}
	t.Run("with a key the investigation goes on", func(t *testing.T) {
		leave("k")
		close(release)
		if err := <-ended; err != nil {
			t.Fatalf("the investigation was cut off: %v", err)
		}
		if _, err := s.client.Investigate(t.Context(), "k", oomKill()); err != nil {
			t.Fatal(err)
		}
		if f.count() != 1 {
			t.Errorf("%d investigations, want 1", f.count())
		}
	})
	t.Run("without a key it ends", func(t *testing.T) {
		release = make(chan struct{})
		leave("")
		if err := <-ended; err == nil {
			t.Error("the investigation went on for nobody")
		}
	})
}

func TestAnswersSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	before := serve(t, hapi.Options{StateDir: dir, Investigator: &fake{}})
	resp, want := send(t, "POST", before.url+hapi.PathIncident, incidentBody, "Idempotency-Key", "k/1")
	if resp.StatusCode != 200 {
		t.Fatal(want)
	}
	before.stop()

	f := &fake{answer: func(context.Context, incident.Incident) (incident.Investigation, error) {
		return incident.Investigation{}, fmt.Errorf("investigated again")
	}}
	after := serve(t, hapi.Options{StateDir: dir, Investigator: f})
	resp, got := send(t, "POST", after.url+hapi.PathIncident, incidentBody, "Idempotency-Key", "k/1")
	if resp.StatusCode != 200 || got != want {
		t.Errorf("status %d, body %q; want the same bytes %q", resp.StatusCode, got, want)
	}
	if resp.Header.Get("Idempotency-Replayed") != "true" {
		t.Error("the answer is not marked as replayed")
	}
	if f.count() != 0 {
		t.Errorf("%d investigations after the restart, want 0", f.count())
	}
	// Finished answers are served even while the service ends.
	after.BeginShutdown()
	if resp, got = send(t, "POST", after.url+hapi.PathIncident, incidentBody, "Idempotency-Key", "k/1"); resp.StatusCode != 200 || got != want {
		t.Errorf("while shutting down: status %d", resp.StatusCode)
	}
	resp, body := send(t, "POST", after.url+hapi.PathIncident, incidentBody, "Idempotency-Key", "k/2")
	wantProblem(t, resp, body, 503, "service-unavailable")
	if resp.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	resp, body = send(t, "POST", after.url+hapi.PathIncident, incidentBody)
	wantProblem(t, resp, body, 503, "service-unavailable")
}

func TestBrokenStateIsRepaired(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":        func([]byte) []byte { return nil },
		"cut":          func(b []byte) []byte { return b[:len(b)-10] },
		"no header":    func([]byte) []byte { return []byte("nonsense") },
		"other format": func(b []byte) []byte { return bytes.Replace(b, []byte("answer/v1"), []byte("answer/v9"), 1) },
		"flipped bit":  func(b []byte) []byte { b[len(b)-5] ^= 1; return b },
	} {
		for _, restart := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/restart=%v", name, restart), func(t *testing.T) {
				dir := t.TempDir()
				f := &fake{}
				s := serve(t, hapi.Options{StateDir: dir, Investigator: f})
				if _, err := s.client.Investigate(t.Context(), "k", oomKill()); err != nil {
					t.Fatal(err)
				}
				files, err := filepath.Glob(filepath.Join(dir, "*.answer"))
				if err != nil || len(files) != 1 {
					t.Fatalf("files %v, error %v; want one", files, err)
				}
				b, err := os.ReadFile(files[0])
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(files[0], damage(b), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "dead-writer.tmp"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if restart {
					s.stop()
					s = serve(t, hapi.Options{StateDir: dir, Investigator: f})
				}
				for range 2 {
					if _, err := s.client.Investigate(t.Context(), "k", oomKill()); err != nil {
						t.Fatal(err)
					}
				}
				if f.count() != 2 {
					t.Errorf("%d investigations, want 2: one lost, one kept again", f.count())
				}
				if tmp, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); restart && len(tmp) > 0 {
					t.Errorf("left behind: %v", tmp)
				}
			})
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	dir := t.TempDir()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	now := start
	advance := func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	f := &fake{}
	o := hapi.Options{StateDir: dir, Investigator: f, MaxAnswers: 3, AnswerRetention: time.Hour, Clock: clock}
	s := serve(t, o)
	ask := func(key string, investigations int) {
		t.Helper()
		if _, err := s.client.Investigate(t.Context(), key, oomKill()); err != nil {
			t.Fatal(err)
		}
		if f.count() != investigations {
			t.Errorf("key %s: %d investigations, want %d", key, f.count(), investigations)
		}
		advance(time.Second)
	}
	for i := range 5 {
		ask(fmt.Sprint(i), i+1)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.answer"))
	if len(files) != 3 {
		t.Errorf("%d files, want 3", len(files))
	}
	ask("4", 5) // kept
	ask("0", 6) // gone, and takes the place of 2
	ask("2", 7)
	s.stop()
	s = serve(t, o)
	ask("4", 7) // kept, in the same order, over a restart
	ask("5", 8) // takes the place of 4
	ask("4", 9)

	advance(2 * time.Hour)
	ask("5", 10) // too old
	s.stop()
	serve(t, o)
	if files, _ = filepath.Glob(filepath.Join(dir, "*.answer")); len(files) != 1 {
		t.Errorf("%d files after everything else grew old, want 1", len(files))
	}
}

func TestDrain(t *testing.T) {
	started, release := make(chan struct{}, 1), make(chan struct{})
	f := &fake{answer: func(ctx context.Context, in incident.Incident) (incident.Investigation, error) {
		started <- struct{}{}
		select {
		case <-release:
			return finding(in), nil
		case <-ctx.Done():
			return incident.Investigation{}, ctx.Err()
		}
	}}
	t.Run("waits for what runs", func(t *testing.T) {
		s := serve(t, hapi.Options{Investigator: f})
		answered := make(chan error, 1)
		go func() {
			_, err := s.client.Investigate(context.Background(), "k", oomKill())
			answered <- err
		}()
		<-started
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(context.Background()) }()
		waitFor(t, func() bool { resp, _ := send(t, "GET", s.url+"/ready", ""); return resp.StatusCode == 503 })
		select {
		case err := <-drained:
			t.Fatalf("drained (%v) while an investigation runs", err)
		default:
		}
		close(release)
		if err := <-answered; err != nil {
			t.Errorf("the running investigation: %v", err)
		}
		if err := <-drained; err != nil {
			t.Errorf("drain: %v", err)
		}
	})
	t.Run("cancels what takes too long", func(t *testing.T) {
		release = make(chan struct{})
		s := serve(t, hapi.Options{Investigator: f})
		answered := make(chan error, 1)
		go func() {
			_, err := s.client.Investigate(context.Background(), "k", oomKill())
			answered <- err
		}()
		<-started
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Drain(ctx); err != context.Canceled { //nolint:errorlint // promised
			t.Errorf("drain: %v, want the context's error", err)
		}
		wantKind(t, <-answered, incident.KindUnavailable)
	})
}
