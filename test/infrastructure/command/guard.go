package command

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

type touchKey struct{}

// Guard returns a context that ends, with ErrDeadline or ErrStalled as its cause, after the deadline or when touch was not
// called for as long as stall; zero is without limit. Commands that run under it, or under a guard inside it, touch it whenever
// they write or read something. release must be called, and ends the context.
func Guard(ctx context.Context, deadline, stall time.Duration) (guarded context.Context, touch func(), release func()) {
	guarded, touch, end := guard(ctx, deadline, stall)
	return guarded, touch, func() { end(context.Canceled) }
}

func guard(ctx context.Context, deadline, stall time.Duration) (context.Context, func(), context.CancelCauseFunc) {
	ctx, end := context.WithCancelCause(ctx)
	begin := time.Now()
	var last atomic.Int64
	outer, _ := ctx.Value(touchKey{}).(func())
	touch := func() {
		last.Store(int64(time.Since(begin)))
		if outer != nil {
			outer()
		}
	}
	if deadline > 0 {
		timer := time.AfterFunc(deadline, func() { end(fmt.Errorf("%w: it was %s", ErrDeadline, deadline)) })
		context.AfterFunc(ctx, func() { timer.Stop() })
	}
	if stall > 0 {
		go func() {
			timer := time.NewTimer(stall)
			defer timer.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-timer.C:
				}
				quiet := time.Since(begin) - time.Duration(last.Load())
				if quiet >= stall {
					end(fmt.Errorf("%w for %s", ErrStalled, stall))
					return
				}
				timer.Reset(stall - quiet)
			}
		}()
	}
	return context.WithValue(ctx, touchKey{}, touch), touch, end
}

// Cause is why ctx ended, nil if it has not: the reason of a Guard, or else the context's own error together with its
// cause. Only the latter is an interruption, and only for it errors.Is(err, context.Canceled) holds.
func Cause(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	var input *inputError
	if err == nil || errors.Is(cause, err) || errors.Is(cause, ErrDeadline) || errors.Is(cause, ErrStalled) || errors.As(cause, &input) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// inputError says that what a command should read could not be read to its end.
type inputError struct{ error }

func (e *inputError) Error() string { return "read the input: " + e.error.Error() }

func (e *inputError) Unwrap() error { return e.error }
