package infrastructure

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
	"kubernaut.ai/kubernaut/test/infrastructure/preflight"
	"kubernaut.ai/kubernaut/test/infrastructure/probes"
)

// counters is where the services of a coverage run write on the nodes' volumes.
const counters = "/coverdata"

// probes decide between the causes of one text.
func (h *Harness) probes(ctx context.Context, run string) failure.Probes {
	host, err := h.hostOptions()
	if err != nil {
		return nil // the first phase says it
	}
	o := probes.Options{
		Engine: func(ctx context.Context) (probes.Engine, error) {
			e, err := h.detect(ctx)
			if err != nil {
				return nil, err
			}
			return e, nil
		},
		Host:     host,
		Images:   h.loadedRefs,
		Rendered: h.rendered,
		Log: func(phase string) string {
			files, _ := filepath.Glob(filepath.Join(h.dir, "runs", run, "phases", "*-"+phase, "log.txt"))
			if len(files) == 0 {
				return ""
			}
			return tail(files[0])
		},
	}
	o.Names = h.moduleHosts(ctx)
	if h.coverage {
		o.Counters = counters
	}
	p := probes.New(o)
	p.Begin(ctx)
	return p
}

// moduleHosts are the hosts that Go gets modules from.
func (h *Harness) moduleHosts(ctx context.Context) []string {
	out, err := h.runner(nil).Run(ctx, command.Cmd{Name: "go", Args: []string{"env", "GOPROXY"}, Dir: h.root, Deadline: 10 * time.Second})
	if err != nil {
		return nil
	}
	var hosts []string
	for _, proxy := range strings.FieldsFunc(strings.TrimSpace(string(out)), func(r rune) bool { return r == ',' || r == '|' }) {
		if u, err := url.Parse(proxy); err == nil && u.Host != "" {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}

// hostOptions say what is about to be made and where.
func (h *Harness) hostOptions() (preflight.Options, error) {
	kubeconfig, err := h.Kubeconfig()
	if err != nil {
		return preflight.Options{}, err
	}
	ports := make([]int32, 0, len(h.Suite.Ports))
	for port := range h.Suite.Ports {
		ports = append(ports, port)
	}
	return preflight.Options{
		Getenv: h.o.Getenv, StateDir: h.state, Cluster: h.Suite.Cluster, Kubeconfig: kubeconfig, Nodes: 1 + h.Suite.Workers, Ports: ports,
		Network: engine.NetworkFor(h.o.Getenv, h.state),
	}, nil
}

// remember keeps what was loaded, for the probes.
func (h *Harness) remember(refs []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refs = refs
}

func (h *Harness) loadedRefs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refs
}

// rendered reports whether an object is among the manifests.
func (h *Harness) rendered(kind, namespace, name string) bool {
	set, err := manifest.Render(os.DirFS(h.deployDir()), h.Suite.Overlay, nil)
	if err != nil {
		return false
	}
	for _, o := range set.Objects {
		if o.Raw.GetKind() == kind && o.GetNamespace() == namespace && o.GetName() == name {
			return true
		}
	}
	return false
}

// tail returns the end of a file.
func tail(file string) string {
	const most = 64 << 10
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(content[max(0, len(content)-most):])
}
