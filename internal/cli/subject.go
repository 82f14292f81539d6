package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/internal/observe/recorded"
)

// subject is what a command line asks about, as far as it can be told before anything was read.
type subject struct {
	kind      string // as it was written: deploy, pods, certificates.cert-manager.io; "" for a whole scope
	name      string
	namespace string // of -n; "" when it was not given
	all       bool   // -A
}

// parseSubject reads the arguments: nothing, TYPE/NAME, or TYPE NAME.
func parseSubject(args []string, namespace string, all bool) (subject, error) {
	s := subject{namespace: namespace, all: all}
	switch len(args) {
	case 0:
		if all && namespace != "" {
			return s, fmt.Errorf("-A means every namespace, and -n one: give one of them")
		}
		return s, nil
	case 1:
		s.kind, s.name, _ = strings.Cut(args[0], "/")
	case 2:
		s.kind, s.name = args[0], args[1]
	}
	switch {
	case all:
		return s, fmt.Errorf("-A means everything: leave %s out", strings.Join(args, " "))
	case s.kind == "" || s.name == "" || strings.Contains(s.name, "/"):
		return s, fmt.Errorf("%q does not say what to look at: give TYPE/NAME, for example deploy/%s", strings.Join(args, " "), strings.Trim(args[0], "/"))
	}
	return s, nil
}

// everywhere reports whether nothing in particular was asked about.
func (s subject) everywhere() bool { return s.kind == "" && s.namespace == "" && !s.all }

// inCluster finds what is asked about in a live cluster; namespace is that of the context.
func (s subject) inCluster(ctx context.Context, cfg *rest.Config, namespace string) (incident.Ref, error) {
	if s.kind == "" {
		if s.all {
			return diagnose.WholeCluster, nil
		}
		return incident.Ref{Kind: "Namespace", Name: namespace}, nil
	}
	res, known := recorded.ResourceByName(s.kind)
	if !known || !builtin(res.APIVersion) { // the cluster's own resources are known by discovery only
		served, err := discover(ctx, cfg, s.kind)
		if err != nil {
			return incident.Ref{}, err
		}
		if served == nil {
			return incident.Ref{}, &usageError{err: fmt.Errorf("the cluster serves no resource type %q", s.kind)}
		}
		res = *served
	}
	return s.refOf(res, namespace), nil
}

func (s subject) refOf(res recorded.Resource, namespace string) incident.Ref {
	ref := incident.Ref{Kind: res.Kind, Name: s.name}
	if !builtin(res.APIVersion) {
		ref.APIVersion = res.APIVersion
	}
	if res.Namespaced {
		ref.Namespace = namespace
	}
	return ref
}

// builtin reports whether an API belongs to Kubernetes itself.
func builtin(apiVersion string) bool {
	gv, err := schema.ParseGroupVersion(apiVersion)
	return err == nil && gv.Group != "gateway.networking.k8s.io" && (!strings.Contains(gv.Group, ".") || strings.HasSuffix(gv.Group, ".k8s.io"))
}

// discover finds the resource that kubectl would take a name for; nil when there is none.
func discover(ctx context.Context, cfg *rest.Config, name string) (*recorded.Resource, error) {
	dc, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, err
	}
	_, lists, err := dc.ServerGroupsAndResources()
	if len(lists) == 0 && err != nil {
		return nil, fmt.Errorf("ask the cluster for its resource types: %w", err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	plain, group, _ := strings.Cut(strings.ToLower(name), ".")
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil || group != "" && gv.Group != group && gv.Version+"."+gv.Group != group {
			continue
		}
		for _, r := range list.APIResources {
			names := append([]string{r.Name, r.SingularName, strings.ToLower(r.Kind)}, r.ShortNames...)
			if !strings.Contains(r.Name, "/") && slices.Contains(names, plain) {
				return &recorded.Resource{APIVersion: list.GroupVersion, Kind: r.Kind, Namespaced: r.Namespaced}, nil
			}
		}
	}
	return nil, nil
}

// inSnapshot finds what is asked about in what was recorded.
func (s subject) inSnapshot(snap *diagnose.Snapshot) (incident.Ref, error) {
	switch {
	case s.kind == "" && s.namespace != "":
		return incident.Ref{Kind: "Namespace", Name: s.namespace}, nil
	case s.kind == "":
		if ns := onlyNamespace(snap); ns != "" && !s.all {
			// What is wrong may be outside the namespace, on a node for example.
			ref := incident.Ref{Kind: "Namespace", Name: ns}
			if decides(snap, ref) || !decides(snap, diagnose.WholeCluster) {
				return ref, nil
			}
		}
		return diagnose.WholeCluster, nil
	}
	res, known := recorded.ResourceByName(s.kind)
	var found []incident.Ref
	for _, o := range snap.Contents().Objects {
		ref := o.Ref()
		is := known && ref.Kind == res.Kind || !known && namesKind(s.kind, ref)
		if is && ref.Name == s.name && (s.namespace == "" || ref.Namespace == "" || ref.Namespace == s.namespace) {
			found = append(found, s.refOf(recorded.Resource{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespaced: ref.Namespace != ""}, ref.Namespace))
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		var places []string
		for _, ref := range found {
			places = append(places, ref.String())
		}
		return incident.Ref{}, &usageError{err: fmt.Errorf("%s/%s is there %d times (%s): give -n", s.kind, s.name, len(found), strings.Join(places, ", "))}
	case !known:
		return incident.Ref{}, &usageError{err: fmt.Errorf("%q is no resource type that is known or was recorded", s.kind)}
	}
	namespace := s.namespace
	if namespace == "" {
		namespace = "default"
	}
	return s.refOf(res, namespace), nil
}

// decides reports whether the engine finds a cause when it is asked about ref.
func decides(snap *diagnose.Snapshot, ref incident.Ref) bool {
	return diagnose.Run(snap, incident.Incident{Resource: ref}).Verdict == diagnose.VerdictCause
}

// onlyNamespace is the one namespace that a recording is about, as far as it tells; "" when there are several. Those of
// the system stand in most recordings.
func onlyNamespace(snap *diagnose.Snapshot) string {
	only := ""
	for _, o := range snap.Contents().Objects {
		ns := o.Ref().Namespace
		if ns == "" || ns == "default" || strings.HasPrefix(ns, "kube-") || ns == only {
			continue
		}
		if only != "" {
			return ""
		}
		only = ns
	}
	return only
}

// namesKind reports whether a type as written on a command line may mean the kind of an object.
func namesKind(name string, ref incident.Ref) bool {
	plain, group, _ := strings.Cut(strings.ToLower(name), ".")
	kind := strings.ToLower(ref.Kind)
	has, _, _ := strings.Cut(ref.APIVersion, "/")
	return (plain == kind || plain == kind+"s" || plain == kind+"es" || strings.TrimSuffix(plain, "ies") == strings.TrimSuffix(kind, "y") && plain != kind) && (group == "" || group == has)
}

// nearNames returns the names of a kind that are nearest to one that does not exist.
func nearNames(snap *diagnose.Snapshot, ref incident.Ref) []string {
	if ref.Name == "" || ref.Kind == "Namespace" || snap.Object(ref) != nil {
		return nil
	}
	type near struct {
		name string
		d    int
	}
	var list []near
	for _, o := range snap.Kind(ref.Kind, ref.Namespace) {
		if d := distance(o.Ref().Name, ref.Name); d <= max(2, len(ref.Name)/4) || strings.Contains(o.Ref().Name, ref.Name) {
			list = append(list, near{o.Ref().Name, d})
		}
	}
	slices.SortStableFunc(list, func(a, b near) int { return a.d - b.d })
	var names []string
	for _, n := range list[:min(len(list), 3)] {
		names = append(names, n.name)
	}
	return names
}

// subjectFlags say what a command reads, and what of it is asked about.
type subjectFlags struct {
	cluster     clusterFlags
	all         bool
	bundle      string
	collectedAt string
	prometheus  string
	asked
}

// asked is what a command line says of the incident beside its resource.
type asked struct {
	alert       string
	signal      string
	environment string
}

func (a *asked) bind(flags *pflag.FlagSet) {
	flags.StringVar(&a.alert, "alert", "", "the `text` of the alert; it is kept with the verdict, and never believed")
	flags.StringVar(&a.signal, "signal", "", "the `type` of the signal, for example OOMKilled or the alert's name")
	flags.StringVar(&a.environment, "environment", "", "the `name` of the environment, for example production: severity and workflows depend on it")
}

// given reports whether anything was said.
func (a asked) given() bool { return a != asked{} }

// apply adds what was said to an incident.
func (a asked) apply(in *incident.Incident) {
	if a.signal != "" {
		in.SignalType = a.signal
	}
	if a.environment != "" {
		in.Environment = a.environment
	}
	if a.alert != "" {
		var redactor observe.Redactor
		in.ErrorMessage = redactor.Text(a.alert)
	}
}

func (f *subjectFlags) bind(flags *pflag.FlagSet) {
	f.cluster.bind(flags)
	flags.BoolVarP(&f.all, "all-namespaces", "A", false, "everything in the cluster")
	flags.StringVar(&f.bundle, "bundle", "", "read a recording instead of a cluster: a `path`, or - for standard input")
	flags.StringVar(&f.collectedAt, "collected-at", "", "the `time` of a recording whose text does not tell it (2026-03-02T12:00:00Z)")
	flags.StringVar(&f.prometheus, "prometheus", "", "the `URL` of a Prometheus, to be asked about the Pods that are not well")
	f.asked.bind(flags)
}
