package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// health is what the program's health checks answer.
type health struct {
	sick  atomic.Bool
	ready atomic.Int64 // Unix time from which on the program is ready
}

func (a *actor) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

func listener(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", address)
}

// serve answers HTTP: /healthz and /ready by the program's health, and anything else but /api/v0 with a greeting. The value is
// an address, or an address and the files of a certificate and its key, separated by commas.
func serve(ctx context.Context, a *actor, value string) error {
	parts := strings.Split(value, ",")
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	mux.HandleFunc("/status", http.NotFound)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if a.health.sick.Load() {
			http.Error(w, "worker pool stalled", http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if time.Now().Unix() < a.health.ready.Load() {
			http.Error(w, "warming up", http.StatusServiceUnavailable)
		}
	})
	l, err := listener(ctx, parts[0])
	if err != nil {
		return err
	}
	a.log.Info("listening", "address", parts[0])
	s := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	go func() {
		if len(parts) == 3 {
			a.fail(s.ServeTLS(l, parts[1], parts[2]))
			return
		}
		a.fail(s.Serve(l))
	}()
	return nil
}

func healthyFor(ctx context.Context, a *actor, text string) error {
	d, err := time.ParseDuration(text)
	go func() {
		pause(ctx, d)
		if ctx.Err() == nil {
			a.log.Error("worker pool stalled: no task finished for 30s")
			a.health.sick.Store(true)
		}
	}()
	return err
}

func readyAfter(_ context.Context, a *actor, text string) error {
	d, err := time.ParseDuration(text)
	a.health.ready.Store(time.Now().Add(d).Unix())
	return err
}

// accept hands every connection of an address to serve.
func accept(ctx context.Context, a *actor, address string, serve func(net.Conn)) error {
	l, err := listener(ctx, address)
	if err != nil {
		return err
	}
	a.log.Info("listening", "address", address)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				a.fail(err)
				return
			}
			go serve(c)
		}
	}()
	return nil
}

// serveTCP accepts connections and closes them.
func serveTCP(ctx context.Context, a *actor, address string) error {
	return accept(ctx, a, address, func(c net.Conn) { _ = c.Close() })
}

// serveDB is a database that lets in whoever knows DB_PASSWORD, and at most MAX_CONNECTIONS at once.
func serveDB(ctx context.Context, a *actor, address string) error {
	limit, err := strconv.ParseInt(a.getenv("MAX_CONNECTIONS"), 10, 64)
	if err != nil {
		limit = 100
	}
	var open atomic.Int64
	return accept(ctx, a, address, func(c net.Conn) {
		defer c.Close()
		in := bufio.NewReader(c)
		line, _ := in.ReadString('\n')
		user, password, _ := strings.Cut(strings.TrimSpace(line), " ")
		if password != a.getenv("DB_PASSWORD") {
			a.log.Error("password authentication failed", "user", user, "client", c.RemoteAddr())
			fmt.Fprintf(c, "FATAL: password authentication failed for user %q\n", user)
			return
		}
		if open.Add(1) > limit {
			open.Add(-1)
			a.log.Error("sorry, too many clients already", "max_connections", limit)
			fmt.Fprintln(c, "FATAL: sorry, too many clients already")
			return
		}
		defer open.Add(-1)
		fmt.Fprintln(c, "OK")
		_, _ = in.ReadString('\n') // until the client goes
	})
}
