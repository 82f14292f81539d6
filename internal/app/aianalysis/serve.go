package aianalysis

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// server is an HTTP server on a listener of its own; nil is none.
type server struct {
	listener net.Listener
	http     *http.Server
	once     sync.Once
	done     chan struct{}
}

// listen returns a server on addr, nil for "0", which is none.
func listen(addr string, h http.Handler) (*server, error) {
	if addr == "0" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &server{listener: l, done: make(chan struct{}), http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}}, nil
}

func (s *server) addr() string {
	if s == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// serve returns when the server is closed.
func (s *server) serve() error {
	if s == nil {
		return nil
	}
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-s.done
	return nil
}

// close ends the server, after a moment for answers under way. A second call does nothing.
func (s *server) close() {
	if s == nil {
		return
	}
	s.once.Do(func() {
		defer close(s.done)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close() // what is still open is an idle or a slow client
		}
		_ = s.listener.Close() // for a server that never served; else closed already
	})
}

// deadline bounds the time from the end of a context to the end of the process.
type deadline struct {
	mu    sync.Mutex
	begin time.Time
	limit time.Duration
}

func newDeadline(ctx context.Context, limit time.Duration) *deadline {
	d := &deadline{limit: limit}
	context.AfterFunc(ctx, d.start)
	return d
}

// start sets the beginning, once.
func (d *deadline) start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.begin.IsZero() {
		d.begin = time.Now()
	}
}

// within calls do with what is left of the time, and with a moment in any case.
func (d *deadline) within(do func(context.Context) error) error {
	d.start()
	ctx, cancel := context.WithTimeout(context.Background(), max(time.Until(d.begin.Add(d.limit)), time.Second))
	defer cancel()
	return do(ctx)
}
