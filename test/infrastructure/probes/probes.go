// Package probes answers what the text of a failure cannot tell, for the table of failures: whether the runtime still
// answers, whether memory ran out, whose the containers are that are in the way, and so on. A probe looks and changes
// nothing. What it cannot find out is unknown, which decides nothing.
package probes

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/preflight"
)

// Engine is what the probes ask of the container engine; *engine.Engine is one.
type Engine interface {
	preflight.Runtime
	Ping(ctx context.Context) error
	Exec(ctx context.Context, x engine.Exec) ([]byte, error)
	Logs(ctx context.Context, container string, w io.Writer) error
	Run(ctx context.Context, c command.Cmd) ([]byte, error)
}

// Options is what the probes ask, and about what.
type Options struct {
	// Engine returns the engine. Required; it may fail as long as none has been detected.
	Engine func(ctx context.Context) (Engine, error)
	// Host says what is about to be made and where, as for preflight.Check; its Engine is set by the probes.
	Host preflight.Options
	// Images returns the references of the images of the load list. Nil: they are not known.
	Images func() []string
	// Rendered reports whether an object is among the manifests. Nil: they are not known.
	Rendered func(kind, namespace, name string) bool
	// Log returns the end of a phase's log. Nil: it is not known.
	Log func(phase string) string
	// Counters is the directory of coverage counters on the nodes; empty: there is none.
	Counters string
	// Names are the hosts that builds and pulls need; empty: they are not known.
	Names []string
	// Client reaches the cluster; nil: by Host.Kubeconfig.
	Client kubernetes.Interface
	// HTTP asks the registry for its limit; nil: http.DefaultClient.
	HTTP *http.Client
	// Lookup resolves a name on this host; nil: the system's resolver.
	Lookup func(ctx context.Context, host string) error
	// Pause is between two pings; zero: two seconds.
	Pause time.Duration
}

// Probes implements failure.Probes. It is safe for concurrent use.
type Probes struct {
	o Options

	mu     sync.Mutex
	kills  int // of the kernel, when Begin was called
	before bool
}

// New returns the probes. It asks nothing.
func New(o Options) *Probes {
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) error {
			_, err := net.DefaultResolver.LookupHost(ctx, host)
			return err
		}
	}
	if o.Pause == 0 {
		o.Pause = 2 * time.Second
	}
	return &Probes{o: o}
}

// Begin remembers how many processes the kernel has killed for want of memory, so that later kills can be told. Without it
// memory that ran out is told by the containers' state alone.
func (p *Probes) Begin(ctx context.Context) {
	e, err := p.o.Engine(ctx)
	if err != nil {
		return
	}
	kills, ok := preflight.Kills(ctx, e)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kills, p.before = kills, ok
}

// killed returns how many processes the kernel has killed for want of memory since Begin.
func (p *Probes) killed(ctx context.Context, e Engine) int {
	p.mu.Lock()
	before, known := p.kills, p.before
	p.mu.Unlock()
	if !known {
		return 0
	}
	now, ok := preflight.Kills(ctx, e)
	if !ok {
		return 0
	}
	return max(0, now-before) // the log forgets
}

// question answers one probe.
type question func(p *Probes, ctx context.Context, e Engine) (outcome string, evidence []string)

// questions are those that need the engine, by the names of the table.
func questions() map[string]question {
	return map[string]question{
		"residue":          (*Probes).residue,
		"node-boot":        (*Probes).nodeBoot,
		"node-health":      (*Probes).nodeHealth,
		"runtime":          (*Probes).runtime,
		"provider":         (*Probes).provider,
		"kubelet":          (*Probes).kubelet,
		"networks":         (*Probes).networks,
		"dns":              (*Probes).dns,
		"image-on-node":    (*Probes).imageOnNode,
		"specs":            (*Probes).specs,
		"counters":         (*Probes).counters,
		"disk":             host("disk"),
		"memory":           host("memory"),
		"inotify":          host("inotify"),
		"keys":             host("keys"),
		"clock":            host("clock"),
		"port-owner":       host("port-owner"),
		"kubeconfig-lock":  host("kubeconfig-lock"),
		"webhook":          (*Probes).webhook,
		"references":       (*Probes).references,
		"last-termination": (*Probes).lastTermination,
		"registry":         (*Probes).registry,
	}
}

// Probe answers a probe of the table by its name.
func (p *Probes) Probe(ctx context.Context, name string) (outcome string, evidence []string) {
	ask, ok := questions()[name]
	if !ok {
		return preflight.Unknown, []string{"no such probe: " + name}
	}
	e, err := p.o.Engine(ctx)
	if err != nil {
		return preflight.Unknown, []string{err.Error()}
	}
	return ask(p, ctx, e)
}

// unknown is the outcome of a probe that met an error.
func unknown(err error) (outcome string, evidence []string) {
	return preflight.Unknown, []string{err.Error()}
}

// client reaches the cluster.
func (p *Probes) client() (kubernetes.Interface, error) {
	if p.o.Client != nil {
		return p.o.Client, nil
	}
	if _, err := os.Stat(p.o.Host.Kubeconfig); err != nil {
		return nil, fmt.Errorf("the cluster cannot be asked: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", p.o.Host.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("the cluster cannot be asked: %w", err)
	}
	config = rest.CopyConfig(config)
	config.Timeout = 10 * time.Second
	return kubernetes.NewForConfig(config)
}

// cluster is the name of the cluster.
func (p *Probes) cluster() string { return p.o.Host.Cluster }

// nodes are the cluster's node containers.
func (p *Probes) nodes(ctx context.Context, e Engine) ([]engine.Container, error) {
	all, err := e.AllContainers(ctx)
	if err != nil {
		return nil, err
	}
	var nodes []engine.Container
	for _, c := range all {
		if c.Labels[engine.KindLabel] == p.cluster() {
			nodes = append(nodes, c)
		}
	}
	return nodes, nil
}
