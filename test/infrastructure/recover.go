package infrastructure

import (
	"context"
	"fmt"
	"path/filepath"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// recreate is the remedy of the table for a cluster that has lost a node.
const recreate = "recreate-cluster"

type phase func(ctx context.Context, t *plan.Task) error

// onCluster returns work, the function of a phase that needs every node. It ends when a node does. Then, once, the cluster is
// made again, restored to where the phase began by the functions of the phases before, which nobody else would run
// again, and the work is done on that.
func (h *Harness) onCluster(work phase, restore ...phase) phase {
	return func(ctx context.Context, t *plan.Task) error {
		err := h.whileNodesRun(ctx, t, work)
		if err == nil || ctx.Err() != nil {
			return err
		}
		lost, ok := h.lostNode(ctx, t.Phase, err)
		if !ok {
			return err
		}
		return t.Unit(ctx, "the cluster, made again", plan.Unit{
			Do: func(ctx context.Context, attempt int) error {
				if attempt == 1 {
					return failure.With(err, lost)
				}
				return h.whileNodesRun(ctx, t, work)
			},
			Evidence: func(ctx context.Context, dir string) { h.nodeLogs(ctx, t, dir) },
			Cleanup: func(ctx context.Context, _ failure.Finding) (bool, error) {
				if err := h.createCluster(ctx, t, true); err != nil {
					return false, err
				}
				for _, before := range restore {
					if err := before(ctx, t); err != nil {
						return false, err
					}
				}
				return true, nil
			},
		})
	}
}

// whileNodesRun does work and ends it when a node ends, whose end is then the error.
func (h *Harness) whileNodesRun(ctx context.Context, t *plan.Task, work phase) error {
	c, err := h.open(ctx, t.Facts)
	if err != nil {
		return err
	}
	watched, end := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	go func() {
		err := c.NodeEnds(watched)
		if err != nil {
			end(err)
		}
		ended <- err
	}()
	err = work(watched, t)
	end(nil)
	if lost := <-ended; lost != nil && err != nil {
		return lost
	}
	return err
}

// lostNode returns the failure among those that err joins which a new cluster remedies, as one that nobody has tried to.
func (h *Harness) lostNode(ctx context.Context, name string, err error) (failure.Finding, bool) {
	for _, f := range failure.ClassifyAll(ctx, name, err, h.asks) {
		if f.Remedy == recreate && f.Retries > 0 {
			f.Unit, f.Tried = "", nil
			return f, true
		}
	}
	return failure.Finding{}, false
}

// nodeLogs saves the logs of the nodes as evidence.
func (h *Harness) nodeLogs(ctx context.Context, t *plan.Task, dir string) {
	c, err := h.open(ctx, t.Facts)
	if err == nil {
		err = c.SaveLogs(ctx, filepath.Join(dir, "nodes"))
	}
	if err != nil {
		fmt.Fprintf(t.Log, "not all logs are saved: %v\n", err)
	}
}
