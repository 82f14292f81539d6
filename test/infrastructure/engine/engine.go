package engine

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

// Labels and names of what a run leaves on the host while it lives.
const (
	// Label is on every image, container, network and volume of ours. Its value is the cluster's name, ImageValue on
	// images, its own name on the network, which the clusters of a state directory share.
	Label = "ai.kubernaut.e2e"
	// KeyLabel is on images: the key of the content that they were built from.
	KeyLabel = "ai.kubernaut.e2e.key"
	// KindLabel is what Kind puts on the containers of nodes. Its value is the cluster's name.
	KindLabel = "io.x-k8s.kind.cluster"
	// ImageValue is the value of Label on images.
	ImageValue = "image"
	// NetworkName is the network of all nodes on the usual state directory.
	NetworkName = "kubernaut-e2e"
)

// Kind is which engine it is.
type Kind string

// The engines that Kind can work with and that are supported here.
const (
	Podman Kind = "podman"
	Docker Kind = "docker"
)

const (
	quick = time.Minute      // a question to the engine, which a busy machine answers late
	slow  = 10 * time.Minute // images, which may be large and on slow disks
	stall = 2 * time.Minute
)

// Engine is a container engine that has answered. It is safe for concurrent use and does not change. Every error of
// its methods names the operation and, where a command failed, wraps its *command.Error.
type Engine struct {
	kind   Kind
	runner command.Runner
	env    []string
	host   Host
	info   Info
	notes  []string
	remote string // the name of Podman's machine, when the containers run in one
}

// Kind tells which engine it is. It is also the name of the program.
func (e *Engine) Kind() Kind { return e.kind }

// Info is what the engine said about itself when it was detected.
func (e *Engine) Info() Info { return e.info }

// Notes are the decisions that detection took, each with its reason.
func (e *Engine) Notes() []string { return slices.Clone(e.notes) }

// Env is what every child needs in order to meet this engine, as name=value.
func (e *Engine) Env() []string { return slices.Clone(e.env) }

// Export hands Env to set, in general os.Setenv: for libraries that run the engine's program by themselves.
func (e *Engine) Export(set func(name, value string) error) error {
	for _, entry := range e.env {
		name, value := splitPair(entry)
		if err := set(name, value); err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
	}
	return nil
}

// With returns the same engine, which logs into log.
func (e *Engine) With(log io.Writer) *Engine {
	c := *e
	c.runner = e.runner.With(log)
	return &c
}

// Command is a call of the engine's program, for what has no method here.
func (e *Engine) Command(args ...string) command.Cmd {
	return command.Cmd{Name: string(e.kind), Args: args}
}

// Run runs any program with Env.
func (e *Engine) Run(ctx context.Context, c command.Cmd) ([]byte, error) {
	c.Env = append(slices.Clone(e.env), c.Env...)
	return e.runner.Run(ctx, c)
}

// ask runs the engine's program for a short answer.
func (e *Engine) ask(ctx context.Context, args ...string) ([]byte, error) {
	c := e.Command(args...)
	c.Deadline, c.Quiet = quick, true
	return e.Run(ctx, c)
}

// Ping asks for a sign of life. It takes no lock of the engine's that a busy build would hold.
func (e *Engine) Ping(ctx context.Context) error {
	args := []string{"version", "--format", "{{.Client.Version}}"}
	switch {
	case e.kind == Docker:
		args[2] = "{{.Server.Version}}"
	case e.info.Remote:
		args[2] = "{{.Server.Version}}"
	}
	if _, err := e.ask(ctx, args...); err != nil {
		return fmt.Errorf("ping %s: %w", e.kind, err)
	}
	return nil
}

// labelArgs are --label arguments, in a fixed order.
func labelArgs(labels map[string]string) []string {
	var args []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		args = append(args, "--label", k+"="+labels[k])
	}
	return args
}
