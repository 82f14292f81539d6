package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/internal/observe/recorded"
)

// Bounds of a completion: a slow cluster must not hold a shell.
const (
	completeWithin = 3 * time.Second
	mostCompleted  = 500
)

type completion = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// completeSubject completes TYPE/NAME and TYPE NAME from the cluster.
func (c *command) completeSubject(f *subjectFlags) completion {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		const silent = cobra.ShellCompDirectiveNoFileComp
		typed, name, slash := strings.Cut(toComplete, "/")
		switch {
		case len(args) == 1 && !strings.Contains(args[0], "/"):
			return c.names(cmd.Context(), f, args[0], toComplete, ""), silent
		case len(args) > 0:
			return nil, silent
		case slash:
			return c.names(cmd.Context(), f, typed, name, typed+"/"), silent
		}
		var out []string
		for _, names := range recorded.ResourceNames() {
			for _, n := range names {
				if strings.HasPrefix(n, toComplete) {
					out = append(out, n+"/")
				}
			}
		}
		return out, silent | cobra.ShellCompDirectiveNoSpace
	}
}

// names lists what there is of a type, each after prefix; nothing when the cluster does not answer.
func (c *command) names(ctx context.Context, f *subjectFlags, typed, start, prefix string) []string {
	if f.bundle != "" {
		return nil
	}
	cl, err := c.cluster(f.cluster)
	if err != nil {
		return nil
	}
	cfg := rest.CopyConfig(cl.config)
	cfg.Timeout = completeWithin
	res, known := recorded.ResourceByName(typed)
	if !known || !builtin(res.APIVersion) {
		served, err := discover(ctx, cfg, typed)
		if err != nil || served == nil {
			return nil
		}
		res = *served
	}
	namespace := ""
	if res.Namespaced {
		namespace = cl.namespace
	}
	return listNames(ctx, cfg, res, namespace, start, prefix)
}

// listNames asks for the names of a kind and for nothing else of it.
func listNames(ctx context.Context, cfg *rest.Config, res recorded.Resource, namespace, start, prefix string) []string {
	dc, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil
	}
	list, err := dc.ServerResourcesForGroupVersion(res.APIVersion)
	if err != nil {
		return nil
	}
	gv, err := schema.ParseGroupVersion(res.APIVersion)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == res.Kind && !strings.Contains(r.Name, "/") })
	if i < 0 {
		return nil
	}
	mc, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil
	}
	objects, err := mc.Resource(gv.WithResource(list.APIResources[i].Name)).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: mostCompleted})
	if err != nil {
		return nil
	}
	var out []string
	for _, o := range objects.Items {
		if strings.HasPrefix(o.Name, start) {
			out = append(out, prefix+o.Name)
		}
	}
	return out
}

// completeFlags completes the values of --namespace and --context.
func (c *command) completeFlags(cmd *cobra.Command, where *clusterFlags) {
	completeFlag(cmd, "namespace", func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		cl, err := c.cluster(*where)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg := rest.CopyConfig(cl.config)
		cfg.Timeout = completeWithin
		return listNames(cmd.Context(), cfg, recorded.Resource{APIVersion: "v1", Kind: "Namespace"}, "", toComplete, ""), cobra.ShellCompDirectiveNoFileComp
	})
	completeFlag(cmd, "context", func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		rules, _, err := c.kubeconfig(*where)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		raw, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for name := range raw.Contexts {
			if strings.HasPrefix(name, toComplete) {
				out = append(out, name)
			}
		}
		slices.Sort(out)
		return out, cobra.ShellCompDirectiveNoFileComp
	})
}

// completeFlag completes the values of a flag that cmd has.
func completeFlag(cmd *cobra.Command, flag string, complete completion) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag, which every run of the program would find
	}
}
