package cli

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

func (c *command) analyze() *cobra.Command {
	var f subjectFlags
	var format output
	var d detail
	cmd := &cobra.Command{
		Use:   "analyze [TYPE/NAME | TYPE NAME]",
		Short: "Name the root cause of what is wrong, with the chain and the evidence",
		Long: `Name the root cause of what is wrong, with the chain that leads to it and the evidence.

It reads a cluster with the rights of your kubeconfig and changes nothing; nothing has to be installed in
the cluster. Or it reads what was kept of one: a bundle of kubernaut collect, a must-gather, a kubectl
cluster-info dump, a directory of kubectl output (YAML, JSON, tables, describe, logs, events), or the text
of a ticket on standard input.

Asked about a TYPE/NAME it looks at that, and at all that it depends on. TYPE is what kubectl takes for it.
Without one it looks at the namespace, with -A at everything.

Exit codes:
  0    nothing is wrong with what was asked about
  1    the command line is wrong, or nothing could be read
  2    a cause was found
  3    what could be read does not decide; the output says what to read next
  130  interrupted`,
		Example: `  kubernaut analyze deploy/checkout -n shop
  kubernaut analyze pod checkout-7d9f-x2x -n shop -e
  kubernaut analyze -n shop
  kubernaut analyze -A -o json
  kubernaut analyze node/worker-3
  kubernaut analyze --bundle must-gather/ -n shop
  kubernaut analyze --bundle - < ticket.txt
  kubernaut analyze deploy/checkout -n shop -o markdown | pbcopy`,
		Args:              arguments(0, 2, "TYPE/NAME, or TYPE NAME"),
		ValidArgsFunction: c.completeSubject(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := c.read(cmd.Context(), f, args)
			if err != nil {
				return err
			}
			shelf, err := builtinWorkflows()
			if err != nil {
				return err
			}
			doc, err := diagnosed(cmd.Context(), shelf, r)
			if err != nil {
				return err
			}
			doc = doc.withRecording(r)
			if err := c.writeDiagnosis(c.Out, format, doc, d, r.origin, r.took); err != nil {
				return err
			}
			return exitOf(doc.Verdict)
		},
	}
	f.bind(cmd.Flags())
	c.completeFlags(cmd, &f.cluster)
	d.bind(cmd.Flags())
	bindOutput(cmd, &format, "text", "markdown", "json", "yaml")
	return cmd
}

// writeDiagnosis writes a diagnosis in one of the formats of analyze.
func (c *command) writeDiagnosis(w io.Writer, format output, doc *diagnosis, d detail, origin string, took time.Duration) error {
	switch format {
	case "json", "yaml":
		return printObject(w, format, doc)
	case "markdown":
		return writeMarkdown(w, findingOf(doc, origin, took), d)
	}
	return writeFinding(w, c.out, findingOf(doc, origin, took), d)
}

// exitOf is nil, or the exit code of a verdict.
func exitOf(v diagnose.Verdict) error {
	switch v {
	case diagnose.VerdictCause:
		return outcome(exitCause)
	case diagnose.VerdictUndecidable:
		return outcome(exitUndecided)
	}
	return nil
}
