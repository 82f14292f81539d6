package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/deploy/base"
	"kubernaut.ai/kubernaut/deploy/catalog"
	"kubernaut.ai/kubernaut/deploy/crd"
	"kubernaut.ai/kubernaut/deploy/policies"
	"kubernaut.ai/kubernaut/internal/controlplane"
)

// stopWithin is how long one part may take to stop before it is given up.
const stopWithin = 25 * time.Second

// systemOptions say how to start a system.
type systemOptions struct {
	dir      string              // the data directory
	env      func(string) string // what chooses the API server
	progress *progress
	clock    func() time.Time
}

// system is the API server and the three services, in one process.
type system struct {
	dir    string
	state  runState
	config *rest.Config // the administrator's
	logger *slog.Logger

	release func() error // of the lock
	log     *os.File
	server  *controlplane.Server
	parts   []*part
	ended   chan *part // receives the first part that ends by itself
}

// part is a running service.
type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid when done is closed
}

// startSystem starts everything and returns when all of it is ready. When it fails, nothing is left
// running. ctx bounds the start and no more: stop ends the system.
func startSystem(ctx context.Context, o systemOptions) (_ *system, err error) {
	release, err := lockDataDir(o.dir)
	if err != nil {
		return nil, err
	}
	s := &system{dir: o.dir, release: release, ended: make(chan *part, 1)}
	s.state.PID, s.state.StartedAt = os.Getpid(), o.clock().UTC()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop(o.progress))
		}
	}()
	if s.log, err = os.OpenFile(filepath.Join(o.dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	s.logger = slog.New(slog.NewJSONHandler(s.log, nil))

	if err := s.startAPIServer(ctx, o); err != nil {
		return nil, err
	}
	if err := s.install(ctx, o.progress); err != nil {
		return nil, err
	}
	if err := s.startServices(ctx, o); err != nil {
		return nil, err
	}
	return s, writeRunState(o.dir, s.state)
}

func (s *system) startAPIServer(ctx context.Context, o systemOptions) error {
	t := o.progress.start("Kubernetes API server")
	var err error
	s.server, err = controlplane.Start(ctx, controlplane.Options{
		Dir:      filepath.Join(o.dir, "controlplane"),
		Getenv:   o.env,
		Progress: func(p controlplane.Progress) { t.update("%s", p) },
	})
	if err != nil {
		t.fail(err)
		return err
	}
	s.config, s.state.Kubeconfig = s.server.Config(), s.server.Kubeconfig()
	t.done("%s", s.config.Host)
	return nil
}

// install puts the resource and the services' permissions into the cluster, and the policy and the
// catalog into the data directory.
func (s *system) install(ctx context.Context, p *progress) (err error) {
	t := p.start("AIAnalysis resource and permissions")
	defer func() {
		if err != nil {
			t.fail(err)
		} else {
			t.done("")
		}
	}()
	if err := controlplane.InstallCRDs(ctx, s.config, crd.AIAnalysis()); err != nil {
		return err
	}
	if err := s.installPermissions(ctx); err != nil {
		return fmt.Errorf("install permissions: %w", err)
	}
	// The policy is the user's to edit, and is reloaded when it changes; the catalog is ours.
	if err := writeIfMissing(s.policyPath(), []byte(policies.Approval())); err != nil {
		return err
	}
	return s.writeCatalog()
}

func (s *system) policyPath() string { return filepath.Join(s.dir, "policies", "approval.rego") }

func (s *system) catalogDir() string { return filepath.Join(s.dir, "catalog") }

func (s *system) installPermissions(ctx context.Context) error {
	manifests, err := base.Permissions()
	if err != nil {
		return err
	}
	c, err := client.New(s.config, client.Options{})
	if err != nil {
		return err
	}
	for _, m := range manifests {
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(m), 4096)
		for {
			u := &unstructured.Unstructured{}
			err := decoder.Decode(&u.Object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if u.Object == nil {
				continue
			}
			namespaced, err := c.IsObjectNamespaced(u)
			if err != nil {
				return err
			}
			if namespaced && u.GetNamespace() == "" {
				u.SetNamespace(base.Namespace)
			}
			if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("kubernaut"), client.ForceOwnership); err != nil {
				return fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err)
			}
		}
	}
	return nil
}

func (s *system) writeCatalog() error {
	if err := os.RemoveAll(s.catalogDir()); err != nil {
		return err
	}
	if err := os.MkdirAll(s.catalogDir(), 0o700); err != nil {
		return err
	}
	documents, err := catalog.Documents()
	if err != nil {
		return err
	}
	for name, text := range documents {
		if err := os.WriteFile(filepath.Join(s.catalogDir(), name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func writeIfMissing(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// as returns a configuration with the rights of one of the services' ServiceAccounts and no others,
// so that what works here works in a cluster.
func (s *system) as(account string) *rest.Config {
	cfg := rest.CopyConfig(s.config)
	cfg.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + base.Namespace + ":" + account,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + base.Namespace, "system:authenticated"},
	}
	return cfg
}

// run starts a service and returns when it has called ready, has ended, or ctx has.
func (s *system) run(ctx context.Context, p *progress, name string, service func(ctx context.Context, ready func(detail string)) error) error {
	t := p.start(name)
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	pt := &part{name: name, cancel: cancel, done: make(chan struct{})}
	s.parts = append(s.parts, pt)
	ready := make(chan string, 1)
	go func() {
		pt.err = service(own, func(detail string) {
			select {
			case ready <- detail:
			default: // it says so once
			}
		})
		close(pt.done)
		if own.Err() == nil {
			select {
			case s.ended <- pt:
			default: // another was first
			}
		}
	}()
	select {
	case detail := <-ready:
		t.done("%s", detail)
		return nil
	case <-pt.done:
		err := pt.err
		if err == nil {
			err = errors.New("it ended before it was ready")
		}
		t.fail(err)
		return fmt.Errorf("%s: %w", name, err)
	case <-ctx.Done():
		t.fail(ctx.Err())
		return ctx.Err()
	}
}

// wait returns nil when ctx ends, and an error when a part of the system ends before that.
func (s *system) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case pt := <-s.ended:
		return fmt.Errorf("%s ended by itself: %w; see %s", pt.name, orUnknown(pt.err), s.log.Name())
	case <-s.server.Done():
		return fmt.Errorf("the API server ended by itself: %w", orUnknown(s.server.Stop()))
	}
}

func orUnknown(err error) error {
	if err == nil {
		return errors.New("without an error")
	}
	return err
}

// stop ends the services, the last started first, so that each finds the ones it needs until it has
// ended; then the API server.
func (s *system) stop(p *progress) error {
	t := p.start("stopping")
	var errs []error
	if err := os.Remove(filepath.Join(s.dir, stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, pt := range slices.Backward(s.parts) {
		t.update("%s", pt.name)
		pt.cancel()
		select {
		case <-pt.done:
			if pt.err != nil && !errors.Is(pt.err, context.Canceled) {
				errs = append(errs, fmt.Errorf("stop %s: %w", pt.name, pt.err))
			}
		case <-time.After(stopWithin):
			errs = append(errs, fmt.Errorf("%s has not stopped within %s", pt.name, stopWithin))
		}
	}
	if s.server != nil {
		t.update("Kubernetes API server")
		errs = append(errs, s.server.Stop())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	err := errors.Join(append(errs, s.release())...)
	if err != nil {
		t.fail(err)
	} else {
		t.drop()
	}
	return err
}
