package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// NodeEnds returns when the container of a node has ended, with a failure.Typed of class stale that says which one; nil
// when ctx ends before, or where the engine cannot tell. It asks once and is told.
func (c *Cluster) NodeEnds(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var first sync.Once
	var ended error
	var waiting sync.WaitGroup
	for _, name := range c.c.nodeNames() {
		waiting.Go(func() {
			args := []string{"wait", name}
			if c.engine.Kind() == engine.Podman { // which looks once in this time
				args = []string{"wait", "--interval", "1s", name}
			}
			wait := c.engine.Command(args...)
			wait.Quiet = true
			out, err := c.engine.Run(ctx, wait)
			if ctx.Err() != nil {
				return
			}
			if failed := new(command.Error); errors.As(err, &failed) && !strings.Contains(strings.ToLower(failed.Output), "no such container") {
				return // it is the engine that does not answer, which others will notice
			}
			first.Do(func() {
				line := fmt.Sprintf("node %s ended with exit code %s", name, strings.TrimSpace(string(out)))
				if err != nil {
					line = fmt.Sprintf("node %s was removed: %v", name, err)
				}
				ended = failure.New(failure.Stale, "F14", fmt.Sprintf("the container of node %s has ended", name), "", line)
				stop()
			})
		})
	}
	waiting.Wait()
	return ended
}
