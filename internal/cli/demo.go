package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli/stage"
	"kubernaut.ai/kubernaut/internal/controlplane"
	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
)

// analysisDeadline is how long the demo waits for one analysis.
const analysisDeadline = time.Minute

func (c *command) demo() *cobra.Command {
	var dataDir string
	var only []string
	var keep bool
	var format output
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Stage broken workloads and report what was found, proposed and decided",
		Long: `Stage broken workloads, and a healthy one, on a Kubernetes API server of its own, create an AIAnalysis
for each, and report what was found, proposed and decided. The exit code is 1 when a verdict is not the
expected one.

The API server, its admission and its controllers are real. Nothing runs: what a scheduler and kubelets
would have reported of the workloads is written through the same API.`,
		Example: `  kubernaut demo
  kubernaut demo --only oom-kill,bad-rollout --keep
  kubernaut demo -o json`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			scenarios, err := chosen(only)
			if err != nil {
				return &usageError{err: err}
			}
			return c.runDemo(cmd.Context(), scenarios, dataDir, keep, format)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "data `directory`, which must be new (default: a temporary one, removed at the end)")
	cmd.Flags().StringSliceVar(&only, "only", nil, "`names` of the scenarios to stage (default: all)")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep everything running after the report, until Ctrl-C")
	bindOutput(cmd, &format, "text", "json")
	return cmd
}

// chosen returns the scenarios with the given names, all when there is none.
func chosen(names []string) ([]stage.Scenario, error) {
	all, err := stage.Scenarios()
	if err != nil || len(names) == 0 {
		return all, err
	}
	known := make([]string, len(all))
	for i, s := range all {
		known[i] = s.Name
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("there is no scenario %q; there are %s", n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(s stage.Scenario) bool { return !slices.Contains(names, s.Name) }), nil
}

func (c *command) runDemo(ctx context.Context, scenarios []stage.Scenario, dataDir string, keep bool, format output) error {
	p := newProgress(c.Err, c.err, format == "json", c.clock)
	defer p.close()
	dir, remove, err := demoDir(dataDir)
	if err != nil {
		return err
	}
	defer remove()
	start := c.clock()
	s, err := startSystem(ctx, systemOptions{dir: dir, progress: p, clock: c.clock, env: c.ownAPIServer})
	if err != nil {
		return err
	}
	err = c.demoOn(ctx, s, scenarios, p, format, start, keep)
	return s.stopAfter(err, p)
}

// demoDir returns the directory of a demo: the given one, which must hold nothing, or a temporary one.
// remove takes a temporary one away.
func demoDir(given string) (dir string, remove func(), err error) {
	if given == "" {
		dir, err = os.MkdirTemp("", "kubernaut-demo-")
		return dir, func() { os.RemoveAll(dir) }, err
	}
	if dir, err = filepath.Abs(given); err != nil {
		return "", nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	if len(entries) > 0 {
		return "", nil, fmt.Errorf("%s is not empty: what an earlier demo left there would be staged a second time; give a new directory", dir)
	}
	return dir, func() {}, nil
}

// ownAPIServer is the environment without what would choose an API server that has nodes of its own,
// or no controllers.
func (c *command) ownAPIServer(name string) string {
	if name == controlplane.EnvKubeconfig || name == controlplane.EnvAssets {
		return ""
	}
	return c.env(name)
}

// demoOn runs the scenarios on a running system and reports. The error is errReported when a verdict
// is not the expected one.
func (c *command) demoOn(ctx context.Context, s *system, scenarios []stage.Scenario, p *progress, format output, start time.Time, keep bool) error {
	cluster, err := stage.New(s.config, c.clock, s.logger)
	if err != nil {
		return err
	}
	defer cluster.Close()
	api, err := newAnalyses(s.config)
	if err != nil {
		return err
	}
	// Connections that stay open would hold up the end of Data Storage.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	storage, err := dsapi.NewClient(s.state.DataStorage, &http.Client{Transport: transport, Timeout: analysisDeadline})
	if err != nil {
		return err
	}
	background, cancel := context.WithCancel(ctx)
	defer cancel()
	renewing := make(chan struct{})
	go func() { defer close(renewing); cluster.Run(background) }()
	defer func() { cancel(); <-renewing }()

	cases := make([]*demoCase, len(scenarios))
	finished := make(chan struct{})
	for i, sc := range scenarios {
		cases[i] = &demoCase{scenario: sc, api: api, storage: storage, clock: c.clock}
		go func() {
			cases[i].run(background, cluster, p.start(sc.Name))
			finished <- struct{}{}
		}()
	}
	for range cases {
		<-finished
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	summary := summarize(cases, c.clock().Sub(start))
	if format == "json" {
		err = printObject(c.Out, format, summary)
	} else {
		err = c.writeDemo(cases, summary)
	}
	if err != nil {
		return err
	}
	if keep {
		if format != "json" {
			if err := c.announceDemo(s); err != nil {
				return err
			}
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
	return summary.outcome()
}

// demoCase is one scenario on its way to a verdict. Its fields are written by run and read after it.
type demoCase struct {
	scenario stage.Scenario
	api      *analyses
	storage  *dsapi.Client
	clock    func() time.Time

	analysis *v1alpha1.AIAnalysis // nil when there is none
	took     time.Duration        // from its creation to its end
	workflow string               // name in the catalog of the chosen one
	chain    *incident.ChainReport
	problems []string // why the verdict is not the expected one
}

func (d *demoCase) run(ctx context.Context, cluster *stage.Cluster, t *task) {
	t.update("staging")
	if err := d.try(ctx, cluster, t); err != nil {
		d.problems = append(d.problems, err.Error())
	}
	if len(d.problems) > 0 {
		t.fail(errors.New(d.problems[0]))
		return
	}
	t.done("%s in %s", causeOf(d.analysis), seconds(d.took))
}

func (d *demoCase) try(ctx context.Context, cluster *stage.Cluster, t *task) error {
	if err := cluster.Stage(ctx, d.scenario); err != nil {
		return err
	}
	created := d.clock()
	a, err := d.api.create(ctx, analysisOf(d.scenario))
	if err != nil {
		return err
	}
	if d.analysis, err = d.await(ctx, a, t); err != nil {
		return err
	}
	d.took = d.clock().Sub(created)
	if wf := d.analysis.Status.SelectedWorkflow; wf != nil {
		w, err := d.storage.Workflow(ctx, wf.WorkflowID)
		if err != nil {
			return fmt.Errorf("look up workflow %s: %w", wf.WorkflowID, err)
		}
		d.workflow = w.Name
	}
	chain, err := d.storage.VerifyChain(ctx, d.analysis.Spec.RemediationID)
	if err != nil {
		return fmt.Errorf("verify the audit trail: %w", err)
	}
	d.chain = &chain
	d.problems = d.check()
	return nil
}

// await returns the analysis when it has ended.
func (d *demoCase) await(ctx context.Context, a *v1alpha1.AIAnalysis, t *task) (*v1alpha1.AIAnalysis, error) {
	ctx, cancel := context.WithTimeout(ctx, analysisDeadline)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !a.Status.Phase.Terminal() {
		t.update("%s", strings.ToLower(string(a.Status.Phase)))
		select {
		case <-ctx.Done():
			return a, fmt.Errorf("phase %s after %s: %w", a.Status.Phase, analysisDeadline, ctx.Err())
		case <-tick.C:
		}
		now, err := d.api.get(ctx, a.Namespace, a.Name)
		if err != nil {
			return a, err
		}
		a = now
	}
	return a, nil
}

// analysisOf is the AIAnalysis that an alert about the scenario would lead to.
func analysisOf(s stage.Scenario) *v1alpha1.AIAnalysis {
	return &v1alpha1.AIAnalysis{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name},
		Spec: v1alpha1.AIAnalysisSpec{
			RemediationID: uuid.NewString(),
			AnalysisRequest: v1alpha1.AnalysisRequest{
				AnalysisTypes: []string{"investigation", "root-cause", "workflow-selection"},
				SignalContext: v1alpha1.SignalContext{
					SignalType:       s.Signal.Type,
					Severity:         s.Signal.Severity,
					Environment:      s.Signal.Environment,
					BusinessPriority: s.Signal.Priority,
					TargetResource: v1alpha1.TargetResource{
						Kind: s.Target.Kind, Namespace: s.Namespace, Name: s.Target.Name,
					},
				},
			},
		},
	}
}

// check compares the verdict with the expected one.
func (d *demoCase) check() []string {
	var problems []string
	expect := func(what, got, want string) {
		if got != want {
			problems = append(problems, fmt.Sprintf("%s: got %q, want %q", what, got, want))
		}
	}
	got := d.verdict()
	want := expectation(d.scenario)
	expect("phase", got.Phase, want.Phase)
	expect("cause", got.Cause, want.Cause)
	expect("target", got.Target, want.Target)
	expect("workflow", got.Workflow, want.Workflow)
	expect("decision", got.Decision, want.Decision)
	if d.chain == nil || !d.chain.Valid || d.chain.Events == 0 {
		problems = append(problems, "the audit trail does not verify")
	}
	return problems
}

// decisions of a verdict.
const (
	decisionNone   = "nothing to approve"
	decisionPolicy = "approved by policy"
	decisionPerson = "a person must approve"
	decisionReview = "a person must look"
)

// demoVerdict is what an analysis came to, or should have.
type demoVerdict struct {
	Phase    string `json:"phase"`
	Cause    string `json:"cause"` // "healthy" when nothing is wrong
	Target   string `json:"target,omitempty"`
	Workflow string `json:"workflow,omitempty"`
	Decision string `json:"decision"`
}

func (d *demoCase) verdict() demoVerdict {
	if d.analysis == nil {
		return demoVerdict{}
	}
	s := &d.analysis.Status
	v := demoVerdict{Phase: string(s.Phase), Cause: causeOf(d.analysis), Workflow: d.workflow, Decision: decisionOf(d.analysis)}
	if s.RootCauseAnalysis != nil && s.RootCauseAnalysis.Target != nil && s.CauseClass != "" {
		v.Target = refText(*s.RootCauseAnalysis.Target)
	}
	return v
}

func decisionOf(a *v1alpha1.AIAnalysis) string {
	switch s := &a.Status; {
	case !s.Phase.Terminal():
		return ""
	case s.Phase == v1alpha1.PhaseFailed:
		return decisionReview
	case s.SelectedWorkflow == nil:
		return decisionNone
	case s.ApprovalRequired:
		return decisionPerson
	default:
		return decisionPolicy
	}
}

func expectation(s stage.Scenario) demoVerdict {
	if s.Expect.Cause == "" {
		return demoVerdict{Phase: string(v1alpha1.PhaseCompleted), Cause: "healthy", Decision: decisionNone}
	}
	ref := incident.Ref{Kind: s.Expect.Target.Kind, Namespace: s.Namespace, Name: s.Expect.Target.Name}
	if ref.Kind == "Node" {
		ref.Namespace = ""
	}
	v := demoVerdict{
		Phase: string(v1alpha1.PhaseCompleted), Cause: s.Expect.Cause, Target: ref.String(), Workflow: s.Expect.Workflow, Decision: decisionPolicy,
	}
	if s.Expect.Approval {
		v.Decision = decisionPerson
	}
	return v
}
