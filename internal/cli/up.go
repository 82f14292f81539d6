package cli

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/internal/controlplane"
)

func (c *command) up() *cobra.Command {
	var dataDir, kubeconfig string
	var format output
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything in one process, until Ctrl-C",
		Long: `Run everything in one process, until Ctrl-C: a Kubernetes API server with its controllers, Data Storage
on SQLite, the investigation API and the AIAnalysis controller, all on loopback addresses. No cluster,
no database server, no model and no key are needed.

The API server is, in this order: the cluster of --kubeconfig or ` + controlplane.EnvKubeconfig + `; etcd and
kube-apiserver from ` + controlplane.EnvAssets + `; else one that is built from this repository, once.

Everything is kept in the data directory: the next kubernaut up on it continues where this one ended.`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			dir, err := c.dataDir(dataDir)
			if err != nil {
				return err
			}
			p := newProgress(c.Err, c.err, format == "json", c.clock)
			defer p.close()
			s, err := startSystem(ctx, systemOptions{
				dir:      dir,
				progress: p,
				clock:    c.clock,
				env: func(name string) string {
					if name == controlplane.EnvKubeconfig && kubeconfig != "" {
						return kubeconfig
					}
					return c.env(name)
				},
			})
			if err != nil {
				return err
			}
			if err := c.announce(s, format); err != nil {
				return s.stopAfter(err, p)
			}
			return s.stopAfter(s.wait(ctx), p)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "data `directory` (default: kubernaut in the user's data directory)")
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig `file` of an existing cluster to serve instead of starting an API server")
	bindOutput(cmd, &format, "text", "json")
	return cmd
}

// stopAfter stops the system because of err, or of nothing when err is nil.
func (s *system) stopAfter(err error, p *progress) error {
	if stopErr := s.stop(p); err == nil {
		return stopErr
	}
	return err
}

// announce says where everything is.
func (c *command) announce(s *system, format output) error {
	if format == "json" {
		return printObject(c.Out, format, struct {
			runState
			DataDir string `json:"dataDir"`
			Policy  string `json:"policy"`
			Log     string `json:"log"`
		}{s.state, s.dir, s.policyPath(), filepath.Join(s.dir, logFile)})
	}
	t := &table{paint: func(_, column int, cell string) string {
		if column == 0 {
			return c.out.dim(cell)
		}
		return cell
	}}
	t.add("kubeconfig", s.state.Kubeconfig)
	t.add("API server", s.config.Host)
	t.add("investigation API", s.state.HolmesGPT)
	t.add("Data Storage", s.state.DataStorage)
	t.add("controller health", s.state.Health)
	t.add("controller metrics", s.state.Metrics)
	t.add("approval policy", s.policyPath()+" (edit it: it is reloaded)")
	t.add("log", filepath.Join(s.dir, logFile))
	t.add("data directory", s.dir)
	if err := t.write(c.Out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Out, "\nReady in %s. Ctrl-C stops it; the data stays.\n\n  export KUBECONFIG=%s\n  kubectl apply -f deploy/samples/aianalysis.yaml\n  kubernaut get -A\n",
		seconds(c.clock().Sub(s.state.StartedAt).Round(time.Millisecond)), s.state.Kubeconfig)
	return err
}
