// Package cli is the kubernaut command. Run is the whole of it: arguments, streams and environment
// in, an exit code out. There is one file for each command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // the command line is wrong, the command could not do it, or what it checked does not hold
	exitCause       = 2 // analyze found a cause
	exitUndecided   = 3 // analyze could not decide by what it read
	exitInterrupted = 130
)

// Streams are what a command reads from and writes to: results go to Out, progress and errors to Err.
// When one of them is a terminal (an *os.File that is one), what goes there is drawn for it.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Run executes one command line, the first word of which is the program, and returns the exit code. It
// returns soon after ctx ends. env is os.Getenv or a stand-in.
//
// A program named kubectl-kubernaut is the plugin that kubectl finds under that name, and
// kubectl_complete-kubernaut what kubectl asks to complete a command line of it.
func Run(ctx context.Context, args []string, streams Streams, env func(string) string) int {
	c := &command{
		Streams: streams,
		env:     env,
		clock:   time.Now,
		out:     lookOf(streams.Out, env),
		err:     lookOf(streams.Err, env),
	}
	root := c.root()
	program, args := filepath.Base(args[0]), args[1:]
	switch program {
	case "kubectl-kubernaut":
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl kubernaut"}
	case "kubectl_complete-kubernaut":
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	root.SetArgs(args)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	cmd, err := root.ExecuteContextC(ctx)
	return c.exit(ctx, cmd, err)
}

// command is what every command has.
type command struct {
	Streams
	env      func(string) string
	clock    func() time.Time
	out, err look
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubernaut",
		Short: "Turn Kubernetes incidents into audited decisions",
		Long: `Turn Kubernetes incidents into audited decisions.

  kubernaut analyze TYPE/NAME  name the root cause, with the chain and the evidence; needs nothing
                             in the cluster, and reads recordings as well
  kubernaut collect          write what analyze reads into a redacted bundle
  kubernaut replay BUNDLE    check that a bundle still gives its verdict
  kubernaut demo             stage broken workloads on a Kubernetes API server of its own and
                             report what was found, proposed and decided
  kubernaut up               run everything in one process, until Ctrl-C
  kubernaut get              list analyses
  kubernaut explain NAME     show one: cause, chain, evidence, workflow, decision
  kubernaut audit verify     check that the audit trail was not tampered with
  kubernaut mcp              let any agent ask: read-only tools over the Model Context Protocol
  kubernaut eval DIR         measure the engine on scenarios, without a model and with one
  kubernaut model-stub       play language models over HTTP, to try the path to one`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err: withSuggestion(err, cmd.Flags())}
	})
	root.AddCommand(c.analyze(), c.collect(), c.replay(), c.up(), c.demo(), c.get(), c.explain(), c.audit(), c.eval(), c.modelStub(), c.mcp(), c.version())
	return root
}

// exit words err, if there is one, and returns the code.
func (c *command) exit(ctx context.Context, cmd *cobra.Command, err error) int {
	var usage *usageError
	var code outcome
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(c.Err, "kubernaut: interrupted")
		return exitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintf(c.Err, "kubernaut: %v\nRun '%s --help' for usage.\n", usage.err, cmd.CommandPath())
		return exitFailed
	default:
		fmt.Fprintf(c.Err, "kubernaut: %v\n", err)
		return exitFailed
	}
}

// errReported says that the command failed and has already said so in its result.
var errReported = errors.New("the command's result says what failed")

// outcome is the exit code of a command that did what it should.
type outcome int

func (o outcome) Error() string {
	return fmt.Sprintf("the command's result says it: exit code %d", int(o))
}

// usageError is a fault of the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// knownCommand says that the first argument is no command, and which one was probably meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
	}
	return &usageError{err: err}
}

// arguments returns a check that a command gets exactly n arguments, whose error names them.
func arguments(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if least <= len(args) && len(args) <= most {
			return nil
		}
		want := names
		if most == 0 {
			want = "no arguments"
		}
		return &usageError{err: fmt.Errorf("%s takes %s, got %d: %q", cmd.CommandPath(), want, len(args), args)}
	}
}

// withSuggestion adds the flag that was probably meant to the error about an unknown one.
func withSuggestion(err error, flags *pflag.FlagSet) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	best, least := "", 3 // more edits than that is another word
	flags.VisitAll(func(f *pflag.Flag) {
		if d := distance(unknown.GetSpecifiedName(), f.Name); !f.Hidden && d < least {
			best, least = f.Name, d
		}
	})
	if best == "" {
		return err
	}
	return fmt.Errorf("%w; did you mean --%s?", err, best)
}

// distance is the number of single-character edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// output is the value of -o.
type output string

// bindOutput registers -o with the values that a command knows; the first is the default.
func bindOutput(cmd *cobra.Command, into *output, values ...output) {
	*into = values[0]
	cmd.Flags().VarP(&outputFlag{into, values}, "output", "o", "output `format`: "+join(values, ", "))
	completeFlag(cmd, "output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return strings.Split(join(values, " "), " "), cobra.ShellCompDirectiveNoFileComp
	})
}

type outputFlag struct {
	value *output
	known []output
}

func (f *outputFlag) String() string { return string(*f.value) }

func (f *outputFlag) Type() string { return "format" }

func (f *outputFlag) Set(text string) error {
	for _, k := range f.known {
		if string(k) == text {
			*f.value = k
			return nil
		}
	}
	return fmt.Errorf("must be one of %s", join(f.known, ", "))
}

func join[T ~string](list []T, separator string) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = string(v)
	}
	return strings.Join(texts, separator)
}
