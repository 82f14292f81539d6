package infrastructure_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/replay"
	"kubernaut.ai/kubernaut/test/infrastructure/rollout"
)

// envOrder makes the test's program run the harness instead of tests. Kind's library takes the environment and the
// children of its process for its own, so that each run of the harness gets a process.
const envOrder = "E2E_REPLAY_ORDER"

// order is what a process of the harness is to do.
type order struct {
	Command string // run, resume, down
	Until   string
	Root    string // of the sources
	Real    bool   // the suite is one of the product's; else it is as small as can be
	Health  string // the base URL of the service
	Port    int32  // of the host, that is published
	Engine  string // what the diagnosis engine does, of engines; "real": it is the product's
}

const replayed = "replayed" // the cluster

func TestMain(m *testing.M) {
	if text := os.Getenv(envOrder); text != "" {
		os.Exit(obey(text))
	}
	if text := os.Getenv(envReal); text != "" {
		os.Exit(realCommand(text))
	}
	os.Exit(m.Run())
}

// suite is what the order is about.
func (o order) suite() infrastructure.Suite {
	s := infrastructure.Suite{
		Name: replayed, Cluster: replayed, Overlay: "overlays/e2e", Workers: 1, Specs: "test/e2e", Procs: 1,
		Images:    []image.Spec{{Name: "replayed", Package: "cmd/replayed", Dockerfile: "docker/replayed.Dockerfile", Counters: true}, image.Workload()},
		Endpoints: rollout.DataStorage(o.Health), Patience: time.Second,
	}
	if o.Real {
		s.Images = append(image.Services(), image.Workload())
		s.Ports = map[int32]int32{48184: 30284, 49184: 30184, 48088: 30088, 48091: 30081, 48084: 30084} // nobody listens there
		s.Reserved = []int32{30084}
		s.Specs = "test/e2e/datastorage"
	}
	if o.Port != 0 {
		s.Ports = map[int32]int32{o.Port: 30000}
		s.Reserved = []int32{30000}
	}
	return s
}

// obey runs the harness and returns its exit code.
func obey(text string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return failure.ExitUsage
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	patience := 2 * time.Second // with an engine that hangs
	if o.Engine == "real" {
		patience = 0
	}
	w := &replay.World{Dir: os.Getenv(replay.EnvDir)}
	h, err := infrastructure.Open(o.suite(), infrastructure.Options{
		Getenv: os.Getenv, Out: os.Stdout, Source: o.Root, Diagnose: engines()[o.Engine], DiagnosisTime: patience,
		Faults: func(_ context.Context, phase string) {
			if err := w.Phase(phase); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		},
	})
	if err != nil {
		return fail(err)
	}
	if o.Command == "down" {
		left, err := h.Down(ctx, true)
		if err != nil || len(left) > 0 {
			return fail(fmt.Errorf("down: left %v: %w", left, err))
		}
		return failure.ExitOK
	}
	out, err := h.Run(ctx, infrastructure.Range{Until: o.Until, Resume: slices.Contains([]string{"resume", "up"}, o.Command)})
	if err != nil {
		return fail(err)
	}
	return out.ExitCode()
}
