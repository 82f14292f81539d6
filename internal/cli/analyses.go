package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/spf13/pflag"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// analyses reads and creates AIAnalysis objects. It needs no discovery: one request for each call.
type analyses struct {
	rest *rest.RESTClient
	host string
}

func newAnalyses(cfg *rest.Config) (*analyses, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	cfg = rest.CopyConfig(cfg)
	cfg.APIPath = "/apis"
	cfg.GroupVersion = &v1alpha1.GroupVersion
	cfg.ContentType = runtime.ContentTypeJSON // custom resources know no other
	cfg.AcceptContentTypes = runtime.ContentTypeJSON
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c, err := rest.RESTClientFor(cfg)
	if err != nil {
		return nil, err
	}
	return &analyses{rest: c, host: cfg.Host}, nil
}

// list returns the analyses of a namespace, "" for all.
func (a *analyses) list(ctx context.Context, namespace string) (*v1alpha1.AIAnalysisList, error) {
	var list v1alpha1.AIAnalysisList
	err := a.rest.Get().Namespace(namespace).Resource(v1alpha1.Resource).Do(ctx).Into(&list)
	return &list, a.explain(err)
}

func (a *analyses) get(ctx context.Context, namespace, name string) (*v1alpha1.AIAnalysis, error) {
	var one v1alpha1.AIAnalysis
	err := a.rest.Get().Namespace(namespace).Resource(v1alpha1.Resource).Name(name).Do(ctx).Into(&one)
	if apierrors.IsNotFound(err) {
		if status, ok := err.(apierrors.APIStatus); ok && status.Status().Details != nil && status.Status().Details.Name == name {
			return nil, fmt.Errorf("there is no analysis %s in namespace %s; kubernaut get -A lists all that there are", name, namespace)
		}
	}
	return &one, a.explain(err)
}

func (a *analyses) create(ctx context.Context, in *v1alpha1.AIAnalysis) (*v1alpha1.AIAnalysis, error) {
	var out v1alpha1.AIAnalysis
	err := a.rest.Post().Namespace(in.Namespace).Resource(v1alpha1.Resource).Body(in).Do(ctx).Into(&out)
	return &out, a.explain(err)
}

// explain adds what to do to the errors that a user can do something about.
func (a *analyses) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the cluster at %s does not know AIAnalysis; install it with kubectl apply -k deploy/base, or name another cluster with --kubeconfig", a.host)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return fmt.Errorf("the cluster at %s refuses: %w", a.host, err)
	default:
		return fmt.Errorf("cluster at %s: %w", a.host, err)
	}
}

// clusterFlags say which cluster a command talks to.
type clusterFlags struct {
	kubeconfig string
	context    string
	namespace  string
	dataDir    string
}

func (f *clusterFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: KUBECONFIG, then a running kubernaut up, then ~/.kube/config)")
	flags.StringVar(&f.context, "context", "", "kubeconfig `context`")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "`namespace` (default: that of the context)")
	flags.StringVar(&f.dataDir, "data-dir", "", "data directory of the kubernaut up to look for")
}

// cluster is what clusterFlags lead to.
type cluster struct {
	name      string // of the context, else the server's
	config    *rest.Config
	namespace string
	running   *runState // of the kubernaut up that serves the cluster; nil when it is another one
}

// kubeconfig finds the rules that lead to a cluster, the first that holds: the flag, KUBECONFIG, a running
// kubernaut up, the default kubeconfig; and what is known of the kubernaut up that serves it, if one does.
func (c *command) kubeconfig(f clusterFlags) (*clientcmd.ClientConfigLoadingRules, *runState, error) {
	dir, err := c.dataDir(f.dataDir)
	if err != nil {
		return nil, nil, err
	}
	running, err := readRunState(dir)
	if err != nil {
		return nil, nil, err
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: f.kubeconfig}
	switch paths := filepath.SplitList(c.env("KUBECONFIG")); {
	case f.kubeconfig != "":
	case len(paths) > 0:
		rules.Precedence = paths
	case running != nil:
		rules.ExplicitPath = running.Kubeconfig
	default:
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, nil, fmt.Errorf("no kubeconfig is known: give --kubeconfig or set KUBECONFIG: %w", err)
		}
		rules.Precedence = []string{filepath.Join(home, ".kube", "config")}
	}
	if running != nil && !uses(rules, running.Kubeconfig) {
		running = nil
	}
	return rules, running, nil
}

// cluster finds the cluster that kubeconfig leads to.
func (c *command) cluster(f clusterFlags) (*cluster, error) {
	rules, running, err := c.kubeconfig(f)
	if err != nil {
		return nil, err
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context})
	cfg, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("no cluster: %s holds none. Start one with kubernaut up, give --kubeconfig, or set KUBECONFIG", describe(rules))
	}
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", describe(rules), err)
	}
	cfg.UserAgent = "kubernaut"
	namespace := f.namespace
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("kubeconfig %s: %w", describe(rules), err)
		}
	}
	name := f.context
	if raw, err := loader.RawConfig(); err == nil && name == "" {
		name = raw.CurrentContext
	}
	return &cluster{name: cmp.Or(name, cfg.Host), config: cfg, namespace: namespace, running: running}, nil
}

// uses reports whether rules read path and nothing else.
func uses(rules *clientcmd.ClientConfigLoadingRules, path string) bool {
	return rules.ExplicitPath == path || len(rules.Precedence) == 1 && rules.Precedence[0] == path
}

func describe(rules *clientcmd.ClientConfigLoadingRules) string {
	if rules.ExplicitPath != "" {
		return rules.ExplicitPath
	}
	return join(rules.Precedence, string(filepath.ListSeparator))
}
