package infrastructure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// Files in the cluster's directory and in that of the specs phase.
const (
	targetFile = "target.json"
	junitFile  = "junit.xml"
	jsonFile   = "specs.json"
)

// Cluster is where a suite's cluster is and how to reach what runs in it. It travels as JSON.
type Cluster struct {
	Suite      string `json:"suite"`
	Name       string `json:"name"`
	Kubeconfig string `json:"kubeconfig"`
	// Runtime is the container engine that the nodes run on.
	Runtime string `json:"runtime"`
	URLs    URLs   `json:"urls"`
	// WorkloadImage is the image of test/e2e/workload, as nodes know it.
	WorkloadImage string `json:"workloadImage"`
	// Coverage says that the services count what they run.
	Coverage bool `json:"coverage,omitempty"`
}

func (h *Harness) target(f *plan.Facts) (Cluster, error) {
	kubeconfig, err := h.Kubeconfig()
	if err != nil {
		return Cluster{}, err
	}
	c := Cluster{Suite: h.Suite.Name, Name: h.Suite.Cluster, Kubeconfig: kubeconfig, URLs: h.Suite.URLs, Coverage: h.coverage}
	if h.engine != nil {
		c.Runtime = string(h.engine.Kind())
	}
	images, err := loaded(f)
	if err != nil {
		return Cluster{}, err
	}
	for _, img := range images {
		if strings.HasPrefix(img.Ref, image.Workload().Repository()+":") {
			c.WorkloadImage = img.Ref
		}
	}
	return c, nil
}

func (h *Harness) deployDir() string { return filepath.Join(h.root, "deploy") }

func (h *Harness) ginkgo() string { return filepath.Join(h.state, "bin", "ginkgo") }

func (h *Harness) specBinary() string { return filepath.Join(h.dir, "bin", h.Suite.Name+".test") }

// compileSpecs compiles the specifications and what runs them, while there is time.
func (h *Harness) compileSpecs(ctx context.Context, t *plan.Task) error {
	return t.Unit(ctx, "specifications", plan.Unit{
		Do: func(ctx context.Context, _ int) error {
			both, ctx := errgroup.WithContext(ctx)
			for _, args := range [][]string{
				{"build", "-o", h.ginkgo(), "github.com/onsi/ginkgo/v2/ginkgo"},
				{"test", "-c", "-tags=e2e", "-o", h.specBinary(), "./" + h.Suite.Specs},
			} {
				both.Go(func() error {
					_, err := t.Command().Run(ctx, command.Cmd{Name: "go", Args: args, Dir: h.root})
					return err
				})
			}
			return both.Wait()
		},
		Deadline: 20 * time.Minute,
	})
}

func (h *Harness) specsCompiled() error {
	for _, file := range []string{h.ginkgo(), h.specBinary()} {
		if _, err := os.Stat(file); err != nil {
			return err
		}
	}
	return nil
}

// specs runs the specifications in processes of their own: whatever becomes of those, evidence is gathered here.
func (h *Harness) specs(ctx context.Context, t *plan.Task) error {
	// What was compiled while the cluster was created is what was tested then; the sources may have changed since.
	if err := h.compileSpecs(ctx, t); err != nil {
		return err
	}
	artifacts := filepath.Join(t.Dir, "artifacts")
	args := []string{
		"run", "--procs=" + strconv.Itoa(h.Suite.Procs), "--no-color", "--keep-going", "--output-interceptor-mode=none",
		"--timeout=80m", "--poll-progress-after=2m", "--output-dir=" + t.Dir, "--junit-report=" + junitFile, "--json-report=" + jsonFile,
	}
	args = append(args, strings.Fields(h.o.Getenv(envSpecs))...)
	args = append(args, h.specBinary())
	_, err := t.Command().Run(ctx, command.Cmd{
		Name: h.ginkgo(), Args: args, Dir: filepath.Join(h.root, h.Suite.Specs),
		Env: append(h.engine.Env(), envTarget+"="+filepath.Join(h.dir, targetFile), "E2E_ARTIFACTS="+artifacts, h.stateEntry()),
	})
	failed, ran, readErr := failedSpecs(filepath.Join(t.Dir, jsonFile))
	switch {
	case readErr == nil && len(failed) > 0:
		return failure.With(err, failure.Finding{
			Row: "X01", Class: failure.Permanent, Product: true, Lines: failed,
			Summary: fmt.Sprintf("%d of %d specifications failed", len(failed), ran),
			Fix:     "read " + filepath.Join(t.Dir, "log.txt") + " and the evidence in " + artifacts,
		})
	case err != nil:
		return err // no report, or one without a failure: the output says why
	case errors.Is(readErr, fs.ErrNotExist) || ran == 0:
		return failure.New(failure.Unknown, "", "no specification ran", "look at what E2E_SPECS selects: "+strconv.Quote(h.o.Getenv(envSpecs)))
	}
	t.Note("%d specifications passed", ran)
	return readErr
}

// stateEntry is E2E_STATE_DIR for a child that works elsewhere: where the directory is, and whether it is the usual one.
func (h *Harness) stateEntry() string {
	if h.o.Getenv("E2E_STATE_DIR") == "" {
		return "E2E_STATE_DIR="
	}
	return "E2E_STATE_DIR=" + h.state
}

// failedSpecs reads ginkgo's report: what failed, with the message, and how many specifications ran.
func failedSpecs(file string) (failed []string, ran int, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, 0, err
	}
	var suites []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			Failure                 struct{ Message string }
		}
	}
	if err := json.Unmarshal(content, &suites); err != nil {
		return nil, 0, fmt.Errorf("ginkgo's report %s: %w", file, err)
	}
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			bad := spec.State != "passed" && spec.State != "skipped" && spec.State != "pending"
			if spec.LeafNodeType == "It" && (bad || spec.State == "passed") {
				ran++
			}
			if bad {
				name := strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " ")
				if spec.LeafNodeType != "It" {
					name = spec.LeafNodeType + " " + name
				}
				message, _, _ := strings.Cut(strings.TrimSpace(spec.Failure.Message), "\n")
				failed = append(failed, strings.TrimSpace(name)+": "+spec.State+": "+message)
			}
		}
	}
	return failed, ran, nil
}

// specReports are ginkgo's reports of a run, for the run's own.
func specReports(r plan.Result) []string {
	var files []string
	for _, ph := range r.Phases {
		if ph.Name == phaseSpecs && ph.Dir != "" {
			files = append(files, filepath.Join(ph.Dir, junitFile))
		}
	}
	return files
}
