package controller

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// eventSink takes Kubernetes events, after a time, as an API server.
type eventSink struct {
	client.Client
	takes  time.Duration
	err    error
	mu     sync.Mutex
	events map[string]*corev1.Event
}

func (s *eventSink) Create(ctx context.Context, obj client.Object, _ ...client.CreateOption) error {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if _, ok := s.events[obj.GetName()]; ok {
		return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "events"}, obj.GetName())
	}
	s.events[obj.GetName()] = obj.(*corev1.Event)
	return nil
}

func testAnnouncer(t *testing.T, s *eventSink) (*announcer, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	s.events = make(map[string]*corev1.Event)
	a := newAnnouncer(s, time.Now, slog.New(slog.DiscardHandler), m)
	t.Cleanup(a.close)
	return a, reg
}

func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &eventSink{}
		a, reg := testAnnouncer(t, sink)
		on := running(false)
		on.Name = strings.Repeat("n", 199) + "-" + strings.Repeat("n", 53)
		list := []notice{{corev1.EventTypeNormal, "AnalysisCompleted", strings.Repeat("m", 5000)}, {corev1.EventTypeWarning, "AuditSpooled", "kept"}}
		a.announce(on, list)
		a.announce(on, list) // the same again, as after a crash
		synctest.Wait()
		if len(sink.events) != 2 {
			t.Fatalf("%d events, want 2", len(sink.events))
		}
		for name, e := range sink.events {
			if len(name) > 253 || strings.Contains(name, "-.") || len([]rune(e.Message)) > maxEventNote || e.InvolvedObject.Name != on.Name ||
				e.InvolvedObject.UID != on.UID || e.Source.Component != component || e.Count != 1 {
				t.Errorf("event %+v", e)
			}
		}
		if got := gathered(t, reg, false)["aianalysis_kubernetes_events_total{result=written}"]; got != 4 {
			t.Errorf("%v written, want 4", got)
		}
	})
}

// An API server that does not answer costs events, and nothing else.
func TestAnnounceDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &eventSink{takes: time.Hour}
		a, reg := testAnnouncer(t, sink)
		on := running(false)
		for range maxEventQueue + eventWriters + 10 {
			a.announce(on, []notice{{corev1.EventTypeNormal, "X", "x"}})
			synctest.Wait()
		}
		if got := gathered(t, reg, false)["aianalysis_kubernetes_events_total{result=dropped}"]; got != 10 {
			t.Errorf("%v dropped, want 10", got)
		}
		time.Sleep(eventTimeout + time.Second)
		synctest.Wait()
		if got := gathered(t, reg, false)["aianalysis_kubernetes_events_total{result=failed}"]; got != eventWriters {
			t.Errorf("%v failed, want %d", got, eventWriters)
		}
	})
}

func TestRefusedAnnouncementIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, reg := testAnnouncer(t, &eventSink{err: errors.New("forbidden")})
		a.announce(running(false), []notice{{corev1.EventTypeNormal, "X", "x"}})
		synctest.Wait()
		if got := gathered(t, reg, false)["aianalysis_kubernetes_events_total{result=failed}"]; got != 1 {
			t.Errorf("%v failed, want 1", got)
		}
	})
}
