// Package cluster composes etcd, kube-apiserver and the controllers of kube-controller-manager into one process.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// Ready says where the API is.
type Ready struct {
	Ready      bool   `json:"ready"`
	URL        string `json:"url"`
	Kubeconfig string `json:"kubeconfig"` // absolute path
}

// Run runs the control plane until ctx ends, then stops it in order and returns nil. It calls ready once, when the API
// answers, the namespace default exists and, with controllers, pods can be created in it. Run owns the process: it
// changes the working directory, the log output and process-wide feature gates, and works once.
func Run(ctx context.Context, o Options, ready func(Ready) error) (err error) {
	if err := o.validate(); err != nil {
		return err
	}
	d, err := openDir(o.Dir)
	if err != nil {
		return err
	}
	defer func() {
		d.close(err != nil)
		if err != nil {
			err = fmt.Errorf("%w (log: %s)", err, d.file(logFile))
		}
	}()
	log, err := d.openLog()
	if err != nil {
		return err
	}
	defer log.Close()
	l, err := d.listen(o.Port)
	if err != nil {
		return err
	}
	defer l.Close()
	p, err := openPKI(d.file(pkiDir), time.Now())
	if err != nil {
		return err
	}
	if err := p.writeKubeconfig(d.file(kubeconfig), "https://"+l.Addr().String()); err != nil {
		return err
	}
	var controllers func(context.Context) error
	if len(o.Controllers) > 0 {
		if controllers, err = newControllers(&o, p, d); err != nil {
			return err
		}
	}
	apiserver, err := newAPIServer(ctx, &o, p, l, log)
	if err != nil {
		return err
	}
	e, err := startEtcd(ctx, d, o.Fsync, log)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer e.Close()
	s := &stack{etcd: e, apiserver: apiserver, controllers: controllers, serviceAccounts: o.serviceAccounts()}
	return s.run(ctx, d, l, ready)
}

// stack is what runs on top of etcd.
type stack struct {
	etcd                   *embed.Etcd
	apiserver, controllers func(context.Context) error // controllers may be nil
	serviceAccounts        bool
}

// run starts the API server, then the controllers, and stops them in the opposite order.
func (s *stack) run(ctx context.Context, d *dataDir, l net.Listener, ready func(Ready) error) (err error) {
	api := start(s.apiserver)
	defer func() { err = errors.Join(err, api.stop("kube-apiserver")) }()
	probe, err := newProbe(d.file(kubeconfig))
	if err != nil {
		return err
	}
	defer probe.close()

	if err := probe.wait(ctx, api, "/readyz", "/api/v1/namespaces/default"); err != nil {
		return unlessStopped(ctx, err)
	}
	var controllersDone <-chan struct{} // never, when there are none
	if s.controllers != nil {
		cm := start(s.controllers)
		defer func() { err = errors.Join(err, cm.stop("kube-controller-manager")) }()
		controllersDone = cm.done
	}
	if s.serviceAccounts {
		if err := probe.wait(ctx, api, "/api/v1/namespaces/default/serviceaccounts/default"); err != nil {
			return unlessStopped(ctx, err)
		}
	}
	if err := ready(Ready{Ready: true, URL: "https://" + l.Addr().String(), Kubeconfig: d.file(kubeconfig)}); err != nil {
		return fmt.Errorf("report readiness: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.etcd.Err():
		return fmt.Errorf("etcd ended: %w", err)
	case <-api.done:
		return errors.New("kube-apiserver ended by itself")
	case <-controllersDone:
		return errors.New("kube-controller-manager ended by itself")
	}
}

// unlessStopped drops an error whose cause is that the control plane was told to stop while it started.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// stopTimeout bounds the stop of one component: with a request that never ends the API server would wait a minute.
const stopTimeout = 15 * time.Second

// component is a part of the control plane that runs until it is stopped. Its context is its own, because the order in
// which the parts stop matters.
type component struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid when done is closed
}

func start(run func(context.Context) error) *component {
	ctx, cancel := context.WithCancel(context.Background())
	c := &component{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = run(ctx)
	}()
	return c
}

func (c *component) stop(name string) error {
	c.cancel()
	t := time.NewTimer(stopTimeout)
	defer t.Stop()
	select {
	case <-c.done:
		return c.err
	case <-t.C:
		return fmt.Errorf("%s did not stop within %s: %w", name, stopTimeout, os.ErrDeadlineExceeded)
	}
}
