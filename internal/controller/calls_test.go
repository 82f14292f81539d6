package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/internal/incident"
)

// service is an investigating service: it answers when told to, or after a time, and counts.
type service struct {
	mu    sync.Mutex
	takes time.Duration
	err   error
	calls map[string]int // by key
	most  int            // at once
	now   int
}

func newService() *service { return &service{calls: make(map[string]int)} }

func (s *service) Investigate(ctx context.Context, key string, _ incident.Incident) (incident.Investigation, error) {
	s.mu.Lock()
	s.calls[key]++
	s.now++
	s.most = max(s.most, s.now)
	takes := s.takes
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return incident.Investigation{}, incident.Errorf(incident.KindTimeout, "investigate", "%w", ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return found(), s.err
}

// set changes how the service answers from now on.
func (s *service) set(takes time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes, s.err = takes, err
}

// bell counts who was woken.
type bell struct {
	mu    sync.Mutex
	rings map[types.NamespacedName]int
}

func (b *bell) wake(name types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rings == nil {
		b.rings = make(map[types.NamespacedName]int)
	}
	b.rings[name]++
}

func (b *bell) count(name types.NamespacedName) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rings[name]
}

func object(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: fmt.Sprint("web-", i)}
}

func testCalls(t *testing.T, s Settings, inv Investigator) (*calls, *bell) {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bell{}
	c := newCalls(inv, s, time.Now, slog.New(slog.DiscardHandler), m, b.wake)
	t.Cleanup(c.close)
	return c, b
}

func TestCallIsKeptUntilDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService()
		svc.set(time.Second, nil)
		c, b := testCalls(t, DefaultSettings(), svc)
		p, sl := c.reserve(object(1), 0)
		if p == nil || !sl.free {
			t.Fatalf("no slot: %+v", sl)
		}
		p.start("k1", incident.Incident{}, time.Minute)
		p.release() // of a used permit: nothing
		if a, runs := c.lookup(object(1), "k1"); a != nil || !runs {
			t.Fatalf("got answer %v, running %v; want a running call", a, runs)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for range 2 { // looking does not use it up
			a, runs := c.lookup(object(1), "k1")
			if a == nil || runs || a.err != nil || a.investigation.Workflow == nil || a.took != time.Second {
				t.Fatalf("got answer %+v, running %v", a, runs)
			}
		}
		if got := b.count(object(1)); got != 1 {
			t.Errorf("woken %d times, want once", got)
		}
		c.drop(object(1))
		if a, runs := c.lookup(object(1), "k1"); a != nil || runs {
			t.Errorf("after the drop: answer %v, running %v", a, runs)
		}
	})
}

func TestCallForAnotherKeyIsThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService()
		svc.set(time.Hour, nil)
		c, b := testCalls(t, DefaultSettings(), svc)
		p, _ := c.reserve(object(1), 0)
		p.start("k1", incident.Incident{}, 2*time.Hour)
		synctest.Wait()
		if a, runs := c.lookup(object(1), "k2"); a != nil || runs {
			t.Errorf("got the call for another key: answer %v, running %v", a, runs)
		}
		synctest.Wait()
		if svc.now != 0 {
			t.Error("the call of the past still runs")
		}
		if got := b.count(object(1)); got != 0 {
			t.Errorf("woken %d times by a call of the past", got)
		}
		if p, _ := c.reserve(object(1), 0); p == nil {
			t.Error("its slot was not given back")
		}
	})
}

func TestCallTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService()
		svc.set(time.Hour, nil)
		c, _ := testCalls(t, DefaultSettings(), svc)
		p, _ := c.reserve(object(1), 0)
		p.start("k1", incident.Incident{}, time.Minute)
		time.Sleep(time.Minute)
		synctest.Wait()
		a, _ := c.lookup(object(1), "k1")
		if a == nil || incident.KindOf(a.err) != incident.KindTimeout {
			t.Errorf("got answer %+v, want a timeout", a)
		}
	})
}

type panicking struct{}

func (panicking) Investigate(context.Context, string, incident.Incident) (incident.Investigation, error) {
	panic("boom")
}

func TestPanicInACallIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := testCalls(t, DefaultSettings(), panicking{})
		p, _ := c.reserve(object(1), 0)
		p.start("k1", incident.Incident{}, time.Minute)
		synctest.Wait()
		if a, _ := c.lookup(object(1), "k1"); a == nil || incident.KindOf(a.err) != incident.KindInternal {
			t.Errorf("got answer %+v, want an internal error", a)
		}
	})
}

// With more objects than slots, never more run than there are slots, each gets its turn in the order
// in which it asked, and newcomers do not overtake.
func TestSlotsAreBoundedAndFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots, objects = 3, 21
		s := DefaultSettings()
		s.MaxInFlight = slots
		svc := newService()
		svc.set(time.Second, nil)
		c, b := testCalls(t, s, svc)
		start := func(i int) bool {
			p, _ := c.reserve(object(i), 0)
			if p == nil {
				return false
			}
			p.start(fmt.Sprint("k", i), incident.Incident{}, time.Minute)
			return true
		}
		for i := range objects {
			if got, want := start(i), i < slots; got != want {
				t.Fatalf("object %d started: %v, want %v", i, got, want)
			}
		}
		for next := slots; next < objects; next += slots {
			time.Sleep(time.Second)
			synctest.Wait()
			if start(1000 + next) {
				t.Fatalf("a newcomer overtook object %d", next)
			}
			c.drop(object(1000 + next))
			for i := next; i < min(next+slots, objects); i++ {
				if b.count(object(i)) != 1 {
					t.Fatalf("object %d was not woken when its turn came", i)
				}
				if !start(i) {
					t.Fatalf("object %d was woken and got no slot", i)
				}
			}
			for i := range next {
				c.drop(object(i))
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if svc.most > slots {
			t.Errorf("%d calls at once, more than %d", svc.most, slots)
		}
	})
}

// An object that was invited and is gone does not keep its slot.
func TestInvitationOfTheGoneIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := DefaultSettings()
		s.MaxInFlight = 1
		c, b := testCalls(t, s, newService())
		p, _ := c.reserve(object(0), 0)
		c.reserve(object(1), 0)
		c.reserve(object(2), 0)
		p.release()
		if b.count(object(1)) != 1 || b.count(object(2)) != 0 {
			t.Fatalf("woken: object 1 %d times, object 2 %d times; want only object 1", b.count(object(1)), b.count(object(2)))
		}
		c.drop(object(1))
		if b.count(object(2)) != 1 {
			t.Error("the slot was not passed on")
		}
	})
}

// Answers that nobody uses stop new calls at some point: memory is bounded.
func TestUnusedAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := DefaultSettings()
		s.MaxInFlight = 2
		c, _ := testCalls(t, s, newService())
		n := 0
		for ; n < 100; n++ {
			p, _ := c.reserve(object(n), 0)
			if p == nil {
				break
			}
			p.start("k", incident.Incident{}, time.Minute)
			synctest.Wait()
		}
		if n != 4*s.MaxInFlight {
			t.Errorf("%d answers are kept, want %d", n, 4*s.MaxInFlight)
		}
		c.drop(object(0))
		if p, _ := c.reserve(object(n), 0); p == nil {
			t.Error("no slot for the one that waited, after an answer was dropped")
		}
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := DefaultSettings()
		s.BreakerFailures, s.BreakerOpenFor = 3, 10*time.Second
		svc := newService()
		c, _ := testCalls(t, s, svc)
		call := func(i int, err error) (started bool, sl slot) {
			p, sl := c.reserve(object(i), 0)
			if p == nil {
				return false, sl
			}
			svc.set(0, err)
			p.start("k", incident.Incident{}, time.Minute)
			time.Sleep(time.Millisecond)
			synctest.Wait()
			c.drop(object(i))
			return true, sl
		}
		refused, gone := httpError(incident.KindInvalid, 400), httpError(incident.KindUnavailable, 503)
		for i := range 10 { // a service that refuses requests is not down
			if ok, _ := call(i, refused); !ok {
				t.Fatal("refusals opened the breaker")
			}
		}
		for i := range 3 {
			if ok, _ := call(i, gone); !ok {
				t.Fatalf("open after %d failures", i)
			}
		}
		if ok, sl := call(0, nil); ok || !sl.broken || sl.retryIn < s.BreakerOpenFor {
			t.Fatalf("not open after 3 failures: %+v", sl)
		}
		time.Sleep(s.BreakerOpenFor + time.Millisecond)
		p, _ := c.reserve(object(1), 0) // the probe, which is not made
		if p == nil {
			t.Fatal("no probe when half open")
		}
		if q, sl := c.reserve(object(2), 0); q != nil || !sl.broken {
			t.Fatal("two probes at once")
		}
		p.release()
		if ok, _ := call(1, nil); !ok {
			t.Fatal("a probe that was not made counts as one")
		}
		for i := range 10 {
			if ok, _ := call(i, nil); !ok {
				t.Fatal("not closed after a good probe")
			}
		}
	})
}

// Close cuts calls off and returns when they have ended; nobody is told of an outcome.
func TestCloseCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService()
		svc.set(time.Hour, errors.New("late"))
		c, b := testCalls(t, DefaultSettings(), svc)
		for i := range 5 {
			p, _ := c.reserve(object(i), 0)
			p.start("k", incident.Incident{}, 2*time.Hour)
		}
		late, _ := c.reserve(object(9), 0)
		synctest.Wait()
		c.close()
		if svc.now != 0 {
			t.Errorf("%d calls still run", svc.now)
		}
		late.start("k", incident.Incident{}, time.Hour)
		if a, runs := c.lookup(object(9), "k"); a != nil || runs {
			t.Error("a call started after the end")
		}
		for i := range 5 {
			if a, _ := c.lookup(object(i), "k"); a != nil || b.count(object(i)) != 0 {
				t.Errorf("object %d was told of an outcome", i)
			}
		}
	})
}
