package infrastructure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
	"kubernaut.ai/kubernaut/test/infrastructure/report"
)

// The environment of a run. E2E_RUNTIME, E2E_STATE_DIR, E2E_EGRESS and E2E_NODE_IMAGE belong to the packages that read them.
const (
	envCoverage    = "E2E_COVERAGE"    // "true": compile counters in, collect them, report
	envKeepCluster = "KEEP_CLUSTER"    // not empty: the cluster stays whatever happens
	envSkipCleanup = "SKIP_CLEANUP"    // the same, by its older name
	envFresh       = "E2E_FRESH"       // "true": a cluster that is there is not used again; so it is where CI is set
	envLockWait    = "E2E_LOCK_WAIT"   // how long to wait for another run of the same cluster; a Go duration
	envSpecs       = "E2E_SPECS"       // further arguments of ginkgo, as --focus=…
	envTarget      = "E2E_TARGET_FILE" // set for the specifications: where the cluster that they test is
)

// lockWait is how long a run waits for another one of the same cluster, unless the environment says otherwise.
const lockWait = 10 * time.Minute

// Options are what a Harness takes from the process that it runs in. Getenv and Out are required.
type Options struct {
	Getenv func(string) string
	Setenv func(name, value string) error // for what Kind's library reads; nil: os.Setenv
	// Out gets the progress of runs and what commands print.
	Out io.Writer
	// Terminal says that Out is one, which can be drawn on; Color that it may have colours.
	Terminal, Color bool
	// Source is the root of the repository; empty: looked for from the working directory upwards.
	Source string
	// Clock tells the time; nil: time.Now.
	Clock func() time.Time
	// Abort, when closed, ends also what runs finally.
	Abort <-chan struct{}
	// Diagnose says what is wrong in the cluster of a run that failed; nil: the product's own engine.
	Diagnose Diagnoser
	// DiagnosisTime bounds that; zero: 20 s.
	DiagnosisTime time.Duration
	// Faults, in tests of the harness, is called at the start of each phase with its name.
	Faults func(ctx context.Context, phase string)
}

// Harness runs the phases of one suite. Its methods that run phases take the lock of the suite's cluster; two of them must not
// run at once in one process.
type Harness struct {
	Suite Suite

	o        Options
	root     string // of the repository
	state    string // directory of all clusters
	dir      string // directory of this cluster
	coverage bool
	held     bool // the engine had all images when the run was planned

	mu       sync.Mutex
	engine   *engine.Engine
	failed   bool              // a phase of this run did not succeed
	failures []string          // the phases of this run that failed
	verdict  *report.Diagnosis // of the engine about this run
	asks     failure.Probes    // of this run
	refs     []string          // of the images that were loaded
}

// Open returns the harness of a suite. It looks at nothing but the environment and the repository.
func Open(s Suite, o Options) (*Harness, error) {
	crlog.SetLogger(logr.Discard()) // the library complains of a process that has not chosen
	if o.Clock == nil {
		o.Clock = time.Now
	}
	o.DiagnosisTime = cmp.Or(o.DiagnosisTime, 20*time.Second)
	if o.Setenv == nil {
		o.Setenv = os.Setenv
	}
	root, err := sourceRoot(o.Source)
	if err != nil {
		return nil, err
	}
	state, err := engine.StateDir(o.Getenv)
	if err != nil {
		return nil, err
	}
	return &Harness{
		Suite: s, o: o, root: root, state: state, dir: filepath.Join(state, s.Cluster),
		coverage: o.Getenv(envCoverage) == "true",
	}, nil
}

// sourceRoot is the root of the clone of this repository that dir, or else the working directory, is in.
func sourceRoot(dir string) (string, error) {
	if dir == "" {
		wd, err := os.Getwd()
		if err != nil {
			return "", err
		}
		dir = wd
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "deploy", "overlays", "e2e")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not in a clone of this repository: change into one", dir)
		}
	}
}

// Kubeconfig is the file that reaches the cluster.
func (h *Harness) Kubeconfig() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("a place for the kubeconfig: %w", err)
	}
	return filepath.Join(home, ".kube", h.Suite.Cluster+"-config"), nil
}

// detect finds the engine, once, and exports it to what runs programs by itself.
func (h *Harness) detect(ctx context.Context) (*engine.Engine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.engine != nil {
		return h.engine, nil
	}
	e, err := engine.Detect(ctx, command.Runner{}, engine.Host{Getenv: h.o.Getenv, StateDir: h.state})
	if err != nil {
		return nil, err
	}
	if err := e.Export(h.o.Setenv); err != nil {
		return nil, err
	}
	h.engine = e
	return e, nil
}

// Range is which phases to run.
type Range struct {
	// Until is the last one; empty: all.
	Until string
	// Resume takes over from the checkpoint what still holds.
	Resume bool
}

// Outcome is how a run ended.
type Outcome struct {
	plan.Result
	// Report is the page that says what happened.
	Report string
}

// Run runs phases of the suite and writes the report. Failures of phases are in the outcome; an error says that there
// was no run, or no report.
func (h *Harness) Run(ctx context.Context, which Range) (Outcome, error) {
	run := plan.NewRunID(h.o.Clock())
	held, locked := h.lock(ctx, run)
	if locked == nil {
		defer held.Release() //nolint:errcheck // the kernel gives it back when this process ends
	}
	p := h.plan(ctx, locked)
	h.asks = h.probes(ctx, run)
	console := report.NewConsole(h.o.Out, report.ConsoleOptions{Terminal: h.o.Terminal, Color: h.o.Color, Clock: h.o.Clock})
	result, err := plan.Run(ctx, p, plan.Options{
		Dir: h.dir, RunID: run, Clock: h.o.Clock, CPU: ownCPU, Resume: which.Resume, Until: which.Until, Abort: h.o.Abort,
		Probes: h.asks,
		Observe: func(e plan.Event) {
			h.observe(e)
			console.Event(e)
		},
		OnInterrupt: func() { fmt.Fprintln(h.o.Out, "interrupted; ending what runs (once more: end at once)") },
	})
	console.Close()
	if err != nil {
		return Outcome{Result: result}, fmt.Errorf("run %s: %w", h.Suite.Name, err)
	}
	page, err := report.Write(result, report.Options{
		History: filepath.Join(h.dir, "history.jsonl"), SpecReports: specReports(result), Next: h.next(result), Diagnosis: h.verdict,
	})
	if err != nil {
		return Outcome{Result: result}, fmt.Errorf("report of run %s: %w", run, err)
	}
	if err := console.Summary(result, page, h.verdict, h.next(result)...); err != nil {
		return Outcome{Result: result}, err
	}
	return Outcome{Result: result, Report: page}, nil
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// observe remembers whether something failed, for what runs finally.
func (h *Harness) observe(e plan.Event) {
	if e.Kind != plan.PhaseEnded {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Status == plan.Failed || e.Status == plan.Interrupted {
		h.failed = true
	}
	if e.Status == plan.Failed {
		h.failures = append(h.failures, e.Phase)
	}
}

func (h *Harness) anyFailed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

// lock takes the cluster's lock, waiting for another run for a while.
func (h *Harness) lock(ctx context.Context, run string) (*lock.Lock, error) {
	patience := lockWait
	if text := h.o.Getenv(envLockWait); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, failure.New(failure.Host, "", fmt.Sprintf("%s is no duration: %v", envLockWait, err), "set it to one such as 10m, or to 0 in order not to wait")
		}
		patience = d
	}
	host, _ := os.Hostname()
	holder := lock.Holder{PID: os.Getpid(), Host: host, RunID: run, Since: h.o.Clock()}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	held, err := lock.Wait(waiting, engine.LockPath(h.state, h.Suite.Cluster), holder, func(other lock.Holder) {
		fmt.Fprintf(h.o.Out, "waiting for %s, at most %s\n", other, patience)
	})
	if other := new(lock.Held); errors.As(err, &other) && ctx.Err() == nil {
		return nil, failure.With(err, failure.Finding{
			Class: failure.Host, Summary: fmt.Sprintf("another run of cluster %s goes on: %s", h.Suite.Cluster, other.Holder),
			Fix: fmt.Sprintf("wait for it, or end it: kill %d", other.Holder.PID),
		})
	}
	return held, err
}

// builder returns what builds the images.
func (h *Harness) builder(e *engine.Engine) *image.Builder {
	return &image.Builder{Root: h.root, StateDir: h.state, Engine: e, Coverage: h.coverage}
}
