package incident

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrorKind is what callers act on; they never match an error's text. Adapters translate foreign
// errors to a kind at their boundary.
type ErrorKind string

const (
	KindInvalid      ErrorKind = "Invalid"        // the request is wrong and will stay so
	KindUnauthorized ErrorKind = "Authentication" // not known to the other side
	KindForbidden    ErrorKind = "Authorization"  // known, and not allowed
	KindNotFound     ErrorKind = "NotFound"
	KindConflict     ErrorKind = "Conflict"
	KindTooLarge     ErrorKind = "TooLarge"
	KindRateLimited  ErrorKind = "RateLimit"
	KindTimeout      ErrorKind = "Timeout"
	KindNetwork      ErrorKind = "Network"
	KindUnavailable  ErrorKind = "Transient" // the other side says that it cannot now
	KindMalformed    ErrorKind = "Malformed" // an answer that breaks the contract
	KindInternal     ErrorKind = "Internal"
)

// Error is an error of the domain.
type Error struct {
	Kind       ErrorKind
	Op         string        // what was attempted, for example "investigate"
	Status     int           // HTTP status, 0 when there was none
	RetryAfter time.Duration // what the other side asked for, 0 when it did not
	Err        error         // what went wrong and what to do about it; never nil
}

func (e *Error) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("%s: HTTP %d: %v", e.Op, e.Status, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error of the given kind whose cause is formatted as by fmt.Errorf.
func Errorf(kind ErrorKind, op, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the kind of the first Error in err's tree; KindTimeout for a passed deadline;
// KindInternal for any other error and "" for nil.
func KindOf(err error) ErrorKind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return KindTimeout
	}
	return KindInternal
}

// Retryable reports whether trying the same again later can help.
func (k ErrorKind) Retryable() bool {
	switch k {
	case KindRateLimited, KindTimeout, KindNetwork, KindUnavailable:
		return true
	}
	return false
}
