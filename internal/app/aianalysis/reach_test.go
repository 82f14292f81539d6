package aianalysis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

func TestAwaitServer(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	server := httptest.NewServer(http.NotFoundHandler()) // what it says is for others to judge
	defer server.Close()
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	// via reaches the server at the attempt of that number.
	via := func(attempts *int, opens int, err error) *rest.Config {
		return &rest.Config{Host: server.URL, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if *attempts++; *attempts < opens {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
	}
	var n int
	if err := awaitServer(t.Context(), via(&n, 3, refused), time.Minute, log); err != nil || n != 3 {
		t.Errorf("a way that opens: got %v after %d attempts, want 3", err, n)
	}
	n = 0
	if err := awaitServer(t.Context(), via(&n, 1000, refused), time.Second, log); !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, context.DeadlineExceeded) || n < 2 {
		t.Errorf("one that does not: got %v after %d attempts", err, n)
	}
	n = 0
	if err := awaitServer(t.Context(), via(&n, 1000, errors.New("x509: unknown authority")), time.Minute, log); err != nil || n != 1 {
		t.Errorf("another failure: got %v after %d attempts, want it left to others", err, n)
	}
	n = 0
	ended, end := context.WithCancel(t.Context())
	end()
	if err := awaitServer(ended, via(&n, 1000, refused), time.Minute, log); !errors.Is(err, context.Canceled) {
		t.Errorf("told to end: got %v", err)
	}
}
