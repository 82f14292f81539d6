package e2ecli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"kubernaut.ai/kubernaut/test/infrastructure"
	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

const soakRuns = 5

func soak(ctx context.Context, c *call) (int, error) {
	if *c.runs < 1 {
		fmt.Fprintf(c.Err, "e2e soak: -n %d: want the number of runs, 1 at least\n", *c.runs)
		return failure.ExitUsage, nil
	}
	seed := *c.seed
	for seed == 0 {
		seed = rand.Uint64()
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("a second run: %w", err)
	}
	s := infrastructure.Soak{
		Runs: *c.runs, Seed: seed,
		Again: command.Cmd{Name: self, Args: []string{"up", c.suite.Name}, Env: []string{"E2E_LOCK_WAIT=0s"}, Quiet: true},
	}
	runs, soakErr := s.Soak(ctx, c.suite, c.options())
	fmt.Fprintf(c.Out, "\n%d of %d runs, seed %d\n", len(runs), s.Runs, seed)
	code, err := infrastructure.Table(c.Out, runs)
	if err := errors.Join(soakErr, err); err != nil {
		if ctx.Err() != nil {
			return failure.ExitInterrupted, nil
		}
		return 0, err
	}
	return code, nil
}
