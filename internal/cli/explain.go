package cli

import (
	"github.com/spf13/cobra"
)

func (c *command) explain() *cobra.Command {
	var where clusterFlags
	var format output
	var d detail
	cmd := &cobra.Command{
		Use:   "explain NAME",
		Short: "Show one analysis: cause, chain, evidence, workflow, decision",
		Example: `  kubernaut explain oom-kill -n demo
  kubernaut explain oom-kill -n demo -o json`,
		Args: arguments(1, 1, "one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.cluster(where)
			if err != nil {
				return err
			}
			api, err := newAnalyses(cl.config)
			if err != nil {
				return err
			}
			one, err := api.get(cmd.Context(), cl.namespace, args[0])
			if err != nil {
				return err
			}
			if format != "text" {
				return printObject(c.Out, format, withKind(one))
			}
			return writeReport(c.Out, c.out, one, d, extras{})
		},
	}
	where.bind(cmd.Flags())
	c.completeFlags(cmd, &where)
	d.bind(cmd.Flags())
	bindOutput(cmd, &format, "text", "json", "yaml")
	return cmd
}
