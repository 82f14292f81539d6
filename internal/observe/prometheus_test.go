package observe_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
)

// prometheus answers range queries in the form of Prometheus' HTTP API: those about a metric's name as its table says, all
// others with no series.
type prometheus struct {
	*httptest.Server
	mu      sync.Mutex
	queries []url.Values
	answers map[string]http.HandlerFunc // by a part of the query
}

func newPrometheus(t *testing.T) *prometheus {
	p := &prometheus{answers: map[string]http.HandlerFunc{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		p.mu.Lock()
		p.queries = append(p.queries, req.URL.Query())
		p.mu.Unlock()
		if req.URL.Path != "/prom/api/v1/query_range" || req.Method != http.MethodGet {
			http.NotFound(w, req)
			return
		}
		for part, answer := range p.answers {
			if strings.Contains(req.URL.Query().Get("query"), part) {
				answer(w, req)
				return
			}
		}
		p.matrix(w)
	}))
	t.Cleanup(func() { p.CloseClientConnections(); p.Close() })
	return p
}

func (p *prometheus) matrix(w http.ResponseWriter, series ...string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, strings.Join(series, ","))
}

func series(ns, pod, container string, from time.Time, values ...string) string {
	samples := make([]string, len(values))
	for i, v := range values {
		samples[i] = fmt.Sprintf(`[%d,%q]`, from.Add(time.Duration(i)*time.Minute).Unix(), v)
	}
	return fmt.Sprintf(`{"metric":{"namespace":%q,"pod":%q,"container":%q},"values":[%s]}`, ns, pod, container, strings.Join(samples, ","))
}

// What Prometheus measured becomes evidence; what it refuses, does not have or does not send in time becomes a gap.
func TestPrometheus(t *testing.T) {
	all, err := scenario.Load(os.DirFS("../../test/scenarios"), "open")
	if err != nil {
		t.Fatal(err)
	}
	var throttled *scenario.Scenario
	for _, s := range all {
		if s.Name == "cpu-throttled" {
			throttled = s
		}
	}
	if throttled == nil {
		t.Fatal("there is no scenario cpu-throttled")
	}
	whole, err := throttled.Snapshot(scenario.Variant{})
	if err != nil {
		t.Fatal(err)
	}
	in := throttled.Input()
	pods := whole.Kind("Pod", in.Resource.Namespace)
	pod, container := pods[0].Ref(), pods[0].At("spec", "containers").Items()[0].At("name").Str()
	look := func(t *testing.T, p *prometheus) *diagnose.Snapshot {
		t.Helper()
		live, err := observe.New(observe.Options{
			Config: &rest.Config{Host: newMirror(t, whole).URL}, Clock: whole.ObservedAt, Prometheus: &observe.Prometheus{URL: p.URL + "/prom/", Client: p.Client()},
		})
		if err != nil {
			t.Fatal(err)
		}
		snap, err := live.Observe(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}

	t.Run("measured", func(t *testing.T) {
		p := newPrometheus(t)
		from := whole.ObservedAt().Add(-2 * time.Minute)
		p.answers["cfs_throttled"] = func(w http.ResponseWriter, _ *http.Request) {
			p.matrix(w, series(pod.Namespace, pod.Name, container, from, "0.1", "NaN", "0.8123456789"), series("elsewhere", "other", "x", from, "1"))
		}
		snap := look(t, p)
		m := snap.Object(diagnose.MetricRef(pod.Namespace, pod.Name, container, diagnose.MeasureThrottled))
		if m == nil {
			t.Fatalf("no metric; gaps %+v", snap.Contents().Gaps)
		}
		if got := m.At("latest").Text(); got != "0.812346" {
			t.Errorf("latest = %s, want 0.812346", got)
		}
		if got := m.At("samples").Len(); got != 2 {
			t.Errorf("%d samples, want the two that are numbers", got)
		}
		if snap.Object(diagnose.MetricRef("elsewhere", "other", "x", diagnose.MeasureThrottled)) != nil {
			t.Error("a series of a Pod that was not asked for is kept")
		}
		r := diagnose.Run(snap, in)
		if r.Cause == nil || r.Cause.Class != diagnose.ClassCPUThrottled {
			t.Errorf("got %s", r.Summary)
		}
		if err := diagnose.Verify(snap, r.Evidence); err != nil {
			t.Error(err)
		}
		replay(t, snap, in, r)
		cited := false
		for _, e := range r.Evidence {
			cited = cited || e.Kind == incident.EvidenceMetric && e.Value == "0.812346"
		}
		if !cited {
			t.Errorf("the measurement is not cited: %+v", r.Evidence)
		}
		for _, q := range p.queries {
			start, _ := strconv.Atoi(q.Get("start"))
			end, _ := strconv.Atoi(q.Get("end"))
			step, _ := strconv.Atoi(q.Get("step"))
			if step == 0 || end-start <= 0 || (end-start)/step > 100 || q.Get("timeout") == "" || !strings.Contains(q.Get("query"), pod.Name) {
				t.Errorf("a query without bounds: %v", q)
			}
		}
	})

	t.Run("in vain", func(t *testing.T) {
		p := newPrometheus(t)
		p.answers["cfs_throttled"] = func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"1:5: parse error: unexpected character"}`)
		}
		p.answers["memory_working_set"] = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>login</html>") }
		p.answers["http_requests_total"] = func(w http.ResponseWriter, _ *http.Request) {
			p.matrix(w, strings.Repeat(series(pod.Namespace, pod.Name, container, whole.ObservedAt(), "1")+",", 60_000)+series("a", "b", "c", whole.ObservedAt(), "1"))
		}
		gaps := gapsOf(look(t, p))
		for what, part := range map[string]string{
			"metrics: cpu-throttled": "parse error", "metrics: memory": "no JSON", "metrics: request-errors": "longer than", "metrics of the containers": "no series",
		} {
			if g := gaps[what]; !strings.Contains(g.Reason, part) {
				t.Errorf("gap %q = %+v, want one with %q", what, g, part)
			}
		}
	})

	t.Run("down", func(t *testing.T) {
		p := newPrometheus(t)
		p.Close()
		if g := gapsOf(look(t, p))["metrics: cpu"]; g.Kind != incident.GapFailed {
			t.Errorf("gap = %+v, want one of kind %s", g, incident.GapFailed)
		}
	})

	t.Run("no URL", func(t *testing.T) {
		if _, err := observe.New(observe.Options{Config: &rest.Config{Host: "http://x"}, Prometheus: &observe.Prometheus{URL: "prometheus:9090"}}); err == nil {
			t.Error("a URL without scheme is taken")
		}
	})
}
