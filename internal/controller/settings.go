package controller

import (
	"errors"
	"fmt"
	"math"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Settings bound what the controller does. DefaultSettings returns the usual ones.
type Settings struct {
	// CallTimeout bounds one call for an investigation, AnalyzingTimeout one evaluation of the
	// policy; spec.timeoutConfig overrides both. OverallTimeout bounds an analysis from the first
	// step to its investigation's answer, with all retries and waits.
	CallTimeout      time.Duration
	AnalyzingTimeout time.Duration
	OverallTimeout   time.Duration

	// MaxAttempts is the number of calls of one analysis, with the first. The delay after the n-th
	// failure is BackoffBase × 2^(n-1), at most BackoffMax, with a jitter of a tenth; a Retry-After
	// that is longer is honoured, up to maxRetryAfter.
	MaxAttempts int
	BackoffBase time.Duration
	BackoffMax  time.Duration

	// MaxInFlight is the number of calls at once. BreakerFailures failures in a row stop all calls
	// for BreakerOpenFor; then one call probes.
	MaxInFlight     int
	BreakerFailures int
	BreakerOpenFor  time.Duration

	// ReviewThreshold is the confidence below which a chosen workflow needs a person's review.
	ReviewThreshold float64

	// DeliveryWait bounds how long a final status waits until Data Storage has its audit events. 0
	// does not wait.
	DeliveryWait time.Duration
}

// DefaultSettings returns settings that are valid and suit most clusters.
func DefaultSettings() Settings {
	return Settings{
		CallTimeout: 60 * time.Second, AnalyzingTimeout: 5 * time.Second, OverallTimeout: 15 * time.Minute,
		MaxAttempts: 10, BackoffBase: time.Second, BackoffMax: 5 * time.Minute,
		MaxInFlight: 64, BreakerFailures: 10, BreakerOpenFor: 15 * time.Second,
		ReviewThreshold: 0.7,
		DeliveryWait:    5 * time.Second,
	}
}

func (s Settings) validate() error {
	var errs []error
	positive := func(name string, ok bool) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s must be positive", name))
		}
	}
	positive("CallTimeout", s.CallTimeout > 0)
	positive("AnalyzingTimeout", s.AnalyzingTimeout > 0)
	positive("OverallTimeout", s.OverallTimeout > 0)
	positive("MaxAttempts", s.MaxAttempts > 0)
	positive("BackoffBase", s.BackoffBase > 0)
	positive("MaxInFlight", s.MaxInFlight > 0)
	positive("BreakerFailures", s.BreakerFailures > 0)
	positive("BreakerOpenFor", s.BreakerOpenFor > 0)
	if s.BackoffMax < s.BackoffBase {
		errs = append(errs, errors.New("BackoffMax must not be below BackoffBase"))
	}
	if _, ok := unit(s.ReviewThreshold); !ok {
		errs = append(errs, errors.New("ReviewThreshold must be from 0 to 1"))
	}
	if s.DeliveryWait < 0 {
		errs = append(errs, errors.New("DeliveryWait must not be negative"))
	}
	return errors.Join(errs...)
}

const (
	// resolvedConfidence is the confidence from which an answer without a workflow means that the
	// problem is gone. It is part of the contract with the investigating side.
	resolvedConfidence = 0.7

	// maxRetryAfter bounds how long the other side can put off the next attempt.
	maxRetryAfter = 5 * time.Minute

	// jitterShare is the part of a delay by which it varies, up or down.
	jitterShare = 0.1
)

// backoff returns the delay after the n-th failure in a row, n from 1. jitter is from 0 to 1.
func (s Settings) backoff(n int, jitter float64) time.Duration {
	delay := float64(s.BackoffBase) * math.Pow(2, float64(min(max(n, 1), 63)-1))
	delay = min(delay, float64(s.BackoffMax))
	delay *= 1 + jitterShare*(2*jitter-1)
	return max(time.Duration(delay), s.BackoffBase)
}

// timeouts are the timeouts of one analysis.
type timeouts struct {
	call      time.Duration
	analyzing time.Duration
	warnings  []string // what is wrong with the spec's own
}

// timeoutsFor returns the spec's timeouts where they are valid, and the settings' where not.
func (s Settings) timeoutsFor(spec *v1alpha1.AIAnalysisSpec) timeouts {
	t := timeouts{call: s.CallTimeout, analyzing: s.AnalyzingTimeout}
	if spec.TimeoutConfig == nil {
		return t
	}
	own := func(field, value string, into *time.Duration) {
		if value == "" {
			return
		}
		d, err := time.ParseDuration(value)
		switch {
		case err != nil:
			t.warnings = append(t.warnings, fmt.Sprintf("spec.timeoutConfig.%s %q is not a duration such as \"90s\"; %s is used", field, value, *into))
		case d <= 0:
			t.warnings = append(t.warnings, fmt.Sprintf("spec.timeoutConfig.%s %q is not positive; %s is used", field, value, *into))
		default:
			*into = d
		}
	}
	own("investigatingTimeout", spec.TimeoutConfig.InvestigatingTimeout, &t.call)
	own("analyzingTimeout", spec.TimeoutConfig.AnalyzingTimeout, &t.analyzing)
	return t
}
