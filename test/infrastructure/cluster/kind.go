package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
	kinderrors "sigs.k8s.io/kind/pkg/errors"
	kindexec "sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
)

// kind is Kind, on the pinned engine. Its library runs the engine's program by itself, in the environment of this process.
type kind struct {
	engine *engine.Engine
	log    io.Writer
}

func (k kind) provider() *kindcluster.Provider {
	on := kindcluster.ProviderWithPodman()
	if k.engine.Kind() == engine.Docker {
		on = kindcluster.ProviderWithDocker()
	}
	return kindcluster.NewProvider(kindcluster.ProviderWithLogger(logger{k.log}), on)
}

// run calls a function of Kind's library, none of which takes a context. When ctx ends, the programs that it runs are ended,
// and so are, when it fails, those that it left running: Kind returns at the first node that fails and does not wait for
// the others.
func (k kind) run(ctx context.Context, what string, f func(*kindcluster.Provider) error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, command.Cause(ctx))
	}
	if err := k.engine.Export(os.Setenv); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = f(k.provider())
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		fmt.Fprintf(k.log, "%s: ended: %v\n", what, command.Cause(ctx))
		if !reapUntil(ended) {
			return fmt.Errorf("%s: %w; Kind did not return", what, command.Cause(ctx))
		}
		return fmt.Errorf("%s: %w", what, command.Cause(ctx))
	}
	if err != nil {
		reapAll()
		return fmt.Errorf("%s: %w", what, translate(err))
	}
	return nil
}

// create makes the nodes and Kubernetes on them, keeps both if it fails, and writes a kubeconfig.
func (k kind) create(ctx context.Context, c Config, kubeconfig string) error {
	return k.run(ctx, "create cluster "+c.Name, func(p *kindcluster.Provider) error {
		return p.Create(c.Name,
			kindcluster.CreateWithV1Alpha4Config(c.labelled()),
			kindcluster.CreateWithNodeImage(c.Image),
			kindcluster.CreateWithRetain(true),
			kindcluster.CreateWithKubeconfigPath(kubeconfig),
			kindcluster.CreateWithDisplayUsage(false),
			kindcluster.CreateWithDisplaySalutation(false),
		)
	})
}

// saveLogs writes the logs of the nodes into a directory.
func (k kind) saveLogs(ctx context.Context, name, dir string) error {
	return k.run(ctx, "save the logs of cluster "+name, func(p *kindcluster.Provider) error {
		return withoutCrictl(p.CollectLogs(name, dir))
	})
}

// withoutCrictl leaves out the failures of a tool that not every node image has, and that says nothing which is not elsewhere.
func withoutCrictl(err error) error {
	if err == nil {
		return nil
	}
	all := kinderrors.Errors(err)
	if len(all) == 0 { // it is no list but one
		all = []error{err}
	}
	var rest []error
	for _, e := range all {
		if failed := kindexec.RunErrorForError(e); failed == nil || !slices.Contains(failed.Command, "crictl") {
			rest = append(rest, e)
		}
	}
	return errors.Join(rest...)
}

// importArchive imports an archive of images into the containerd of a node.
func (k kind) importArchive(ctx context.Context, node string, archive io.Reader) error {
	if err := nodeutils.LoadImageArchive(nodeHandle{k.engine, node, ctx}, archive); err != nil {
		return fmt.Errorf("import into %s: %w", node, err)
	}
	return nil
}

// translate turns an error of Kind's into ours: of the command that failed it keeps what it said.
func translate(err error) error {
	failed := kindexec.RunErrorForError(err)
	if failed == nil {
		return err
	}
	const tail = 64 << 10
	said := failed.Output
	if len(said) > tail {
		said = said[len(said)-tail:]
	}
	code := -1
	if exit, ok := errors.AsType[*exec.ExitError](failed.Inner); ok {
		code = exit.ExitCode()
	}
	return &kindError{err, &command.Error{Cmd: failed.PrettyCommand(), ExitCode: code, Output: string(said), Err: failed.Inner}}
}

// kindError has Kind's text and the command that failed.
type kindError struct {
	text    error
	command *command.Error
}

func (e *kindError) Error() string { return e.text.Error() }

func (e *kindError) Unwrap() error { return e.command }

// nodeHandle is a node as Kind's functions take it, whose commands the engine runs, under a context and a stall timer.
type nodeHandle struct {
	engine *engine.Engine
	name   string
	ctx    context.Context //nolint:containedctx // Kind's functions take none
}

var _ nodes.Node = nodeHandle{}

func (n nodeHandle) String() string { return n.name }

func (n nodeHandle) Role() (string, error) { return "", errors.ErrUnsupported }

func (n nodeHandle) IP() (ipv4, ipv6 string, err error) { return "", "", errors.ErrUnsupported }

func (n nodeHandle) SerialLogs(w io.Writer) error { return n.engine.Logs(n.ctx, n.name, w) }

func (n nodeHandle) Command(name string, args ...string) kindexec.Cmd {
	return n.CommandContext(n.ctx, name, args...)
}

func (n nodeHandle) CommandContext(ctx context.Context, name string, args ...string) kindexec.Cmd {
	return &nodeCommand{node: n, ctx: ctx, args: append([]string{name}, args...)}
}

// nodeCommand is one command in a node.
type nodeCommand struct {
	node      nodeHandle
	ctx       context.Context //nolint:containedctx // as above
	args, env []string
	stdin     io.Reader
	stdout    io.Writer
}

func (c *nodeCommand) SetEnv(env ...string) kindexec.Cmd {
	c.env = env
	return c
}

func (c *nodeCommand) SetStdin(r io.Reader) kindexec.Cmd {
	c.stdin = r
	return c
}

func (c *nodeCommand) SetStdout(w io.Writer) kindexec.Cmd {
	c.stdout = w
	return c
}

// SetStderr changes nothing: what a command says there is in the log, and in the error of Run.
func (c *nodeCommand) SetStderr(io.Writer) kindexec.Cmd { return c }

const (
	nodeDeadline = 10 * time.Minute
	nodeStall    = 2 * time.Minute
)

// drained reads, once a program has ended, what it has not read. Podman may lose the last words of a program that ends
// while there still is something for it to read: those that say why.
const drained = `"$@"; code=$?; cat >/dev/null; exit $code`

func (c *nodeCommand) Run() error {
	args, inside := []string{"exec", "--privileged"}, c.args
	if c.stdin != nil {
		args = append(args, "--interactive")
		inside = append([]string{"sh", "-c", drained, "sh"}, inside...)
	}
	for _, e := range c.env {
		args = append(args, "--env", e)
	}
	run := c.node.engine.Command(append(append(args, c.node.name), inside...)...)
	run.Stdin, run.Stdout, run.Deadline, run.Stall = c.stdin, c.stdout, nodeDeadline, nodeStall
	run.Quiet = c.stdout != nil
	_, err := c.node.engine.Run(c.ctx, run)
	return err
}

// logger writes what Kind says, with kubeadm's output, into a log.
type logger struct{ w io.Writer }

func (l logger) Warn(message string)               { l.line(message) }
func (l logger) Warnf(format string, args ...any)  { l.line(fmt.Sprintf(format, args...)) }
func (l logger) Error(message string)              { l.line(message) }
func (l logger) Errorf(format string, args ...any) { l.line(fmt.Sprintf(format, args...)) }
func (l logger) V(level log.Level) log.InfoLogger  { return infoLogger{l, level <= kubeadmOutput} }

// kubeadmOutput is Kind's level of it.
const kubeadmOutput = 3

type infoLogger struct {
	logger
	enabled bool
}

func (l infoLogger) Enabled() bool { return l.enabled }

func (l infoLogger) Info(message string) {
	if l.enabled {
		l.line(message)
	}
}

func (l infoLogger) Infof(format string, args ...any) { l.Info(fmt.Sprintf(format, args...)) }

func (l logger) line(message string) {
	if message = strings.TrimRight(message, "\n"); message != "" {
		fmt.Fprintln(l.w, message)
	}
}
