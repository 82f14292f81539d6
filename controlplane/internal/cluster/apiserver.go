package cluster

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/grpclog"
	"k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // registers the metrics that /metrics of an API server has
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// newAPIServer prepares a kube-apiserver on l and returns what runs it until its context ends. It also sets up the
// logging of the whole process, which the API server's options own.
func newAPIServer(ctx context.Context, o *Options, p pki, l net.Listener, log io.Writer) (func(context.Context) error, error) {
	s := options.NewServerRunOptions()
	fs := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	for _, f := range s.Flags().FlagSets {
		fs.AddFlagSet(f)
	}
	args := []string{
		"--etcd-servers=" + etcdEndpoint(),
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // an endpoint may not be a loopback address
		"--tls-cert-file=" + p.serverCert(), "--tls-private-key-file=" + p.serverKey(), "--client-ca-file=" + p.caCert(),
		"--service-account-key-file=" + p.tokenKey(), "--service-account-signing-key-file=" + p.tokenKey(),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--profiling=false",
		fmt.Sprintf("--v=%d", o.Verbosity),
	}
	if !o.serviceAccounts() {
		// Nobody makes the accounts that the plugin demands of every pod.
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	if err := fs.Parse(append(args, o.APIServerArgs...)); err != nil {
		return nil, fmt.Errorf("flags of kube-apiserver: %w", err)
	}
	s.SecureServing.Listener = l
	if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, fmt.Errorf("feature gates of kube-apiserver: %w", err)
	}
	klog.LogToStderr(false)
	klog.SetOutput(log)
	if err := logsapi.ValidateAndApplyWithOptions(s.Logs, &logsapi.LoggingOptions{ErrorStream: log, InfoStream: log}, nil); err != nil {
		return nil, fmt.Errorf("logging of kube-apiserver: %w", err)
	}
	// The API server probes etcd with clients that it closes at once, and grpc warns about each.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, log))
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	completed, err := s.Complete(ctx)
	if err != nil {
		return nil, fmt.Errorf("options of kube-apiserver: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("options of kube-apiserver: %w", errors.NewAggregate(errs))
	}
	return func(ctx context.Context) error {
		if err := app.Run(ctx, completed); err != nil {
			return fmt.Errorf("kube-apiserver: %w", err)
		}
		return nil
	}, nil
}
