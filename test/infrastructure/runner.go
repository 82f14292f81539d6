package infrastructure

import (
	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// runner runs programs that must meet the engine of this run. It logs into t's log, if there is one.
func (h *Harness) runner(t *plan.Task) command.Runner {
	var r command.Runner
	if t != nil {
		r = t.Command()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.engine != nil {
		r = r.With(nil, h.engine.Env()...)
	}
	return r
}
