package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	conflistFile = "/etc/cni/net.d/10-kindnet.conflist"
	// Until this node has its addresses, pods wait for it; later, only nodes that are added or replaced matter.
	soon, later = 250 * time.Millisecond, 3 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Getenv, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cnid:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, env func(string) string, log *slog.Logger) error {
	self, err := netip.ParseAddr(env("HOST_IP"))
	if err != nil {
		return fmt.Errorf("HOST_IP must be the address of this node: %w", err)
	}
	pods, err := podSubnet(env("POD_SUBNET"))
	if err != nil {
		return err
	}
	// Kind gives the API server's address where kube-proxy, which makes the service's work, may come later.
	endpoint := env("CONTROL_PLANE_ENDPOINT")
	if endpoint == "" {
		endpoint = net.JoinHostPort(env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT"))
	}
	d := daemon{self: self, pods: pods, nodes: apiServer("https://" + endpoint), route: replaceRoute, write: writeFile, log: log}
	for {
		wait := later
		if err := d.sync(ctx); err != nil {
			log.Warn("not all is as it should be", "error", err)
		}
		if d.written == "" {
			wait = soon
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// daemon makes one node fit what the API server says about all.
type daemon struct {
	self  netip.Addr
	pods  netip.Prefix // of the whole cluster
	nodes func(context.Context) ([]node, error)
	route func(pods netip.Prefix, via netip.Addr) error
	write func(name string, content []byte) error
	log   *slog.Logger

	written string // the configuration that is in place
}

// sync does all it can and returns what it could not.
func (d *daemon) sync(ctx context.Context) error {
	nodes, err := d.nodes(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range nodes {
		switch {
		case !n.pods.IsValid() || !n.address.IsValid(): // it has not got its addresses yet
		case n.address != d.self:
			if err := d.route(n.pods, n.address); err != nil {
				errs = append(errs, fmt.Errorf("route %s by %s: %w", n.pods, n.address, err))
			}
		default:
			want, err := conflist(d.pods, n.pods)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if want == d.written {
				continue
			}
			if err := d.write(conflistFile, []byte(want)); err != nil {
				errs = append(errs, err)
				continue
			}
			d.written = want
			d.log.Info("configured the CNI plugins", "pods", n.pods)
		}
	}
	return errors.Join(errs...)
}

// writeFile writes a file so that nobody sees a part of it.
func writeFile(name string, content []byte) error {
	tmp := filepath.Join(filepath.Dir(name), ".cnid")
	if err := os.WriteFile(tmp, content, 0o644); err != nil { //nolint:gosec // the kubelet's plugins read it
		return err
	}
	return os.Rename(tmp, name)
}
