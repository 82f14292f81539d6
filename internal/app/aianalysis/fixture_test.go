package aianalysis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/app/datastorage"
	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
	"kubernaut.ai/kubernaut/internal/dsapi"
)

const (
	crdFile    = "../../../deploy/crd/kubernaut.ai_aianalyses.yaml"
	policyFile = "../../../deploy/policies/approval.rego"
	patience   = time.Minute // with which a test waits for something that takes milliseconds
)

// fakeHAPI answers as its signal type asks. It is a real HTTP server, and one investigation for each
// idempotency key, as the real service.
type fakeHAPI struct {
	*httptest.Server
	mu     sync.Mutex
	asked  map[string]int           // requests by key
	bodies map[string]string        // by key: the same key must come with the same request
	done   map[string]chan struct{} // by key: closed when the investigation is finished
	gate   chan struct{}            // "gated" investigations wait for it
	faults []string
}

func newFakeHAPI(t *testing.T) *fakeHAPI {
	f := &fakeHAPI{asked: map[string]int{}, bodies: map[string]string{}, done: map[string]chan struct{}{}, gate: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/incident/analyze", f.analyze)
	mux.HandleFunc("POST /api/v1/recovery/analyze", f.analyze)
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":"ready"}`) })
	f.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
		for _, fault := range f.faults {
			t.Error(fault)
		}
	})
	return f
}

// count returns how many investigations were started for a resource, and how many requests came.
func (f *fakeHAPI) count(a *v1alpha1.AIAnalysis) (keys, requests int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, n := range f.asked {
		if strings.HasPrefix(key, string(a.UID)+"/") {
			keys++
			requests += n
		}
	}
	return keys, requests
}

func (f *fakeHAPI) analyze(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	body, _ := io.ReadAll(r.Body)
	var in struct {
		IncidentID string `json:"incident_id"`
		SignalType string `json:"signal_type"`
	}
	err := json.Unmarshal(body, &in)

	f.mu.Lock()
	f.asked[key]++
	n := f.asked[key]
	if was, ok := f.bodies[key]; ok && was != string(body) || err != nil || key == "" {
		f.faults = append(f.faults, fmt.Sprintf("key %q: error %v, request %s", key, err, body))
	}
	f.bodies[key] = string(body)
	done := f.done[key]
	if done == nil {
		done = make(chan struct{})
		f.done[key] = done
		if in.SignalType == "gated" {
			go func() { <-f.gate; close(done) }()
		} else {
			close(done)
		}
	}
	f.mu.Unlock()
	select {
	case <-done:
	case <-r.Context().Done():
		return
	}
	f.answer(w, r, in.IncidentID, in.SignalType, n, strings.HasSuffix(key, "/1"))
}

// answer writes what the signal type asks for. n counts the requests with this key, first says that it
// is the key of the first attempt.
func (f *fakeHAPI) answer(w http.ResponseWriter, r *http.Request, id, signal string, n int, first bool) {
	problem := func(status int) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"type":"about:blank","title":"no","detail":"told to","status":%d}`, status)
	}
	answer := plainAnswer(id)
	switch signal {
	case "400", "401", "403", "404", "422", "500", "503":
		var status int
		_, _ = fmt.Sscan(signal, &status)
		problem(status)
		return
	case "429 once":
		if first {
			w.Header().Set("Retry-After", "1")
			problem(http.StatusTooManyRequests)
			return
		}
	case "cut once":
		if n == 1 {
			w.Header().Set("Content-Length", "5000")
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, `{"incident_id": "a`)
			panic(http.ErrAbortHandler)
		}
	case "slow once":
		if n == 1 {
			<-r.Context().Done() // until the caller gives up
			return
		}
	case "garbage":
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "<html>it works!</html>")
		return
	case "text":
		_, _ = io.WriteString(w, "all is well")
		return
	case "review":
		answer["needs_human_review"], answer["human_review_reason"] = true, "no_matching_workflows"
		answer["selected_workflow"] = nil
	case "resolved":
		answer["selected_workflow"] = nil
	case "nothing":
		answer["selected_workflow"], answer["confidence"] = nil, 0.0
	case "unknown severity":
		answer["root_cause_analysis"] = map[string]any{"summary": "?", "severity": "unknown"}
	}
	if strings.HasSuffix(r.URL.Path, "/recovery/analyze") {
		answer["can_recover"], answer["analysis_confidence"] = signal != "impossible", 0.9
		answer["recovery_analysis"] = map[string]any{"previous_attempt_assessment": map[string]any{
			"failure_understood": true, "failure_reason_analysis": "too small", "state_changed": true, "current_signal_type": "OOMKilled",
		}}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func plainAnswer(id string) map[string]any {
	return map[string]any{
		"incident_id": id, "analysis": "The container needs more memory.", "confidence": 0.92, "timestamp": "2026-11-21T12:00:00Z",
		"root_cause_analysis": map[string]any{"summary": "memory limit too low", "severity": "high", "contributing_factors": []string{"traffic"}},
		"selected_workflow": map[string]any{
			"workflow_id": "raise-memory", "version": "1.0.0", "containerImage": "kubernaut/raise-memory:v1", "confidence": 0.92,
			"rationale": "fits", "parameters": map[string]any{"MEMORY_LIMIT": "1Gi", "REPLICAS": 2},
		},
		"target_in_owner_chain": true,
		"alternative_workflows": []any{map[string]any{"workflow_id": "restart", "container_image": nil, "confidence": 0.4, "rationale": "quick"}},
	}
}

// storage is a Data Storage that can be stopped and started again at the same address.
type storage struct {
	t      *testing.T
	path   string
	port   int
	stop   func()
	client *dsapi.Client
}

func newStorage(t *testing.T) *storage {
	s := &storage{t: t, path: filepath.Join(t.TempDir(), "ds.db")}
	s.start()
	client, err := dsapi.NewClient(s.url(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *storage) url() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

func (s *storage) start() {
	s.t.Helper()
	cfg := config.DefaultDataStorage()
	cfg.Server.Host, cfg.Server.Port, cfg.Database.Path = "127.0.0.1", s.port, s.path
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- datastorage.Run(ctx, cfg, datastorage.Options{Ready: func(a net.Addr) { ready <- a }})
	}()
	select {
	case a := <-ready:
		s.port = a.(*net.TCPAddr).Port
	case err := <-ended:
		s.t.Fatalf("Data Storage: %v", err)
	}
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				s.t.Errorf("Data Storage: %v", err)
			}
		})
	}
}

// events returns the types of the stored events of a resource, oldest first, after checking their
// chain.
func (s *storage) events(a *v1alpha1.AIAnalysis) []string {
	s.t.Helper()
	report, err := s.client.VerifyChain(s.t.Context(), a.Spec.RemediationID)
	if err != nil || !report.Valid {
		s.t.Errorf("audit chain of %s: %+v, %v", a.Name, report, err)
	}
	page, err := s.client.QueryEvents(s.t.Context(), dsapi.EventQuery{CorrelationID: a.Spec.RemediationID, Limit: 100})
	if err != nil {
		s.t.Errorf("audit events of %s: %v", a.Name, err)
	}
	kinds := make([]string, report.Events)
	for _, e := range page.Events {
		kinds[e.Sequence-1] = strings.TrimPrefix(e.Type, "aianalysis.")
	}
	return kinds
}

// system is a cluster, the services that the controller needs, and a namespace for one test.
type system struct {
	t         *testing.T
	rest      *rest.Config
	cluster   client.WithWatch
	namespace string
	hapi      *fakeHAPI
	storage   *storage
	cfg       config.AIAnalysis
}

func newSystem(t *testing.T) *system {
	t.Helper()
	restConfig := controlplanetest.Config(t)
	controlplanetest.InstallCRDs(t, restConfig, crdFile)
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c, err := client.NewWithWatch(restConfig, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	s := &system{
		t: t, rest: restConfig, cluster: c, namespace: controlplanetest.Namespace(t, restConfig),
		hapi: newFakeHAPI(t), storage: newStorage(t), cfg: config.DefaultAIAnalysis(),
	}
	s.cfg.Controller.MetricsAddr, s.cfg.Controller.HealthProbeAddr = "127.0.0.1:0", "127.0.0.1:0"
	s.cfg.Controller.Namespaces = []string{s.namespace}
	s.cfg.HolmesGPT.URL, s.cfg.DataStorage.URL = s.hapi.URL, s.storage.url()
	s.cfg.HolmesGPT.Timeout = 2 * time.Second
	s.cfg.HolmesGPT.Retry = config.Retry{MaxAttempts: 3, Base: 10 * time.Millisecond, Max: time.Second}
	s.cfg.HolmesGPT.Breaker.Failures = 1000
	s.cfg.Rego.PolicyPath = policyFile
	s.cfg.Audit.Dir = filepath.Join(t.TempDir(), "spool")
	s.cfg.Logging.Level = "error"
	return s
}

// instance is a controller that runs.
type instance struct {
	Addresses
	stop func() error // ends it and returns its error; a second call returns nil
}

// run starts a controller and stops it at the end of the test.
func (s *system) run(cfg config.AIAnalysis) *instance {
	s.t.Helper()
	return s.runWith(cfg, Options{Rest: s.rest, Logger: cfg.Logging.Logger(testWriter{s.t})})
}

func (s *system) runWith(cfg config.AIAnalysis, o Options) *instance {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan Addresses, 1), make(chan error, 1)
	o.Ready = func(a Addresses) { ready <- a }
	go func() { ended <- Run(ctx, cfg, o) }()
	i := &instance{}
	var once sync.Once
	i.stop = func() (err error) {
		once.Do(func() { cancel(); err = <-ended })
		return err
	}
	select {
	case i.Addresses = <-ready:
	case err := <-ended:
		s.t.Fatalf("the controller ended: %v", err)
	}
	s.t.Cleanup(func() {
		if err := i.stop(); err != nil {
			s.t.Errorf("the controller ended: %v", err)
		}
	})
	return i
}

// testWriter writes the log to the test's.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// create creates a resource whose signal type tells the fake HAPI what to do.
func (s *system) create(name, signal string, change func(*v1alpha1.AIAnalysis)) *v1alpha1.AIAnalysis {
	s.t.Helper()
	a := &v1alpha1.AIAnalysis{Spec: v1alpha1.AIAnalysisSpec{
		RemediationID: s.namespace + "-" + name,
		AnalysisRequest: v1alpha1.AnalysisRequest{
			AnalysisTypes: []string{"investigation"},
			SignalContext: v1alpha1.SignalContext{
				Severity: "critical", SignalType: signal, Environment: "staging", BusinessPriority: "P1",
				TargetResource: v1alpha1.TargetResource{Kind: "Pod", Name: "web-1", Namespace: "shop"},
			},
		},
	}}
	a.Namespace, a.Name = s.namespace, name
	if change != nil {
		change(a)
	}
	if err := s.cluster.Create(s.t.Context(), a); err != nil {
		s.t.Fatalf("create %s: %v", name, err)
	}
	return a
}

// until waits for the resource to satisfy ok and returns it.
func (s *system) until(a *v1alpha1.AIAnalysis, what string, ok func(*v1alpha1.AIAnalysis) bool) *v1alpha1.AIAnalysis {
	s.t.Helper()
	got := &v1alpha1.AIAnalysis{}
	s.poll(func() bool {
		if err := s.cluster.Get(s.t.Context(), client.ObjectKeyFromObject(a), got); err != nil {
			s.t.Fatalf("get %s: %v", a.Name, err)
		}
		return ok(got)
	}, func() string { return fmt.Sprintf("%s is not %s: %+v", a.Name, what, got.Status) })
	return got
}

func (s *system) finished(a *v1alpha1.AIAnalysis) *v1alpha1.AIAnalysis {
	s.t.Helper()
	return s.until(a, "finished", func(a *v1alpha1.AIAnalysis) bool { return a.Status.Phase.Terminal() })
}

// poll waits until ok, and fails the test with what failure says when it takes too long.
func (s *system) poll(ok func() bool, failure func() string) {
	s.t.Helper()
	err := wait.PollUntilContextTimeout(s.t.Context(), 10*time.Millisecond, patience, true, func(context.Context) (bool, error) { return ok(), nil })
	if err != nil {
		s.t.Fatalf("after %s: %s", patience, failure())
	}
}
