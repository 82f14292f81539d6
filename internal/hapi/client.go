package hapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Client calls an investigation service. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client of the service at baseURL, an http or https URL. A nil hc means
// http.DefaultClient. Deadlines come from the context of each call and from hc.
func NewClient(baseURL string, hc *http.Client) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, incident.Errorf(incident.KindInvalid, "new investigation client", "base URL %q is not an http or https URL", baseURL)
	}
	if hc == nil {
		hc = http.DefaultClient
	}
	return &Client{base: strings.TrimRight(baseURL, "/"), http: hc}, nil
}

// Investigate has in investigated: by the recovery endpoint when in.Recovery is set, else by the
// incident endpoint. A non-empty key is sent as Idempotency-Key: calls with one key share one
// investigation. Errors are *incident.Error with Kind, Status and RetryAfter filled; an answer
// that breaks the contract has KindMalformed.
func (c *Client) Investigate(ctx context.Context, key string, in incident.Incident) (incident.Investigation, error) {
	return incident.Investigation{}, incident.Errorf(incident.KindUnavailable, "investigate", "the client has no transport yet")
}

// Ready returns nil when the service says that it can investigate now.
func (c *Client) Ready(ctx context.Context) error {
	return incident.Errorf(incident.KindUnavailable, "investigation service readiness", "the client has no transport yet")
}
