package incident

import "context"

// Request identifies the request on whose behalf something is done. It travels in a context, so
// that log lines and audit events can name it; nothing is decided by it.
type Request struct {
	ID   string // for logs
	Key  string // idempotency key: one investigation has one, however often it is asked for
	Hash string // lower-case hex SHA-256 of the request's body
}

type requestKey struct{}

// WithRequest returns a context that carries r.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestOf returns the request that ctx carries, or a zero one.
func RequestOf(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}
