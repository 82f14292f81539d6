package dsapi

import (
	"context"
	"net/http"

	"kubernaut.ai/kubernaut/internal/incident"
)

// The queries and pages of the client are the domain's.
type (
	EventQuery     = incident.EventQuery
	EventPage      = incident.EventPage
	WorkflowFilter = incident.WorkflowFilter
	WorkflowPage   = incident.WorkflowPage
	WorkflowChange = incident.WorkflowChange
)

// Client talks to a Data Storage server. It is safe for concurrent use. Every method returns errors
// of type *incident.Error: the kind says what to do, Status is the HTTP status when there was one,
// and RetryAfter what the server asked for.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client of the server at baseURL, for example "http://datastorage:8080". With a
// nil hc it uses one of its own with a timeout of 30 seconds for a call.
func NewClient(baseURL string, hc *http.Client) (*Client, error) {
	return &Client{base: baseURL, http: hc}, nil
}

var errPending = incident.Errorf(incident.KindInternal, "dsapi", "the client is being written")

// WriteEvents stores events, all or none. Events are idempotent by id: one that is stored already
// with the same content counts as written, one with other content is KindConflict.
func (c *Client) WriteEvents(ctx context.Context, events []incident.AuditEvent) error {
	return errPending
}

// QueryEvents returns one page of stored events, newest first.
func (c *Client) QueryEvents(ctx context.Context, q EventQuery) (EventPage, error) {
	return EventPage{}, errPending
}

// VerifyChain checks the hash chain of one correlation id. A broken chain is not an error: the report
// says so. A correlation id without events is KindNotFound.
func (c *Client) VerifyChain(ctx context.Context, correlationID string) (incident.ChainReport, error) {
	return incident.ChainReport{}, errPending
}

// CreateWorkflow registers a version of a workflow and returns it as stored. A name and version that
// exist are KindConflict.
func (c *Client) CreateWorkflow(ctx context.Context, w incident.Workflow) (incident.Workflow, error) {
	return incident.Workflow{}, errPending
}

// SearchWorkflows returns the best matches for q, best first, at most q.TopK.
func (c *Client) SearchWorkflows(ctx context.Context, q incident.WorkflowQuery) ([]incident.WorkflowMatch, error) {
	return nil, errPending
}

// Workflow returns one version of a workflow by its UUID; KindNotFound when the catalog has none such,
// also when id is not a UUID.
func (c *Client) Workflow(ctx context.Context, id string) (incident.Workflow, error) {
	return incident.Workflow{}, errPending
}

// ListWorkflows returns one page of the catalog, newest first, all versions.
func (c *Client) ListWorkflows(ctx context.Context, f WorkflowFilter) (WorkflowPage, error) {
	return WorkflowPage{}, errPending
}

// WorkflowVersions returns every version of the named workflow, highest version first; none for an
// unknown name.
func (c *Client) WorkflowVersions(ctx context.Context, name string) ([]incident.Workflow, error) {
	return nil, errPending
}

// ChangeWorkflow changes the status of one version and returns it as stored.
func (c *Client) ChangeWorkflow(ctx context.Context, id string, ch WorkflowChange) (incident.Workflow, error) {
	return incident.Workflow{}, errPending
}

// PutBundle stores an evidence bundle under its digest, "sha256:<hex>". Storing the same again is
// fine; a body that does not have the digest is KindInvalid.
func (c *Client) PutBundle(ctx context.Context, digest string, body []byte) error {
	return errPending
}

// Bundle returns a stored bundle, verified against its digest; KindNotFound when there is none.
func (c *Client) Bundle(ctx context.Context, digest string) ([]byte, error) {
	return nil, errPending
}

// Ready returns nil when the server says that it can serve.
func (c *Client) Ready(ctx context.Context) error {
	return errPending
}
