package faultproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Client talks to the control endpoint of a proxy. Its methods may be called at the same time.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client of the control endpoint at a URL.
func NewClient(base string, h *http.Client) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), http: h}
}

// Put brings a rule into force, in the place of the one with its id.
func (c *Client) Put(ctx context.Context, r Rule) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("rule %s: %w", r.ID, err)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("rule %s: %w", r.ID, err)
	}
	return c.do(ctx, http.MethodPut, "/rules/"+url.PathEscape(r.ID), body, nil)
}

// Delete ends a rule and releases what it holds.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/rules/"+url.PathEscape(id), nil, nil)
}

// Hits waits until a rule was applied to at least that many requests, and returns to how many it was.
func (c *Client) Hits(ctx context.Context, id string, atLeast int) (int, error) {
	var n int
	err := c.do(ctx, http.MethodGet, "/rules/"+url.PathEscape(id)+"/hits?min="+strconv.Itoa(atLeast), nil, &n)
	return n, err
}

// Query selects requests; an empty field selects all.
type Query struct {
	Route    string
	Path     string // a prefix
	Contains string // a part of the body
	AtLeast  int    // Requests waits for that many
	Done     bool   // only those that have been dealt with
}

// Requests returns the requests that came in, oldest first.
func (c *Client) Requests(ctx context.Context, q Query) ([]Request, error) {
	v := url.Values{}
	v.Set("route", q.Route)
	v.Set("path", q.Path)
	v.Set("contains", q.Contains)
	v.Set("min", strconv.Itoa(q.AtLeast))
	v.Set("done", strconv.FormatBool(q.Done))
	var found []Request
	err := c.do(ctx, http.MethodGet, "/requests?"+v.Encode(), nil, &found)
	return found, err
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("fault proxy: %w", err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return fmt.Errorf("fault proxy: %s %s: %w", method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fault proxy: %s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(content))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("fault proxy: %s %s: %w", method, path, err)
	}
	return nil
}
