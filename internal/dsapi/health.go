package dsapi

import (
	"context"
	"net/http"
	"time"

	"kubernaut.ai/kubernaut/internal/dsapi/internal/gen"
)

// operations implement the specification, one method for each operation. They return errors of the
// domain, and Server.fail answers with them.
type operations struct{ *Server }

var _ gen.StrictServerInterface = (*operations)(nil)

// pingTimeout bounds a question to the database: kubelet asks with a timeout of about this.
const pingTimeout = 2 * time.Second

// reachable asks the database. Why it does not answer goes to the log only: it can name hosts and
// users.
func (s *operations) reachable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		s.log.Warn("Database does not answer", "error", err)
		return false
	}
	return true
}

func (s *operations) GetHealth(ctx context.Context, _ gen.GetHealthRequestObject) (gen.GetHealthResponseObject, error) {
	if !s.reachable(ctx) {
		return gen.GetHealth503JSONResponse{Status: gen.Unhealthy, Database: gen.Unreachable}, nil
	}
	return gen.GetHealth200JSONResponse{Status: gen.Healthy, Database: gen.Connected}, nil
}

// readiness returns nil when requests should be sent here.
func (s *operations) readiness(ctx context.Context) *gen.ReadinessReason {
	reason := gen.ShuttingDown
	if !s.draining.Load() {
		if s.reachable(ctx) {
			return nil
		}
		reason = gen.DatabaseUnreachable
	}
	return &reason
}

func (s *operations) GetHealthReady(ctx context.Context, _ gen.GetHealthReadyRequestObject) (gen.GetHealthReadyResponseObject, error) {
	if reason := s.readiness(ctx); reason != nil {
		return gen.GetHealthReady503JSONResponse{NotReadyJSONResponse: gen.NotReadyJSONResponse{Status: gen.ReadinessStatusNotReady, Reason: reason}}, nil
	}
	return gen.GetHealthReady200JSONResponse{ReadyJSONResponse: gen.ReadyJSONResponse{Status: gen.ReadinessStatusReady}}, nil
}

func (s *operations) GetReadyz(ctx context.Context, _ gen.GetReadyzRequestObject) (gen.GetReadyzResponseObject, error) {
	if reason := s.readiness(ctx); reason != nil {
		return gen.GetReadyz503JSONResponse{NotReadyJSONResponse: gen.NotReadyJSONResponse{Status: gen.ReadinessStatusNotReady, Reason: reason}}, nil
	}
	return gen.GetReadyz200JSONResponse{ReadyJSONResponse: gen.ReadyJSONResponse{Status: gen.ReadinessStatusReady}}, nil
}

func (s *operations) GetHealthLive(context.Context, gen.GetHealthLiveRequestObject) (gen.GetHealthLiveResponseObject, error) {
	return gen.GetHealthLive200JSONResponse{AliveJSONResponse: gen.AliveJSONResponse{Status: gen.LivenessStatusAlive}}, nil
}

func (s *operations) GetHealthz(context.Context, gen.GetHealthzRequestObject) (gen.GetHealthzResponseObject, error) {
	return gen.GetHealthz200JSONResponse{AliveJSONResponse: gen.AliveJSONResponse{Status: gen.LivenessStatusAlive}}, nil
}

func (s *operations) GetMetrics(ctx context.Context, _ gen.GetMetricsRequestObject) (gen.GetMetricsResponseObject, error) {
	return metricsResponse{ctx, s.o.Metrics}, nil
}

// metricsResponse lets the handler of the metrics write the answer.
type metricsResponse struct {
	ctx     context.Context
	handler http.Handler
}

func (m metricsResponse) VisitGetMetricsResponse(w http.ResponseWriter) error {
	r, err := http.NewRequestWithContext(m.ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	m.handler.ServeHTTP(w, r)
	return nil
}
