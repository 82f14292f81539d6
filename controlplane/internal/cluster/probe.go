package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	readyTimeout  = 2 * time.Minute
	probeInterval = 20 * time.Millisecond
	probeTimeout  = 5 * time.Second // of one request
)

// probe asks the API server for paths, as the administrator.
type probe struct {
	client *http.Client
	url    string
}

func newProbe(kubeconfig string) (*probe, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig back: %w", err)
	}
	cfg.Timeout = probeTimeout
	c, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", cfg.Host, err)
	}
	return &probe{client: c, url: cfg.Host}, nil
}

func (p *probe) close() { p.client.CloseIdleConnections() }

// wait returns when each path has answered 200, or with the last answer when ctx, the API server or the time ends.
func (p *probe) wait(ctx context.Context, api *component, paths ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready within %s", readyTimeout))
	defer cancel()
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for _, path := range paths {
		for {
			err := p.get(ctx, path)
			if err == nil {
				break
			}
			select {
			case <-tick.C:
			case <-api.done:
				return errors.New("kube-apiserver ended during its start")
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
		}
	}
	return nil
}

func (p *probe) get(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 2048))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, body)
	}
	return nil
}
