package command

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuard(t *testing.T) {
	for _, c := range []struct {
		name            string
		deadline, stall time.Duration
		touch           time.Duration // every so often, for a minute
		want            error
		at              time.Duration
	}{
		{"deadline", 90 * time.Second, 0, 0, ErrDeadline, 90 * time.Second},
		{"silence", 0, 10 * time.Second, 0, ErrStalled, 10 * time.Second},
		{"silence after work", 0, 10 * time.Second, 7 * time.Second, ErrStalled, 73 * time.Second},
		{"work up to the deadline", 30 * time.Second, 10 * time.Second, 7 * time.Second, ErrDeadline, 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				ctx, touch, release := Guard(t.Context(), c.deadline, c.stall)
				defer release()
				if c.touch > 0 {
					go func() {
						for time.Since(begin) < time.Minute {
							select {
							case <-time.After(c.touch):
								touch()
							case <-ctx.Done():
								return
							}
						}
					}()
				}
				<-ctx.Done()
				if err := Cause(ctx); !errors.Is(err, c.want) || errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want %v and no interruption", err, c.want)
				}
				if took := time.Since(begin); took != c.at {
					t.Errorf("got %s, want %s", took, c.at)
				}
			})
		})
	}
}

func TestInnerGuardTouchesOuter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, _, release := Guard(t.Context(), 0, 10*time.Second)
		defer release()
		inner, touch, release := Guard(outer, 0, time.Minute)
		defer release()
		for range 5 {
			time.Sleep(9 * time.Second)
			touch()
		}
		if inner.Err() != nil {
			t.Error(Cause(inner))
		}
		<-inner.Done()
		if err := Cause(inner); !errors.Is(err, ErrStalled) || errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the outer guard's reason", err)
		}
	})
}

func TestCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := Cause(ctx); err != nil {
		t.Errorf("got %v of a context that lives", err)
	}
	reason := errors.New("interrupt")
	cancel(reason)
	if err := Cause(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
		t.Errorf("got %v, want both", err)
	}
}
