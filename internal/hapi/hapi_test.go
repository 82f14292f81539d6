package hapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"kubernaut.ai/kubernaut/internal/hapi"
	"kubernaut.ai/kubernaut/internal/incident"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an investigator that works: it answers with what it was asked, and remembers it.
type fake struct {
	// answer, when set, replaces the answer.
	answer func(context.Context, incident.Incident) (incident.Investigation, error)

	mu    sync.Mutex
	asked []incident.Incident
	under []incident.Request
}

func (f *fake) Investigate(ctx context.Context, in incident.Incident) (incident.Investigation, error) {
	f.mu.Lock()
	f.asked = append(f.asked, in)
	f.under = append(f.under, incident.RequestOf(ctx))
	f.mu.Unlock()
	if f.answer != nil {
		return f.answer(ctx, in)
	}
	return finding(in), nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// finding is a plain answer to in.
func finding(in incident.Incident) incident.Investigation {
	inv := incident.Investigation{
		IncidentID: in.ID, Analysis: "The container needs more memory.",
		RootCause:          incident.RootCause{Summary: "too little memory", Severity: incident.SeverityHigh, SignalType: "OOMKilled"},
		Workflow:           &incident.SelectedWorkflow{ID: "w-1", Version: "1.0.0", ContainerImage: "image", Confidence: 0.9, Rationale: "it fits"},
		Confidence:         0.9,
		TargetInOwnerChain: true,
		CompletedAt:        time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
	}
	if in.Recovery != nil {
		inv.Recovery = &incident.RecoveryAssessment{CanRecover: true}
	}
	return inv
}

func oomKill() incident.Incident {
	return incident.Incident{
		ID: "ai-1", RemediationID: "rr-1", SignalType: "OOMKilled", Severity: "critical", SignalSource: "kubernaut",
		Resource:    incident.Ref{Kind: "Pod", Namespace: "shop", Name: "cart-1"},
		Environment: "staging", Priority: "P1", RiskTolerance: "medium", BusinessCategory: "standard", ClusterName: "default",
	}
}

func failedRecovery() incident.Incident {
	in := oomKill()
	in.Recovery = &incident.Recovery{Attempt: 2, Previous: []incident.Execution{{Ref: "we-1", Workflow: incident.SelectedWorkflow{ID: "w-1"}}}}
	return in
}

// service is a server under test and its address.
type service struct {
	*hapi.Server
	url    string
	client *hapi.Client
	stop   func()
}

// serve starts a server with o, whose Investigator and StateDir may be left out.
func serve(t testing.TB, o hapi.Options) *service {
	t.Helper()
	if o.Investigator == nil {
		o.Investigator = &fake{}
	}
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	s, err := hapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	client, err := hapi.NewClient(h.URL, h.Client())
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		h.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
	t.Cleanup(stop)
	return &service{Server: s, url: h.URL, client: client, stop: stop}
}

// send makes a request and returns the answer with its body read.
func send(t testing.TB, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return resp, string(b)
}

const incidentBody = `{"incident_id":"ai-1","remediation_id":"rr-1","signal_type":"OOMKilled","severity":"critical",
"signal_source":"kubernaut","resource_namespace":"shop","resource_kind":"Pod","resource_name":"cart-1","error_message":"",
"environment":"staging","priority":"P1","risk_tolerance":"medium","business_category":"standard","cluster_name":"default"}`

func wantKind(t *testing.T, err error, kind incident.ErrorKind) *incident.Error {
	t.Helper()
	if incident.KindOf(err) != kind {
		t.Fatalf("error %v of kind %s, want kind %s", err, incident.KindOf(err), kind)
	}
	e, ok := err.(*incident.Error) //nolint:errorlint // the contract promises the type itself
	if !ok {
		t.Fatalf("error is a %T, want *incident.Error", err)
	}
	return e
}

func diff(t *testing.T, what string, want, got any, opts ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, opts...); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
