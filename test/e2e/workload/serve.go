package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// endpoint is one thing that is served.
type endpoint struct {
	name    string
	address string
	handler http.Handler
}

// listen serves until ctx ends, and says where.
func listen(ctx context.Context, stdout io.Writer, endpoints ...endpoint) error {
	failed := make(chan error, len(endpoints))
	var servers []*http.Server
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		for _, s := range servers {
			if s.Shutdown(end) != nil {
				_ = s.Close()
			}
		}
	}()
	for _, e := range endpoints {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", e.address)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		s := &http.Server{Handler: e.handler, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, s)
		go func() { failed <- s.Serve(l) }()
		fmt.Fprintf(stdout, "%s listens on %s\n", e.name, l.Addr())
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}
}

// serve answers every request, and what asks for its health as the flags say.
func serve(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	set := flag.NewFlagSet("serve", flag.ContinueOnError)
	set.SetOutput(stderr)
	address := set.String("listen", ":8080", "`address`")
	unhealthy := set.Bool("unhealthy", false, "answer 500 at /healthz")
	if err := set.Parse(args); err != nil {
		return 2, nil //nolint:nilerr // the flag set has said what is wrong
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") })
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if *unhealthy {
			http.Error(w, "the worker has stopped", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	if err := listen(ctx, stdout, endpoint{"workload", *address, mux}); err != nil {
		return 1, err
	}
	return 0, nil
}

// registry is an image registry: what is under private/ it refuses, and of all else it has nothing.
func registry(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	set := flag.NewFlagSet("registry", flag.ContinueOnError)
	set.SetOutput(stderr)
	address := set.String("listen", "127.0.0.1:5000", "`address`")
	if err := set.Parse(args); err != nil {
		return 2, nil //nolint:nilerr // the flag set has said what is wrong
	}
	if err := listen(ctx, stdout, endpoint{"registry", *address, http.HandlerFunc(registryAnswer)}); err != nil {
		return 1, err
	}
	return 0, nil
}

func registryAnswer(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, code, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
	}
	switch {
	case r.URL.Path == "/healthz", r.URL.Path == "/v2/":
		_, _ = io.WriteString(w, "{}")
	case strings.HasPrefix(r.URL.Path, "/v2/private/"):
		fail(http.StatusForbidden, "DENIED", "requested access to the resource is denied")
	default:
		fail(http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
	}
}
