package mcp

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Path is where the protocol is served over HTTP.
const Path = "/mcp"

// Access says who may come in over HTTP.
type Access struct {
	// Token is what every request must bear; "" means that none is needed, which goes on loopback only.
	Token string
	// Hosts are the names by which clients call this server, beside localhost and addresses. A browser that was led
	// here by a name of somebody else's is refused.
	Hosts []string
}

// minToken is the length of a token that cannot be guessed.
const minToken = 16

// allow errs with KindInvalid when a server at an address must not have this access.
func (a Access) allow(at *net.TCPAddr) error {
	switch {
	case a.Token != "" && len(a.Token) < minToken:
		return incident.Errorf(incident.KindInvalid, "serve over HTTP", "the token has less than %d characters", minToken)
	case a.Token == "" && !at.IP.IsLoopback():
		return incident.Errorf(incident.KindInvalid, "serve over HTTP", "%s can be reached from other machines: a token is needed", at)
	}
	return nil
}

// Handler answers clients over streamable HTTP, at Path. It keeps no sessions, and pushes nothing.
func (s *Server) Handler(a Access) http.Handler {
	protocol := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s.sdk }, &sdk.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, MaxRequestBodyBytes: maxRequest, PropagateRequestCancellation: true,
		DisableLocalhostProtection: true, // it knows no Hosts: hostAllowed is what protects
	})
	mux := http.NewServeMux()
	mux.Handle(Path, protocol)
	want := sha256.Sum256([]byte(a.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.hostAllowed(r.Host) {
			http.Error(w, "this host name is not served", http.StatusForbidden)
			return
		}
		if !sameOrigin(r) {
			http.Error(w, "requests of other origins are refused", http.StatusForbidden)
			return
		}
		if a.Token != "" {
			scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			got := sha256.Sum256([]byte(token))
			if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// hostAllowed reports whether the Host of a request is an address, or a name of this server.
func (a Access) hostAllowed(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return true
	}
	return slices.ContainsFunc(a.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// sameOrigin reports whether no browser sent a request, or one did for a page of this server.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	if len(r.Header.Values("Origin")) == 0 {
		return true
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

// shutdownWithin is how long calls get to end.
const shutdownWithin = 5 * time.Second

// ListenAndServe serves HTTP at an address such as 127.0.0.1:8765 until ctx ends, and calls ready with the address
// that it got. Without a token it errs for an address that is not loopback; nothing listens then.
func (s *Server) ListenAndServe(ctx context.Context, address string, a Access, ready func(net.Addr)) error {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return incident.Errorf(incident.KindInvalid, "serve over HTTP", "address %q: %w", address, err)
	}
	if err := a.allow(at); err != nil {
		return err
	}
	listener, err := net.ListenTCP("tcp", at)
	if err != nil {
		return fmt.Errorf("serve over HTTP: %w", err)
	}
	server := &http.Server{
		Handler:           s.Handler(a),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      s.o.CallTimeout + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	ready(listener.Addr())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWithin)
	defer cancel()
	err = server.Shutdown(limit)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
