package cluster

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
)

// newControllers prepares the chosen controllers and returns what runs them until its context ends; it needs an API
// server that answers. It must be called before newAPIServer: both register flags for the same process-wide feature
// gates, and the controller manager panics when it comes second.
func newControllers(o *Options, p pki, d *dataDir) (func(context.Context) error, error) {
	s, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, fmt.Errorf("options of kube-controller-manager: %w", err)
	}
	known, off, aliases := app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases()
	fs := pflag.NewFlagSet("kube-controller-manager", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	for _, f := range s.Flags(known, off, aliases).FlagSets {
		fs.AddFlagSet(f)
	}
	args := []string{
		"--controllers=" + strings.Join(o.Controllers, ","),
		"--kubeconfig=" + d.file(kubeconfig),
		"--leader-elect=false",
		"--secure-port=0",
		"--use-service-account-credentials=false",
		"--service-account-private-key-file=" + p.tokenKey(), "--root-ca-file=" + p.caCert(),
		"--flex-volume-plugin-dir=" + d.file(flexvolumes), // the default is made below /usr
		"--kube-api-qps=200", "--kube-api-burst=400",
	}
	if err := fs.Parse(append(args, o.ControllerManagerArgs...)); err != nil {
		return nil, fmt.Errorf("flags of kube-controller-manager: %w", err)
	}
	return func(ctx context.Context) error {
		c, err := s.Config(ctx, known, off, aliases)
		if err != nil {
			return fmt.Errorf("kube-controller-manager: %w", err)
		}
		if err := app.Run(ctx, c.Complete()); err != nil {
			return fmt.Errorf("kube-controller-manager: %w", err)
		}
		return nil
	}, nil
}
