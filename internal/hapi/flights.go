package hapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// retryAfter is what a caller is asked to wait when there is no room.
const retryAfter = 5 * time.Second

// flights runs investigations: one for each key at a time, a bounded number at once.
type flights struct {
	answers *answers
	slots   chan struct{} // holds one token for each that runs
	queue   chan struct{} // holds one token for each that waits
	timeout time.Duration
	board   *Board
	metrics *metrics
	log     *slog.Logger

	// Keyed investigations run on base: they belong to whoever asks next, too.
	base   context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	byKey   map[string]*flight
	refused bool
	active  int           // investigations that run or wait, keyed or not
	idle    chan struct{} // closed when refused and active is 0
}

// flight is one keyed investigation that runs. body and err may be read once done is closed.
type flight struct {
	request string // endpoint and hash of the body that it answers
	done    chan struct{}
	body    []byte
	err     error
}

// run makes an answer.
type run func(ctx context.Context) ([]byte, error)

func newFlights(a *answers, concurrent, queued int, timeout time.Duration, b *Board, m *metrics, log *slog.Logger) *flights {
	f := &flights{
		answers: a, slots: make(chan struct{}, concurrent), queue: make(chan struct{}, queued), timeout: timeout,
		board: b, metrics: m, log: log, byKey: map[string]*flight{}, idle: make(chan struct{}),
	}
	f.base, f.cancel = context.WithCancel(context.Background())
	m.stored.Set(float64(a.len()))
	return f
}

// do returns the answer for key: of the flight that is in the air, of the one that landed before, or
// of a new one. shared says that it was not a new one. request tells what the key was first used for;
// using it for something else is KindConflict. ctx is that of the caller: its end ends the wait, and
// the investigation only when there is no key.
func (f *flights) do(ctx context.Context, key, request string, work run) (body []byte, shared bool, err error) {
	if key == "" {
		if err := f.begin(); err != nil {
			return nil, false, err
		}
		defer f.end()
		ctx, cancel := context.WithTimeout(ctx, f.timeout)
		defer cancel()
		stop := context.AfterFunc(f.base, cancel)
		defer stop()
		body, err = f.fly(ctx, "", work)
		return body, false, err
	}
	fl, shared, err := f.join(key, request, work)
	if err != nil {
		return nil, false, err
	}
	select {
	case <-fl.done:
		return fl.body, shared, fl.err
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

// join finds the flight for key, or starts it.
func (f *flights) join(key, request string, work run) (fl *flight, shared bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl = f.byKey[key]; fl != nil {
		if fl.request != request {
			return nil, false, errKeyReused
		}
		return fl, true, nil
	}
	// Reading an answer under the lock keeps a second investigation from starting when it is evicted
	// meanwhile. It is one small file.
	body, of, err := f.answers.get(key)
	switch {
	case err != nil:
		f.metrics.storeErrors.Inc()
		f.log.Error("a kept answer cannot be read; investigating again", "error", err)
	case body != nil && of != request:
		return nil, false, errKeyReused
	case body != nil:
		fl = &flight{request: request, done: make(chan struct{}), body: body}
		close(fl.done)
		return fl, true, nil
	}
	if f.refused {
		return nil, false, errShuttingDown
	}
	fl = &flight{request: request, done: make(chan struct{})}
	f.byKey[key] = fl
	f.board.begin(key)
	f.active++
	go f.land(key, fl, work)
	return fl, false, nil
}

// land flies fl to its end and tells those who wait.
func (f *flights) land(key string, fl *flight, work run) {
	defer f.end()
	ctx, cancel := context.WithTimeout(f.base, f.timeout)
	defer cancel()
	fl.body, fl.err = f.fly(ctx, key, work)
	if fl.err == nil {
		// The answer is kept before anybody gets it: a caller that has it can ask for it again.
		if err := f.answers.put(key, fl.request, fl.body); err != nil {
			f.metrics.storeErrors.Inc()
			f.log.Error("an answer could not be kept; repeating its request will investigate again", "error", err)
		}
		f.metrics.stored.Set(float64(f.answers.len()))
	}
	f.mu.Lock()
	delete(f.byKey, key)
	f.board.end(key, fl.err) // before another one can begin under the key
	f.mu.Unlock()
	close(fl.done)
}

// fly waits for a turn and runs work. Its error is never the bare error of a context.
func (f *flights) fly(ctx context.Context, key string, work run) (body []byte, err error) {
	if err := f.turn(ctx); err != nil {
		return nil, err
	}
	f.metrics.running.Inc()
	defer func() {
		f.metrics.running.Dec()
		<-f.slots
	}()
	if key != "" {
		f.board.post(key, StepStarted, struct{}{})
	}
	body, err = guard(ctx, work)
	if err != nil && ctx.Err() != nil {
		return nil, f.ended(ctx, err, incident.KindTimeout, "the investigation did not end within %s", f.timeout)
	}
	return body, err
}

// turn takes a slot, waiting for one in the queue while that has room.
func (f *flights) turn(ctx context.Context) error {
	select {
	case f.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case f.queue <- struct{}{}:
	default:
		e := incident.Errorf(incident.KindRateLimited, "investigate", "%d investigations run and %d wait already", cap(f.slots), cap(f.queue))
		e.RetryAfter = retryAfter
		return e
	}
	f.metrics.queued.Inc()
	defer func() {
		f.metrics.queued.Dec()
		<-f.queue
	}()
	select {
	case f.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return f.ended(ctx, ctx.Err(), incident.KindUnavailable, "no turn came within %s", f.timeout)
	}
}

// ended says why ctx did: its time was over, the service stops, or the caller went away.
func (f *flights) ended(ctx context.Context, cause error, late incident.ErrorKind, format string, args ...any) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e := incident.Errorf(late, "investigate", format+": %w", append(args, cause)...)
		e.RetryAfter = retryAfter
		return e
	case f.base.Err() != nil:
		return errShuttingDown
	}
	return errCallerGone
}

// guard runs work and turns a panic into an error: in a goroutine of its own it would end the process.
func guard(ctx context.Context, work run) (body []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = incident.Errorf(incident.KindInternal, "investigate", "panic: %v\n%s", v, debug.Stack())
		}
	}()
	return work(ctx)
}

var (
	errKeyReused = incident.Errorf(incident.KindConflict, "investigate",
		"the idempotency key was used for another request; use a new key for a new request")
	errShuttingDown = &incident.Error{
		Kind: incident.KindUnavailable, Op: "investigate", RetryAfter: retryAfter,
		Err: fmt.Errorf("the service is shutting down"),
	}
)

func (f *flights) begin() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused {
		return errShuttingDown
	}
	f.active++
	return nil
}

func (f *flights) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active--
	f.signalIdle()
}

// refuse lets no new investigation start.
func (f *flights) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.refused {
		f.refused = true
		f.signalIdle()
	}
}

func (f *flights) signalIdle() {
	if f.refused && f.active == 0 {
		close(f.idle)
	}
}

// drain waits until nothing runs. Call refuse first.
func (f *flights) drain(ctx context.Context) error {
	select {
	case <-f.idle:
		f.cancel()
		return nil
	case <-ctx.Done():
		f.cancel()
		<-f.idle // what runs sees its context end
		return ctx.Err()
	}
}

// close releases what newFlights took.
func (f *flights) close() { f.cancel() }
