package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const patience = 5 * time.Second

// account is where Kubernetes puts a Pod's ServiceAccount.
const account = "/var/run/secrets/kubernetes.io/serviceaccount"

func connect(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	return d.DialContext(ctx, "tcp", address)
}

// dial must reach an address.
func dial(ctx context.Context, a *actor, address string) error {
	a.log.Info("connecting", "address", address)
	c, err := connect(ctx, address)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	a.log.Info("connected", "address", address)
	return c.Close()
}

// watch tries an address for ever and says when it fails; the program goes on.
func watch(ctx context.Context, a *actor, address string) error {
	go func() {
		for ctx.Err() == nil {
			if c, err := connect(ctx, address); err != nil {
				a.log.Error("upstream request failed", "address", address, "error", err)
			} else {
				_ = c.Close()
			}
			pause(ctx, patience)
		}
	}()
	return nil
}

// login opens a session with a db, as DB_USER with DB_PASSWORD.
func login(ctx context.Context, a *actor, address string) error {
	c, err := a.session(ctx, address)
	if err != nil {
		return err
	}
	return c.Close()
}

// session returns a session that was let in.
func (a *actor) session(ctx context.Context, address string) (net.Conn, error) {
	c, err := connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	fmt.Fprintf(c, "%s %s\n", a.getenv("DB_USER"), a.getenv("DB_PASSWORD"))
	answer := make([]byte, 256)
	n, err := c.Read(answer)
	if text := strings.TrimSpace(string(answer[:n])); text != "OK" {
		_ = c.Close()
		return nil, fmt.Errorf("open database session with %s: %w", address, errors.Join(errors.New(text), err))
	}
	a.log.Info("database session opened", "address", address)
	return c, nil
}

// watchLogin opens a session for ever anew and says when that fails; the program goes on.
func watchLogin(ctx context.Context, a *actor, address string) error {
	go func() {
		for ctx.Err() == nil {
			if err := login(ctx, a, address); err != nil {
				a.log.Error("query failed", "error", err)
			}
			pause(ctx, patience)
		}
	}()
	return nil
}

// hold opens as many sessions as COUNT says, and keeps them.
func hold(ctx context.Context, a *actor, address string) error {
	var count int
	if _, err := fmt.Sscan(a.getenv("COUNT"), &count); err != nil {
		return fmt.Errorf("COUNT: %w", err)
	}
	for range count {
		c, err := a.session(ctx, address)
		if err != nil {
			return err
		}
		go func() { <-ctx.Done(); _ = c.Close() }()
	}
	return nil
}

func fetch(ctx context.Context, c *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
		return fmt.Errorf("GET %s: %s: %s", url, answer.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// get must get an answer below 400.
func get(ctx context.Context, _ *actor, url string) error { return fetch(ctx, http.DefaultClient, url) }

// watchGet asks for ever and says when it fails; the program goes on.
func watchGet(ctx context.Context, a *actor, url string) error {
	go func() {
		for ctx.Err() == nil {
			if err := fetch(ctx, http.DefaultClient, url); err != nil {
				a.log.Error("request failed", "error", err)
			}
			pause(ctx, patience)
		}
	}()
	return nil
}

// clientOf returns a client that trusts one authority.
func clientOf(file string) (*http.Client, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}, nil
}

// handshake asks, for ever, a server whose certificate is checked by the authority in CA_FILE.
func handshake(ctx context.Context, a *actor, url string) error {
	c, err := clientOf(a.getenv("CA_FILE"))
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			if err := fetch(ctx, c, url); err != nil {
				a.log.Error("upstream request failed", "error", err)
			}
			pause(ctx, patience)
		}
	}()
	return nil
}

type bearer struct {
	next  http.RoundTripper
	token string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// cluster is a client of the cluster's API as the Pod's ServiceAccount.
func cluster() (*http.Client, error) {
	c, err := clientOf(account + "/ca.crt")
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(account + "/token")
	if err != nil {
		return nil, err
	}
	c.Transport = bearer{c.Transport, string(token)}
	return c, nil
}

const api = "https://kubernetes.default.svc"

// callAPI must get an answer below 400 from the cluster's API.
func callAPI(ctx context.Context, _ *actor, path string) error {
	c, err := cluster()
	if err != nil {
		return err
	}
	return fetch(ctx, c, api+path)
}
