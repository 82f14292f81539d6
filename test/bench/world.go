package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/app/datastorage"
	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/controlplane"
	"kubernaut.ai/kubernaut/internal/hapi/wire"
	"kubernaut.ai/kubernaut/internal/incident"
)

const namespace = "bench"

// world is everything around the controller, and the controller.
type world struct {
	options options
	dir     string
	server  *controlplane.Server
	cluster client.WithWatch
	hapi    *httptest.Server
	slow    atomic.Int64 // nanoseconds that every tenth investigation takes
	asked   atomic.Int64
	storage func() error // stops it
	url     string       // of Data Storage
	binary  string       // of the controller
	process *process
}

func newWorld(ctx context.Context, o options, say func(string, ...any)) (w *world, err error) {
	w = &world{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "kubernaut-bench-"); err != nil {
		return w, err
	}
	say("building the controller")
	w.binary = filepath.Join(w.dir, "aianalysis")
	build := exec.CommandContext(ctx, "go", "build", "-o", w.binary, "-ldflags=-s -w", "./cmd/aianalysis")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return w, fmt.Errorf("build the controller (run this from the repository's root): %w", err)
	}
	say("starting the control plane")
	show, end := controlplane.ShowProgress(os.Stderr, false, time.Now)
	w.server, err = controlplane.Start(ctx, controlplane.Options{Dir: filepath.Join(w.dir, "controlplane"), Controllers: []string{}, Progress: show})
	end()
	if err != nil {
		return w, err
	}
	if err := w.connect(ctx); err != nil {
		return w, err
	}
	if err := w.startStorage(ctx); err != nil {
		return w, err
	}
	w.hapi = httptest.NewServer(http.HandlerFunc(w.investigate))
	w.process, err = w.startController(ctx)
	return w, err
}

func (w *world) connect(ctx context.Context) error {
	crd, err := os.ReadFile("deploy/crd/kubernaut.ai_aianalyses.yaml")
	if err != nil {
		return err
	}
	if err := controlplane.InstallCRDs(ctx, w.server.Config(), crd); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	cfg := w.server.Config()
	cfg.QPS = -1
	if w.cluster, err = client.NewWithWatch(cfg, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	return w.cluster.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

// startStorage runs the real Data Storage over SQLite in this process.
func (w *world) startStorage(ctx context.Context) error {
	cfg := config.DefaultDataStorage()
	cfg.Server.Host, cfg.Server.Port, cfg.Database.Path = "127.0.0.1", 0, filepath.Join(w.dir, "datastorage.db")
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- datastorage.Run(ctx, cfg, datastorage.Options{Ready: func(a net.Addr) { ready <- a }})
	}()
	w.storage = func() error { cancel(); return <-ended }
	select {
	case a := <-ready:
		w.url = "http://" + a.String()
		return nil
	case err := <-ended:
		w.storage = nil
		cancel()
		return fmt.Errorf("start Data Storage: %w", err)
	}
}

// investigate is a HolmesGPT-API that knows the answer already.
func (w *world) investigate(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(rw, `{"status":"ready"}`)
		return
	}
	var in wire.IncidentRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	if slow := w.slow.Load(); slow > 0 && strings.HasSuffix(in.IncidentID, "0") {
		select {
		case <-time.After(time.Duration(slow)):
		case <-r.Context().Done():
			return
		}
	}
	w.asked.Add(1)
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(answerTo(in))
}

// answerTo is an answer of the usual size: a chain of three links, with their evidence.
func answerTo(in wire.IncidentRequest) wire.IncidentResponse {
	yes, image, high := true, "registry.example/raise-memory:1.4.0", "high"
	digest := "sha256:" + incident.HashValue("bundle")
	pod := incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: in.ResourceNamespace, Name: in.ResourceName, UID: "0a9f"}
	deployment := incident.Ref{APIVersion: "apps/v1", Kind: "Deployment", Namespace: in.ResourceNamespace, Name: "web"}
	summary := "The container's memory limit of 256Mi is below its working set; it is killed under load."
	var evidence []incident.Evidence
	for i, value := range []string{"OOMKilled", "137", "268435456", "256Mi", "back-off 2m40s restarting failed container"} {
		evidence = append(evidence, incident.Evidence{
			ID: fmt.Sprint("e", i+1), Kind: incident.EvidenceObject, Ref: pod, ResourceVersion: "4711",
			Path: "/status/containerStatuses/0/lastState/terminated/reason", Value: value, ObservedAt: time.Now(), SHA256: incident.HashValue(value),
		})
	}
	return wire.IncidentResponse{
		IncidentID: in.IncidentID, Analysis: summary, Confidence: 0.92, Timestamp: time.Now().UTC().Format(time.RFC3339Nano),
		RootCauseAnalysis: wire.RootCauseAnalysis{Summary: &summary, Severity: &high, SignalType: &in.SignalType, ContributingFactors: []string{"traffic rose by a third"}},
		SelectedWorkflow: &wire.SelectedWorkflow{
			WorkflowID: "9c1d3f2a-5b7e-4c7f-9a3d-1d2e3f4a5b6c", Version: "1.4.0", ContainerImage: image, ContainerImageCamel: &image, Confidence: 0.92,
			Rationale: "It raises the limit above the working set.", Parameters: map[string]any{"NAMESPACE": in.ResourceNamespace, "MEMORY_LIMIT": "512Mi"},
		},
		TargetInOwnerChain: &yes, BundleDigest: &digest, CauseClass: &[]string{"oom-limit"}[0],
		CausalChain: []incident.Link{
			{Subject: pod, Statement: "The container was killed for memory.", Evidence: []string{"e1", "e2"}},
			{Subject: pod, Statement: "Its working set reached its limit.", Evidence: []string{"e3"}},
			{Subject: deployment, Statement: "The deployment sets the limit to 256Mi.", Evidence: []string{"e4"}},
		},
		Evidence:   evidence,
		Candidates: []incident.Candidate{{WorkflowID: "raise", Chosen: true, Score: 1, Reason: "remedies oom-limit"}, {WorkflowID: "restart", Score: 0.4, Reason: "does not remove the cause"}},
	}
}

// process is the controller.
type process struct {
	command *exec.Cmd
	metrics string
	log     *os.File
}

func (w *world) startController(ctx context.Context) (*process, error) {
	metrics, health := freeAddress(), freeAddress()
	cfg := config.DefaultAIAnalysis()
	cfg.Controller.MetricsAddr, cfg.Controller.HealthProbeAddr = metrics, health
	cfg.Controller.Kubeconfig = w.server.Kubeconfig()
	cfg.HolmesGPT.URL, cfg.DataStorage.URL = w.hapi.URL, w.url
	cfg.Audit.Dir = filepath.Join(w.dir, "spool")
	cfg.Logging.Level = "warn"
	var err error
	if cfg.Rego.PolicyPath, err = filepath.Abs(w.options.policy); err != nil {
		return nil, err
	}
	file := filepath.Join(w.dir, "aianalysis.yaml")
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(config.Print(f, cfg), f.Close()); err != nil {
		return nil, err
	}
	p := &process{metrics: "http://" + metrics + "/metrics"}
	if p.log, err = os.Create(filepath.Join(w.dir, "aianalysis.log")); err != nil {
		return nil, err
	}
	p.command = exec.Command(w.binary, "-config", file)
	p.command.Stdout, p.command.Stderr = p.log, p.log
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if resp, err := http.Get("http://" + health + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p, nil
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return p, fmt.Errorf("the controller did not become ready; see %s", p.log.Name())
		}
	}
}

// freeAddress returns an address that was free a moment ago.
func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (p *process) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.command.Wait(); err != nil {
		text, _ := os.ReadFile(p.log.Name())
		return fmt.Errorf("the controller ended with %w:\n%s", err, text[max(len(text)-2000, 0):])
	}
	return p.log.Close()
}

func (w *world) close() error {
	var errs []error
	if w.process != nil {
		errs = append(errs, w.process.stop())
	}
	if w.hapi != nil {
		w.hapi.Close()
	}
	if w.storage != nil {
		errs = append(errs, w.storage())
	}
	if w.server != nil {
		errs = append(errs, w.server.Stop())
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}
