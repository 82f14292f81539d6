package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

func testDeliveries(t *testing.T, wait time.Duration, delivered func(context.Context, string) error) (*deliveries, *bell) {
	t.Helper()
	b := &bell{}
	d := newDeliveries(delivered, wait, b.wake)
	t.Cleanup(d.close)
	return d, b
}

func TestHeldStatusWaitsForItsEvents(t *testing.T) {
	unreachable := errors.New("unreachable")
	for name, tt := range map[string]struct {
		takes time.Duration
		err   error
		ready time.Duration
		want  error
	}{
		"delivered":     {takes: time.Second, ready: time.Second},
		"refused":       {takes: time.Second, err: unreachable, ready: time.Second, want: unreachable},
		"not delivered": {takes: time.Hour, ready: 5 * time.Second, want: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, b := testDeliveries(t, 5*time.Second, func(ctx context.Context, id string) error {
					if id != "rr-1" {
						t.Errorf("waits for %q", id)
					}
					select {
					case <-time.After(tt.takes):
						return tt.err
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				a := running(false)
				name, s := nameOf(a), stampOf(a)
				next := &v1alpha1.AIAnalysisStatus{Phase: v1alpha1.PhaseFailed}
				if !d.hold(name, facts{analysis: a}, next) {
					t.Fatal("not held")
				}
				time.Sleep(tt.ready - time.Millisecond)
				synctest.Wait()
				if h, ok := d.lookup(name, s); !ok || h.ready || h.next != next {
					t.Fatalf("before its time: got %+v, %v", h, ok)
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				if h, ok := d.lookup(name, s); !ok || !h.ready || !errors.Is(h.err, tt.want) {
					t.Errorf("got %+v, %v; want ready with error %v", h, ok, tt.want)
				}
				if got := b.count(name); got != 1 {
					t.Errorf("woken %d times, want once", got)
				}
				d.drop(name)
				if _, ok := d.lookup(name, s); ok {
					t.Error("held after the drop")
				}
			})
		})
	}
}

func TestHeldStatusIsForOneState(t *testing.T) {
	d, _ := testDeliveries(t, time.Hour, func(context.Context, string) error { return nil })
	a := running(false)
	d.hold(nameOf(a), facts{analysis: a}, &v1alpha1.AIAnalysisStatus{})
	other := running(false)
	other.UID = "another"
	if _, ok := d.lookup(nameOf(a), stampOf(other)); ok {
		t.Error("found for another resource of the same name")
	}
	if _, ok := d.lookup(nameOf(a), stampOf(a)); ok {
		t.Error("kept after it was found to belong to the past")
	}
}

func TestNoWaitWithoutABound(t *testing.T) {
	d, _ := testDeliveries(t, 0, func(context.Context, string) error { return nil })
	a := running(false)
	if d.hold(nameOf(a), facts{analysis: a}, &v1alpha1.AIAnalysisStatus{}) {
		t.Error("held although no wait is configured")
	}
}
