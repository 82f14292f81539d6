package cluster

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Options say where the control plane keeps its data and what it runs. The zero value runs without controllers in a
// temporary directory; AddFlags sets the defaults of the command.
type Options struct {
	// Dir holds certificates, kubeconfig, port, log and etcd's data. A second start on the same directory continues where
	// the first ended, under the same URL and with the same kubeconfig. Empty: a temporary directory, removed at the end
	// unless the run failed.
	Dir string
	// Port is the API server's port on 127.0.0.1. 0: the one recorded in Dir, else a free one.
	Port int
	// Controllers names the controllers to run, in kube-controller-manager's syntax. Empty: none.
	Controllers []string
	// Fsync makes every write survive a crash of the machine. Without it a write survives only a crash of the process.
	Fsync bool
	// Verbosity is the -v of the log.
	Verbosity int
	// APIServerArgs and ControllerManagerArgs are further flags for the two components; they override the flags set here.
	APIServerArgs, ControllerManagerArgs []string
}

// AddFlags binds the options to fs and sets their defaults.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Dir, "dir", "", "data directory, reused by the next start; empty: a temporary one, removed at the end")
	fs.IntVar(&o.Port, "port", 0, "port on 127.0.0.1; 0: the one that the data directory was made with, else a free one")
	fs.StringSliceVar(&o.Controllers, "controllers", DefaultControllers(), "controllers to run, in kube-controller-manager's syntax; empty: none")
	fs.BoolVar(&o.Fsync, "fsync", false, "let each write survive a crash of the machine, not only of the process (slower)")
	fs.IntVarP(&o.Verbosity, "v", "v", 0, "verbosity of DIR/controlplane.log")
	fs.StringArrayVar(&o.APIServerArgs, "apiserver-arg", nil, "further flag for kube-apiserver, as --name=value (repeatable)")
	fs.StringArrayVar(&o.ControllerManagerArgs, "controller-manager-arg", nil, "further flag for kube-controller-manager, as --name=value (repeatable)")
}

// DefaultControllers are those that a cluster without nodes needs: namespaces finish deleting, owners create and
// collect what they own, Services get endpoints, claims are bound, roles aggregate. Left out are the controllers that
// judge nodes and what runs on them (node-lifecycle, taint-eviction, pod-garbage-collector, attach-detach): no kubelet
// reports here, so they would taint every node and delete its pods. Certificate signing is left out with them.
func DefaultControllers() []string {
	return []string{
		"clusterrole-aggregation-controller",
		"cronjob-controller",
		"daemonset-controller",
		"deployment-controller",
		"disruption-controller",
		"endpoints-controller",
		"endpointslice-controller",
		"endpointslice-mirroring-controller",
		"ephemeral-volume-controller",
		"garbage-collector-controller",
		"horizontal-pod-autoscaler-controller",
		"job-controller",
		"namespace-controller",
		"persistentvolume-binder-controller",
		"persistentvolume-protection-controller",
		"persistentvolumeclaim-protection-controller",
		"replicaset-controller",
		"replicationcontroller-controller",
		"resourcequota-controller",
		"root-ca-certificate-publisher-controller",
		serviceAccountController,
		"serviceaccount-token-controller",
		"statefulset-controller",
		"ttl-after-finished-controller",
		"validatingadmissionpolicy-status-controller",
	}
}

const serviceAccountController = "serviceaccount-controller"

// serviceAccounts reports whether the controller that gives each namespace its default ServiceAccount runs.
func (o *Options) serviceAccounts() bool {
	all := false
	for _, c := range o.Controllers {
		switch strings.TrimSpace(c) {
		case serviceAccountController, "serviceaccount": // the second is its older name, still accepted
			return true
		case "-" + serviceAccountController, "-serviceaccount":
			return false
		case "*":
			all = true
		}
	}
	return all
}

func (o *Options) validate() error {
	var errs []error
	if o.Port < 0 || o.Port > 65535 {
		errs = append(errs, fmt.Errorf("--port=%d: want 0 to 65535", o.Port))
	}
	if o.Verbosity < 0 {
		errs = append(errs, fmt.Errorf("--v=%d: want 0 or more", o.Verbosity))
	}
	for _, a := range append(append([]string(nil), o.APIServerArgs...), o.ControllerManagerArgs...) {
		if !strings.HasPrefix(a, "--") {
			errs = append(errs, fmt.Errorf("further flag %q: want --name=value", a))
		}
	}
	return errors.Join(errs...)
}
