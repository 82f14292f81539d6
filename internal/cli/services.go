package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"kubernaut.ai/kubernaut/internal/app/aianalysis"
	"kubernaut.ai/kubernaut/internal/app/datastorage"
	"kubernaut.ai/kubernaut/internal/app/holmesgptapi"
	"kubernaut.ai/kubernaut/internal/config"
)

// The ports that are taken when they are free: those of the E2E host.
const (
	portHealth      = 8184
	portMetrics     = 9184
	portHolmesGPT   = 8088
	portDataStorage = 8091
)

// startServices starts the three services, each when the ones that it calls are ready.
func (s *system) startServices(ctx context.Context, o systemOptions) error {
	err := s.run(ctx, o.progress, "Data Storage", func(ctx context.Context, ready func(string)) error {
		cfg := config.DefaultDataStorage()
		cfg.Server.Host, cfg.Server.Port = localhost, freePort(portDataStorage)
		cfg.Database.Path = filepath.Join(s.dir, "datastorage.db")
		cfg.Catalog.Dir = s.catalogDir()
		return datastorage.Run(ctx, cfg, datastorage.Options{
			Logger: s.logger.With("service", "datastorage"),
			Ready: func(a net.Addr) {
				s.state.DataStorage = "http://" + a.String()
				ready(s.state.DataStorage)
			},
		})
	})
	if err != nil {
		return err
	}
	err = s.run(ctx, o.progress, "investigation API", func(ctx context.Context, ready func(string)) error {
		cfg := config.DefaultHolmesGPTAPI()
		cfg.Server.Host, cfg.Server.Port = localhost, freePort(portHolmesGPT)
		cfg.DataStorage.URL = s.state.DataStorage
		cfg.State.Dir = filepath.Join(s.dir, "holmesgpt-api", "state")
		cfg.Audit.Dir = filepath.Join(s.dir, "holmesgpt-api", "audit")
		return holmesgptapi.Run(ctx, cfg, holmesgptapi.Options{
			Logger: s.logger.With("service", "holmesgpt-api"),
			Rest:   s.as("holmesgpt-api"),
			Ready: func(a holmesgptapi.Addresses) {
				s.state.HolmesGPT = "http://" + a.API
				ready(s.state.HolmesGPT)
			},
		})
	})
	if err != nil {
		return err
	}
	return s.run(ctx, o.progress, "AIAnalysis controller", func(ctx context.Context, ready func(string)) error {
		cfg := config.DefaultAIAnalysis()
		cfg.Controller.MetricsAddr = freeAddress(portMetrics)
		cfg.Controller.HealthProbeAddr = freeAddress(portHealth)
		cfg.HolmesGPT.URL, cfg.DataStorage.URL = s.state.HolmesGPT, s.state.DataStorage
		cfg.Rego.PolicyPath = s.policyPath()
		cfg.Audit.Dir = filepath.Join(s.dir, "aianalysis", "audit")
		return aianalysis.Run(ctx, cfg, aianalysis.Options{
			Logger: s.logger.With("service", "aianalysis"),
			Rest:   s.as("aianalysis-controller"),
			Ready: func(a aianalysis.Addresses) {
				s.state.Health, s.state.Metrics = "http://"+a.Health, "http://"+a.Metrics+"/metrics"
				go func() {
					if untilReady(ctx, s.state.Health+"/readyz") == nil {
						ready(s.state.Health)
					}
				}()
			},
		})
	})
}

const localhost = "127.0.0.1"

// freePort returns the preferred port when it is free, else 0, which means any.
func freePort(preferred int) int {
	l, err := net.Listen("tcp", net.JoinHostPort(localhost, strconv.Itoa(preferred)))
	if err != nil {
		return 0
	}
	_ = l.Close()
	return preferred
}

func freeAddress(preferred int) string {
	return net.JoinHostPort(localhost, strconv.Itoa(freePort(preferred)))
}

// untilReady asks a readiness probe until it says yes or ctx ends.
func untilReady(ctx context.Context, url string) error {
	hc := &http.Client{Timeout: 5 * time.Second}
	defer hc.CloseIdleConnections()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := hc.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s answers %s", url, resp.Status)
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
