package e2e

import (
	"context"
	"fmt"
	"time"
)

// pollEvery is how often an endpoint is asked again that cannot be watched.
const pollEvery = 100 * time.Millisecond

func pause(ctx context.Context) error {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Until asks until ok returns "", for what has no watch: an HTTP endpoint. What ok returned last is
// in the error.
func Until(ctx context.Context, what string, ok func(context.Context) string) error {
	for {
		why := ok(ctx)
		if why == "" {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%s: %s (%w)", what, why, err)
		}
	}
}
