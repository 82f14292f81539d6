//go:build e2e

package datastorage

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"kubernaut.ai/kubernaut/test/e2e"
)

var _ = Describe("Two replicas", Serial, func() {
	It("share the work and agree on every trail", func(ctx SpecContext) {
		each := replicas(ctx)
		stored := func(r *e2e.System) float64 {
			GinkgoHelper()
			m, err := r.Scrape(ctx, r.DataStorage+"/metrics")
			Expect(err).NotTo(HaveOccurred())
			n, _ := m.Value("datastorage_audit_traces_total", "service", "analysis", "status", "success")
			return n
		}
		before := []float64{stored(each[0]), stored(each[1])}
		ledger, _ := disturbed(ctx, func(context.Context) {})
		var sum float64
		for i, r := range each {
			grew := stored(r) - before[i]
			Expect(grew).To(BeNumerically(">", ledger.Events()/10), "events that replica %d stored", i)
			sum += grew
		}
		Expect(sum).To(BeNumerically(">=", ledger.Events()))
	}, SpecTimeout(specTime))

	It("store once what both of them get at the same time", func(ctx SpecContext) {
		each, trail := replicas(ctx), newTrail()
		const rounds, size = 20, 10
		for round := range rounds {
			batch := make([]map[string]any, size)
			for i := range batch {
				batch[i] = event(trail, round*size+i)
			}
			var answers [4]e2e.Answer
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() {
					defer GinkgoRecover()
					answers[i] = write(ctx, each[i%2], batch...)
				})
			}
			all.Wait()
			for _, a := range answers {
				Expect(a.Status).To(Equal(http.StatusCreated), a.String())
			}
		}
		for _, r := range each {
			Expect(r.VerifyTrail(ctx, trail)).To(Succeed())
			stored, err := r.Trail(ctx, trail)
			Expect(err).NotTo(HaveOccurred())
			Expect(stored).To(HaveLen(rounds * size))
			for i, e := range stored {
				Expect(e.Field("n")).To(Equal(float64(i)), "place of event %d", i)
			}
		}
	}, SpecTimeout(specTime))

	It("refuse on either side an event with the id of another, and all of its batch", func(ctx SpecContext) {
		each, trail := replicas(ctx), newTrail()
		first := event(trail, 1)
		Expect(write(ctx, each[0], first).Status).To(Equal(http.StatusCreated))
		other := event(trail, 2)
		other["event_id"] = first["event_id"]
		for _, r := range each {
			a := write(ctx, r, event(trail, 3), other)
			Expect(a.Status).To(Equal(http.StatusConflict), a.String())
			Expect(a.Header.Get("Content-Type")).To(HavePrefix("application/problem+json"))
			Expect(a.String()).To(ContainSubstring(first["event_id"].(string)))
		}
		stored, err := each[1].Trail(ctx, trail)
		Expect(err).NotTo(HaveOccurred())
		Expect(stored).To(HaveLen(1))
		Expect(stored[0].Field("n")).To(Equal(1.0))
	}, SpecTimeout(specTime))

	It("both find what was changed in the database behind their backs", func(ctx SpecContext) {
		each := replicas(ctx)
		filled := func() string {
			trail := newTrail()
			for n := range 5 {
				Expect(write(ctx, each[n%2], event(trail, n)).Status).To(Equal(http.StatusCreated))
			}
			return trail
		}
		verdict := func(r *e2e.System, trail string) map[string]any {
			a, err := r.Get(ctx, r.DataStorage+"/api/v1/audit/verify?correlation_id="+url.QueryEscape(trail))
			Expect(err).NotTo(HaveOccurred())
			Expect(a.Status).To(Equal(http.StatusOK), a.String())
			var m map[string]any
			Expect(a.JSON(&m)).To(Succeed())
			return m
		}
		for name, change := range map[string]struct {
			sql    string
			broken float64
		}{
			"an edited event": {`UPDATE audit_events SET canonical = replace(canonical, '"n":2', '"n":7') WHERE correlation_id = '%s' AND sequence = 3`, 3},
			"a lost event":    {`DELETE FROM audit_events WHERE correlation_id = '%s' AND sequence = 2`, 2},
			"a lost end":      {`DELETE FROM audit_events WHERE correlation_id = '%s' AND sequence >= 4`, 4},
			"another outcome": {`UPDATE audit_events SET event_outcome = 'failure' WHERE correlation_id = '%s' AND sequence = 1`, 1},
		} {
			By(name)
			trail := filled()
			Expect(verdict(each[0], trail)).To(HaveKeyWithValue("valid", true))
			query(ctx, "kubernaut", "SET session_replication_role = replica; "+fmt.Sprintf(change.sql, trail)) // which no trigger sees
			for _, r := range each {
				v := verdict(r, trail)
				Expect(v).To(HaveKeyWithValue("valid", false), name)
				Expect(v).To(HaveKeyWithValue("broken_at", change.broken), name)
				Expect(v["problem"]).NotTo(BeEmpty(), name)
			}
		}
	}, SpecTimeout(specTime))

	It("serve the catalog with one and the same answer while pods and the database come and go", func(ctx SpecContext) {
		look := watchCatalog(ctx)
		for _, step := range []struct {
			what    string
			do      func(context.Context)
			longest time.Duration // without an answer
		}{
			{"Data Storage is rolled", roll, 10 * time.Second},
			{"one replica is deleted without time to end", func(ctx context.Context) { deletePod(ctx, pods(ctx)[0], 0); pods(ctx) }, 15 * time.Second},
			{"the pod of the database is replaced", replaceDatabase, 90 * time.Second},
		} {
			By(step.what)
			look.served(ctx)
			look.longest()
			step.do(ctx)
			look.served(ctx)
			Expect(look.longest()).To(BeNumerically("<", step.longest), "time without an answer while "+step.what)
		}
		served, wrong := look.end()
		Expect(wrong).To(BeEmpty())
		Expect(served).To(BeNumerically(">", 20), "searches that were answered")
	}, SpecTimeout(specTime))
})

// catalogWatch searches the catalog again and again.
type catalogWatch struct {
	stop, done chan struct{}

	mu     sync.Mutex
	count  int
	wrong  []string
	last   time.Time // of an answer
	gap    time.Duration
	failed string // the last failure
}

// watchCatalog begins to search, and expects the same answer each time.
func watchCatalog(ctx context.Context) *catalogWatch {
	GinkgoHelper()
	filters := map[string]any{"signal_type": "OOMKilled", "severity": "critical", "component": "deployment", "environment": "production", "priority": "P1"}
	search := func(ctx context.Context) (e2e.Answer, error) {
		ctx, cancel := context.WithTimeout(ctx, load.Patience)
		defer cancel()
		return sys.Send(ctx, http.MethodPost, sys.DataStorage+"/api/v1/workflows/search", map[string]any{"filters": filters}, nil)
	}
	first, err := search(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(first.Status).To(Equal(http.StatusOK), first.String())
	var found struct {
		Workflows []struct {
			Title string `json:"title"`
		} `json:"workflows"`
	}
	Expect(first.JSON(&found)).To(Succeed())
	Expect(found.Workflows).NotTo(BeEmpty(), first.String())

	w := &catalogWatch{stop: make(chan struct{}), done: make(chan struct{}), last: time.Now()}
	go func() {
		defer close(w.done)
		_ = e2e.Until(ctx, "the searches end", func(ctx context.Context) string {
			select {
			case <-w.stop:
				return ""
			default:
			}
			a, err := search(ctx)
			w.saw(a, err, string(first.Body))
			return "they go on"
		})
	}()
	return w
}

func (w *catalogWatch) saw(a e2e.Answer, err error, want string) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.failed = err.Error()
	case a.Status >= http.StatusInternalServerError:
		w.failed = a.String()
	case a.Status != http.StatusOK || string(a.Body) != want:
		w.wrong = append(w.wrong, a.String())
	default:
		w.count++
		w.gap = max(w.gap, now.Sub(w.last))
		w.last = now
	}
}

// served waits until a search that begins now is answered.
func (w *catalogWatch) served(ctx context.Context) {
	GinkgoHelper()
	count := func() (int, string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.count, w.failed
	}
	before, _ := count()
	Expect(e2e.Until(ctx, "searches are answered", func(context.Context) string {
		now, failed := count()
		if now >= before+2 {
			return ""
		}
		return failed
	})).To(Succeed())
}

// longest is the longest time without an answer since it was asked for last.
func (w *catalogWatch) longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	gap := w.gap
	w.gap = 0
	return gap
}

// end ends the searches and returns how many were answered, and the answers that were others than the first.
func (w *catalogWatch) end() (int, []string) {
	close(w.stop)
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count, w.wrong
}
