// Package controlplane gives a Kubernetes API server to whoever needs one: kubernaut up, the demo and the tests.
//
// Start takes the first of these that is there:
//
//   - KUBERNAUT_KUBECONFIG: the cluster of that kubeconfig, which is not ours to stop;
//   - KUBEBUILDER_ASSETS: etcd and kube-apiserver from that directory, without controllers;
//   - KUBERNAUT_CONTROLPLANE: a controlplane binary that was built before;
//   - else the controlplane binary that Build makes from the repository's nested module, once, and keeps in the user's cache.
//
// Only with controllers do Deployments make pods and namespaces finish deleting. In none of them but a real cluster do
// pods run: nothing schedules them, and their status is what somebody writes.
package controlplane

import (
	"context"
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The environment variables that choose what Start starts.
const (
	EnvKubeconfig = "KUBERNAUT_KUBECONFIG"
	EnvAssets     = "KUBEBUILDER_ASSETS"
	EnvBinary     = "KUBERNAUT_CONTROLPLANE"
)

// Options say what to start. The zero value is a control plane with the default controllers in a temporary directory.
type Options struct {
	// Dir keeps the data, the port and the kubeconfig from one start to the next. Empty: a temporary directory that is
	// removed at the end. With KUBERNAUT_KUBECONFIG and KUBEBUILDER_ASSETS this and the next three are ignored.
	Dir string
	// Port on 127.0.0.1. 0: the one that Dir was made with, else a free one.
	Port int
	// Controllers are those to run, in kube-controller-manager's syntax. Nil: the default set; empty: none.
	Controllers []string
	// Fsync makes writes survive a crash of the machine, not only of the process.
	Fsync bool
	// Progress is told how the build advances, from one goroutine. Nil: nobody is.
	Progress func(Progress)
	// Source is the directory of the controlplane module. Empty: looked for from the working directory upwards.
	Source string
	// Getenv reads the environment. Nil: os.Getenv.
	Getenv func(string) string
}

// Server is an API server that answers. Its methods may be called from several goroutines.
type Server struct {
	config     *rest.Config
	kubeconfig string
	backend    backend
}

// backend is what runs behind a Server.
type backend interface {
	stop() error           // ends it; called any number of times
	done() <-chan struct{} // closed when it has ended, by stop or by itself; nil: it is not ours to watch
}

// Start returns when the API answers. ctx bounds the start, the build included, and no more: Stop ends the server. If
// this process dies without calling Stop, the server stops by itself.
func Start(ctx context.Context, o Options) (*Server, error) {
	getenv := o.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	if path := getenv(EnvKubeconfig); path != "" {
		return useCluster(ctx, path)
	}
	if dir := getenv(EnvAssets); dir != "" {
		return startAssets(ctx, dir)
	}
	binary := getenv(EnvBinary)
	if binary == "" {
		var err error
		if binary, err = Build(ctx, BuildOptions{Source: o.Source, Progress: o.Progress}); err != nil {
			return nil, err
		}
	}
	return startProcess(ctx, binary, o)
}

// Config returns a client configuration for the server, the caller's own to change. For a server of ours it is the
// administrator's, and without a limit on the client's side: the server has its own.
func (s *Server) Config() *rest.Config { return rest.CopyConfig(s.config) }

// Kubeconfig returns the absolute path of a kubeconfig for the server. With Options.Dir it stays valid after the next start.
func (s *Server) Kubeconfig() string { return s.kubeconfig }

// Done is closed when a server of ours has ended, be it by Stop or by itself. It is nil for a cluster that is not ours.
func (s *Server) Done() <-chan struct{} { return s.backend.done() }

// Stop ends the server and returns when it has ended. A second call returns the same. It leaves a cluster that is not
// ours as it is.
func (s *Server) Stop() error { return s.backend.stop() }

// useCluster checks that the cluster of a kubeconfig answers.
func useCluster(ctx context.Context, path string) (*Server, error) {
	cfg, err := loadConfig(path)
	if err != nil {
		return nil, fmt.Errorf("%s=%s: %w", EnvKubeconfig, path, err)
	}
	if err := get(ctx, cfg, "/version"); err != nil { // which every authenticated user may read
		return nil, fmt.Errorf("%s=%s: the API server at %s does not answer: %w", EnvKubeconfig, path, cfg.Host, err)
	}
	return &Server{config: cfg, kubeconfig: path, backend: foreign{}}, nil
}

// foreign is a cluster that is not ours.
type foreign struct{}

func (foreign) stop() error           { return nil }
func (foreign) done() <-chan struct{} { return nil }

func loadConfig(path string) (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: path}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
}
