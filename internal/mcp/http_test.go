package mcp_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/mcp"
)

const token = "a-token-that-nobody-guesses"

// listen serves until the test ends, and returns the address.
func listen(t *testing.T, s *mcp.Server, a mcp.Access) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	at, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- s.ListenAndServe(ctx, "127.0.0.1:0", a, func(addr net.Addr) { at <- addr.String() })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("ListenAndServe: %v", err)
		}
	})
	select {
	case addr := <-at:
		return addr
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return ""
	}
}

// bearer adds a token to requests.
type bearer struct{ transport *http.Transport }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return b.transport.RoundTrip(r)
}

func TestOverHTTP(t *testing.T) {
	for _, row := range []struct {
		name   string
		access mcp.Access
	}{{"open on loopback", mcp.Access{}}, {"with a token", mcp.Access{Token: token}}} {
		t.Run(row.name, func(t *testing.T) {
			source := &cluster{answer: told(t, "oom-limit")}
			address := listen(t, newServer(t, source), row.access)
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			c := dial(t, &sdk.StreamableClientTransport{Endpoint: "http://" + address + mcp.Path, HTTPClient: &http.Client{Transport: bearer{transport}}, MaxRetries: -1})
			t.Cleanup(func() { _ = c.session.Close() })
			v := c.call("analyze", `{}`)
			if v.Verdict != "cause" || v.Cause == nil || v.Cause.Class != "oom-limit" {
				t.Errorf("analyze says %s", v.text)
			}
			if r := c.call("list", `{"kind":"Pod"}`); r.Analysis != v.Analysis || len(r.Result.Objects) == 0 {
				t.Errorf("list says %s", r.text)
			}
			if r := c.call("get", `{"kind":5}`); r.Kind != incident.KindInvalid {
				t.Errorf("get of a wrong type says %s", r.text)
			}
		})
	}
}

func TestWhoComesIn(t *testing.T) {
	s := newServer(t, &cluster{answer: told(t, "oom-limit")})
	open := listen(t, s, mcp.Access{Hosts: []string{"Kubernaut.example"}})
	closed := listen(t, s, mcp.Access{Token: token})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	const ping = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	for _, row := range []struct {
		name, address string
		header        map[string]string
		host, path    string
		body          string
		want          int
	}{
		{name: "a client", address: open, want: http.StatusOK},
		{name: "by the name localhost", address: open, host: "localhost:80", want: http.StatusOK},
		{name: "by a name of ours", address: open, host: "kubernaut.example:443", want: http.StatusOK},
		{name: "by a name of somebody's", address: open, host: "rebound.example", want: http.StatusForbidden},
		{name: "by a name that begins like one of ours", address: open, host: "localhost.example", want: http.StatusForbidden},
		{name: "a page of another origin", address: open, header: map[string]string{"Origin": "https://evil.example"}, want: http.StatusForbidden},
		{name: "a page without an origin", address: open, header: map[string]string{"Origin": "null"}, want: http.StatusForbidden},
		{name: "a page of another port", address: open, header: map[string]string{"Origin": "http://127.0.0.1:1"}, want: http.StatusForbidden},
		{name: "a page of our own", address: open, header: map[string]string{"Origin": "http://" + open}, want: http.StatusOK},
		{name: "what a browser calls cross-site", address: open, header: map[string]string{"Sec-Fetch-Site": "cross-site"}, want: http.StatusForbidden},
		{name: "without the token", address: closed, want: http.StatusUnauthorized},
		{name: "with another token", address: closed, header: map[string]string{"Authorization": "Bearer " + token + "x"}, want: http.StatusUnauthorized},
		{name: "with the token of another scheme", address: closed, header: map[string]string{"Authorization": "Basic " + token}, want: http.StatusUnauthorized},
		{name: "with the token", address: closed, header: map[string]string{"Authorization": "bearer " + token}, want: http.StatusOK},
		{name: "another path", address: open, path: "/metrics", want: http.StatusNotFound},
		{name: "more than is read", address: open, body: strings.Repeat(" ", 2<<20) + ping, want: http.StatusRequestEntityTooLarge},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, body := mcp.Path, ping
			if row.path != "" {
				path = row.path
			}
			if row.body != "" {
				body = row.body
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+row.address+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			for k, v := range row.header {
				req.Header.Set(k, v)
			}
			req.Host = row.host
			res, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != row.want {
				t.Errorf("status %d, want %d", res.StatusCode, row.want)
			}
			if res.StatusCode == http.StatusUnauthorized && res.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("it is not said that a token is needed")
			}
		})
	}
}

func TestAddressesThatNeedAToken(t *testing.T) {
	s := newServer(t, &cluster{answer: told(t, "oom-limit")})
	for _, row := range []struct {
		address string
		access  mcp.Access
	}{
		{"0.0.0.0:0", mcp.Access{}},
		{":0", mcp.Access{}},
		{"[::]:0", mcp.Access{}},
		{"192.0.2.1:0", mcp.Access{}},
		{"0.0.0.0:0", mcp.Access{Token: "short"}},
		{"127.0.0.1:0", mcp.Access{Token: "short"}},
		{"127.0.0.1", mcp.Access{}},
	} {
		ctx, stop := context.WithCancel(t.Context())
		ready := func(addr net.Addr) {
			t.Errorf("it listens on %s", addr)
			stop()
		}
		err := s.ListenAndServe(ctx, row.address, row.access, ready)
		stop()
		if incident.KindOf(err) != incident.KindInvalid {
			t.Errorf("%q with %+v: got %v, want an invalid address", row.address, row.access, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	if err := s.ListenAndServe(ctx, "0.0.0.0:0", mcp.Access{Token: token}, func(net.Addr) { stop() }); err != nil {
		t.Errorf("with a token: %v", err)
	}
}
