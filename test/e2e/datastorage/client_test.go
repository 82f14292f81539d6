//go:build e2e

package datastorage

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/test/e2e"
)

// longestPause is the longest that the client pauses after a failure.
const longestPause = 3 * time.Second

var _ = Describe("The services' audit client", Serial, func() {
	It("delivers everything once after an outage longer than its pauses, in which its own process ended too", func(ctx SpecContext) {
		dir, told := GinkgoT().TempDir(), newFacts()
		c := openClient(dir)
		told.tell(ctx, c, 300)
		Expect(c.client.Flush(ctx)).To(Succeed())

		Expect(sys.ScaleStatefulSet(ctx, e2e.Namespace, e2e.Database, 0)).To(Succeed())
		told.tell(ctx, c, 300)
		since := time.Now()
		failures := c.failures()
		Expect(e2e.Until(ctx, "the client has tried again after its longest pause", func(context.Context) string {
			if time.Since(since) > 2*longestPause && c.failures() >= failures+2 {
				return ""
			}
			return fmt.Sprintf("%v failures after %v", c.failures()-failures, time.Since(since))
		})).To(Succeed())
		Expect(c.client.Pending()).To(BeNumerically(">=", 300))

		By("the writer ending, and beginning again with what it finds on its disk")
		c.close(0)
		c = openClient(dir)
		DeferCleanup(func() { c.close(time.Second) })
		Expect(c.client.Pending()).To(BeNumerically(">=", 300))
		told.tell(ctx, c, 300)

		Expect(sys.ScaleStatefulSet(ctx, e2e.Namespace, e2e.Database, 1)).To(Succeed())
		Expect(c.client.Flush(ctx)).To(Succeed())
		Expect(c.client.Pending()).To(BeZero())
		told.check(ctx)
	}, SpecTimeout(specTime))

	It("delivers everything once while the database is killed and Data Storage is rolled", func(ctx SpecContext) {
		told, c := newFacts(), openClient(GinkgoT().TempDir())
		DeferCleanup(func() { c.close(time.Second) })
		stop := make(chan struct{})
		var writers sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				defer GinkgoRecover()
				pace := time.NewTicker(load.Every)
				defer pace.Stop()
				for {
					select {
					case <-pace.C:
						told.tell(ctx, c, 5)
					case <-stop:
						return
					case <-ctx.Done():
						return
					}
				}
			})
		}
		killDatabase(ctx)
		roll(ctx)
		killDatabase(ctx)
		close(stop)
		writers.Wait()
		Expect(c.client.Flush(ctx)).To(Succeed())
		told.check(ctx)
	}, SpecTimeout(specTime))
})

// auditClient is the audit client as services use it, with what this process needs to look at it.
type auditClient struct {
	client  *audit.Client
	metrics *prometheus.Registry
}

// openClient opens the client over a directory, with the system under test as its sink.
func openClient(dir string) *auditClient {
	GinkgoHelper()
	sink, err := dsapi.NewClient(sys.DataStorage, nil)
	Expect(err).NotTo(HaveOccurred())
	metrics := prometheus.NewRegistry()
	c, err := audit.Open(audit.Options{
		Dir: dir, Sink: sink, Service: "e2e", Registerer: metrics, MaxBackoff: longestPause, WriteTimeout: load.Patience,
		Logger: slog.New(slog.NewTextHandler(GinkgoWriter, nil)),
	})
	Expect(err).NotTo(HaveOccurred())
	return &auditClient{c, metrics}
}

// close ends the client, with so much time for what it has not delivered.
func (c *auditClient) close(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = c.client.Close(ctx) // what is left is on the disk
}

// failures is how often the client could not deliver.
func (c *auditClient) failures() float64 {
	GinkgoHelper()
	families, err := c.metrics.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, f := range families {
		if f.GetName() == "audit_batches_failed_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	Fail("the client counts no failures")
	return 0
}

// facts are the events that a client has taken.
type facts struct {
	trails []string

	mu    sync.Mutex
	made  int
	taken map[string]map[string]bool // ids by trail
}

func newFacts() *facts {
	f := &facts{taken: map[string]map[string]bool{}}
	for range 4 {
		f.trails = append(f.trails, newTrail())
	}
	return f
}

// tell gives a client so many events.
func (f *facts) tell(ctx context.Context, c *auditClient, count int) {
	GinkgoHelper()
	batch := make([]incident.AuditEvent, count)
	f.mu.Lock()
	for i := range batch {
		f.made++
		batch[i] = incident.AuditEvent{
			ID: uuid.NewString(), Version: "1.0", Type: "e2e.client", Timestamp: time.Now().UTC(), Category: "analysis", Action: "tell",
			Outcome: incident.OutcomeSuccess, CorrelationID: f.trails[f.made%len(f.trails)], Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, f.made)),
		}
	}
	f.mu.Unlock()
	Expect(c.client.RecordAll(ctx, batch...)).To(Succeed())
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range batch {
		if f.taken[e.CorrelationID] == nil {
			f.taken[e.CorrelationID] = map[string]bool{}
		}
		f.taken[e.CorrelationID][e.ID] = true
	}
}

// check expects on each replica what the clients have taken, each event once, and nothing else.
func (f *facts) check(ctx context.Context) {
	GinkgoHelper()
	settle(ctx)
	for _, r := range replicas(ctx) {
		for trail, want := range f.taken {
			Expect(r.VerifyTrail(ctx, trail)).To(Succeed())
			stored, err := r.Trail(ctx, trail)
			Expect(err).NotTo(HaveOccurred())
			got := make(map[string]bool, len(stored))
			for _, e := range stored {
				got[e.ID] = true
			}
			Expect(stored).To(HaveLen(len(want)), "events of %s", trail)
			Expect(got).To(Equal(want), "ids of %s", trail)
		}
	}
}
