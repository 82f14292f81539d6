package dsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/dsapi/internal/gen"
	"kubernaut.ai/kubernaut/internal/incident"
)

// EventQuery is the domain's.
type EventQuery = incident.EventQuery

// EventPage is the domain's.
type EventPage = incident.EventPage

const (
	defaultTimeout = 30 * time.Second
	// maxAnswer bounds what the client reads of an answer, and maxProblem of an error.
	maxAnswer  = 64 << 20
	maxProblem = 64 << 10
)

// Client talks to a Data Storage server. It is safe for concurrent use. Every method returns errors
// of type *incident.Error: the kind says what to do, Status is the HTTP status when there was one,
// and RetryAfter what the server asked for. An answer that breaks the contract is KindMalformed.
type Client struct {
	gen *gen.Client
}

// NewClient returns a client of the server at baseURL, for example "http://datastorage:8080". With a
// nil hc it uses one of its own with a timeout of 30 seconds for a call.
func NewClient(baseURL string, hc *http.Client) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, incident.Errorf(incident.KindInvalid, "datastorage client", "the URL must start with http:// or https:// and name a host")
	}
	if hc == nil {
		hc = &http.Client{Timeout: defaultTimeout}
	}
	g, err := gen.NewClient(baseURL, gen.WithHTTPClient(hc))
	if err != nil {
		return nil, incident.Errorf(incident.KindInvalid, "datastorage client", "%w", err)
	}
	return &Client{gen: g}, nil
}

// WriteEvents stores events, all or none. Events are idempotent by id: one that is stored already
// with the same content counts as written, one with other content is KindConflict. A batch that is
// too large for the server is KindTooLarge and should be split. No events are written at once.
func (c *Client) WriteEvents(ctx context.Context, events []incident.AuditEvent) error {
	const op = "write events"
	if len(events) == 0 {
		return nil
	}
	body := make([]gen.AuditEventRequest, len(events))
	for i, e := range events {
		body[i] = eventToRequest(e)
	}
	r, err := c.gen.CreateAuditEventsBatch(ctx, body)
	answer, err := decode[gen.AuditEventsCreated](op, r, err, http.StatusCreated)
	if err == nil && len(answer.EventIds) != len(events) {
		return incident.Errorf(incident.KindMalformed, op, "the server stored %d of %d events", len(answer.EventIds), len(events))
	}
	return err
}

// QueryEvents returns one page of stored events, newest first.
func (c *Client) QueryEvents(ctx context.Context, q EventQuery) (EventPage, error) {
	p := gen.QueryAuditEventsParams{
		CorrelationId: optional(q.CorrelationID), EventType: optional(q.Type), EventCategory: optional(q.Category),
		EventOutcome: optional(gen.EventOutcome(q.Outcome)), Severity: optional(q.Severity), Limit: optional(q.Limit),
		Offset: optional(q.Offset), Since: timeText(q.Since), Until: timeText(q.Until),
	}
	r, err := c.gen.QueryAuditEvents(ctx, &p)
	answer, err := decode[gen.AuditEventsPage]("query events", r, err, http.StatusOK)
	if err != nil {
		return EventPage{}, err
	}
	page := EventPage{Limit: answer.Pagination.Limit, Offset: answer.Pagination.Offset, Total: answer.Pagination.Total}
	for _, e := range answer.Data {
		page.Events = append(page.Events, eventFromPage(e))
	}
	return page, nil
}

func timeText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format(time.RFC3339Nano)
	return &text
}

// VerifyChain checks the hash chain of one correlation id. A broken chain is not an error: the report
// says so. A correlation id without events is KindNotFound.
func (c *Client) VerifyChain(ctx context.Context, correlationID string) (incident.ChainReport, error) {
	r, err := c.gen.VerifyAuditChain(ctx, &gen.VerifyAuditChainParams{CorrelationId: correlationID})
	answer, err := decode[gen.ChainReport]("verify chain", r, err, http.StatusOK)
	if err != nil {
		return incident.ChainReport{}, err
	}
	return incident.ChainReport{
		CorrelationID: answer.CorrelationId, Events: answer.Events, Valid: answer.Valid, Head: answer.Head,
		BrokenAt: value(answer.BrokenAt), Problem: value(answer.Problem),
	}, nil
}

// CreateWorkflow registers a version of a workflow and returns it as stored. A name and version that
// exist are KindConflict.
func (c *Client) CreateWorkflow(ctx context.Context, w incident.Workflow) (incident.Workflow, error) {
	r, err := c.gen.CreateWorkflow(ctx, workflowToRequest(w))
	return decodeWorkflow("create workflow", r, err, http.StatusCreated)
}

// SearchWorkflows returns the best matches for q, best first, at most q.TopK.
func (c *Client) SearchWorkflows(ctx context.Context, q incident.WorkflowQuery) ([]incident.WorkflowMatch, error) {
	body := gen.WorkflowSearchRequest{
		Filters: gen.WorkflowSearchFilters{
			SignalType: q.Labels.SignalType, Severity: gen.WorkflowSearchFiltersSeverity(q.Labels.Severity),
			Component: q.Labels.Component, Environment: q.Labels.Environment,
			Priority: gen.WorkflowSearchFiltersPriority(q.Labels.Priority), CustomLabels: customToWire(q.CustomLabels),
			DetectedLabels: traitsToWire(q.DetectedLabels),
		},
		TopK: optional(q.TopK), MinScore: optional(q.MinScore), IncludeDisabled: optional(q.IncludeDisabled),
		RemediationId: optional(q.RemediationID),
	}
	r, err := c.gen.SearchWorkflows(ctx, body)
	answer, err := decode[gen.WorkflowSearchResponse]("search workflows", r, err, http.StatusOK)
	if err != nil {
		return nil, err
	}
	matches := make([]incident.WorkflowMatch, len(answer.Workflows))
	for i, m := range answer.Workflows {
		matches[i] = matchFromWire(m)
	}
	return matches, nil
}

// Workflow returns one version of a workflow by its UUID; KindNotFound when the catalog has none such,
// also when id is not a UUID.
func (c *Client) Workflow(ctx context.Context, id string) (incident.Workflow, error) {
	if !incident.ValidUUID(id) {
		return incident.Workflow{}, incident.Errorf(incident.KindNotFound, "get workflow", "the id is not a UUID")
	}
	r, err := c.gen.GetWorkflow(ctx, id)
	return decodeWorkflow("get workflow", r, err, http.StatusOK)
}

// ListWorkflows returns one page of the catalog, newest first, all versions.
func (c *Client) ListWorkflows(ctx context.Context, f incident.WorkflowFilter) (incident.WorkflowPage, error) {
	const op = "list workflows"
	r, err := c.gen.ListWorkflows(ctx, &gen.ListWorkflowsParams{
		Status: optional(gen.WorkflowStatus(f.Status)), Environment: optional(f.Environment), Priority: optional(f.Priority),
		Component: optional(f.Component), Limit: optional(f.Limit), Offset: optional(f.Offset),
	})
	answer, err := decode[gen.WorkflowsPage](op, r, err, http.StatusOK)
	if err != nil {
		return incident.WorkflowPage{}, err
	}
	workflows, err := workflowsFromWire(op, answer.Workflows)
	return incident.WorkflowPage{Workflows: workflows, Limit: answer.Limit, Offset: answer.Offset, Total: answer.Total}, err
}

// WorkflowVersions returns every version of the named workflow, highest version first; none for an
// unknown name.
func (c *Client) WorkflowVersions(ctx context.Context, name string) ([]incident.Workflow, error) {
	const op = "list workflow versions"
	r, err := c.gen.ListWorkflowVersions(ctx, name)
	answer, err := decode[gen.WorkflowVersions](op, r, err, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return workflowsFromWire(op, answer.Versions)
}

// ChangeWorkflow changes the status of one version and returns it as stored.
func (c *Client) ChangeWorkflow(ctx context.Context, id string, ch incident.WorkflowChange) (incident.Workflow, error) {
	body := gen.WorkflowUpdateRequest{
		Status: optional(gen.WorkflowStatus(ch.Status)), DisabledBy: optional(ch.By), DisabledReason: optional(ch.Reason),
	}
	if ch.Executions != nil {
		body.TotalExecutions, body.SuccessfulExecutions = &ch.Executions.Total, &ch.Executions.Successful
	}
	r, err := c.gen.UpdateWorkflow(ctx, id, body)
	return decodeWorkflow("change workflow", r, err, http.StatusOK)
}

// PutBundle stores an evidence bundle under its digest, "sha256:<hex>". Storing the same again is
// fine; a body that does not have the digest is KindInvalid.
func (c *Client) PutBundle(ctx context.Context, digest string, body []byte) error {
	r, err := c.gen.PutBundleWithBody(ctx, digest, "application/octet-stream", bytes.NewReader(body))
	_, err = decode[gen.BundleStored]("put bundle", r, err, http.StatusCreated, http.StatusOK)
	return err
}

// Bundle returns a stored bundle, verified against its digest; KindNotFound when there is none.
func (c *Client) Bundle(ctx context.Context, digest string) ([]byte, error) {
	const op = "get bundle"
	r, err := c.gen.GetBundle(ctx, digest)
	body, err := read(op, r, err, http.StatusOK)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != digest {
		return nil, incident.Errorf(incident.KindMalformed, op, "the server sent a bundle of digest %s for %s", got, digest)
	}
	return body, nil
}

// Ready returns nil when the server says that it can serve.
func (c *Client) Ready(ctx context.Context) error {
	r, err := c.gen.GetHealthReady(ctx)
	_, err = decode[gen.Readiness]("ask whether data storage is ready", r, err, http.StatusOK)
	return err
}

func decodeWorkflow(op string, r *http.Response, err error, want int) (incident.Workflow, error) {
	answer, err := decode[gen.Workflow](op, r, err, want)
	if err != nil {
		return incident.Workflow{}, err
	}
	workflows, err := workflowsFromWire(op, []gen.Workflow{answer})
	if err != nil {
		return incident.Workflow{}, err
	}
	return workflows[0], nil
}

func workflowsFromWire(op string, wire []gen.Workflow) ([]incident.Workflow, error) {
	workflows := make([]incident.Workflow, len(wire))
	for i, w := range wire {
		var err error
		if workflows[i], err = workflowFromWire(w); err != nil {
			return nil, incident.Errorf(incident.KindMalformed, op, "workflow %s: %w", w.WorkflowId, err)
		}
	}
	return workflows, nil
}

// decode reads a JSON answer with one of the wanted statuses.
func decode[T any](op string, r *http.Response, err error, want ...int) (T, error) {
	var answer T
	body, err := read(op, r, err, want...)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return answer, incident.Errorf(incident.KindMalformed, op, "the answer is not what the contract says: %w", err)
	}
	return answer, nil
}

// read returns the body of an answer with one of the wanted statuses. Of any other answer, and of a
// failed call, it makes an error of the domain.
func read(op string, r *http.Response, err error, want ...int) ([]byte, error) {
	if err != nil {
		return nil, callFailed(op, err)
	}
	defer func() { _ = r.Body.Close() }()
	if !slices.Contains(want, r.StatusCode) {
		return nil, refused(op, r)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	if err != nil {
		return nil, callFailed(op, err)
	}
	if len(body) > maxAnswer {
		return nil, incident.Errorf(incident.KindMalformed, op, "the answer has more than %d bytes", maxAnswer)
	}
	return body, nil
}

func callFailed(op string, err error) error {
	var network net.Error
	kind := incident.KindNetwork
	if _, ok := errors.AsType[*json.MarshalerError](err); ok {
		return incident.Errorf(incident.KindInvalid, op, "%w", err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() {
		kind = incident.KindTimeout
	}
	return incident.Errorf(kind, op, "%w", err)
}

// refused makes an error of an answer with an unwanted status.
func refused(op string, r *http.Response) error {
	e := &incident.Error{Kind: kindOfStatus(r.StatusCode), Op: op, Status: r.StatusCode, RetryAfter: retryAfter(r)}
	text, _ := io.ReadAll(io.LimitReader(r.Body, maxProblem))
	var p gen.Problem
	var notReady gen.Readiness
	switch {
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(text, &p) == nil:
		e.Err = fmt.Errorf("%s: %s", p.Title, value(p.Detail))
		if value(p.Detail) == "" {
			e.Err = errors.New(p.Title)
		}
	case json.Unmarshal(text, &notReady) == nil && notReady.Reason != nil:
		e.Err = fmt.Errorf("%s: %s", notReady.Status, *notReady.Reason)
	default:
		e.Err = errors.New(http.StatusText(r.StatusCode))
	}
	return e
}

// maxRetryAfter bounds what a server can ask for.
const maxRetryAfter = time.Hour

func retryAfter(r *http.Response) time.Duration {
	text := r.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter)
	}
	return 0
}
