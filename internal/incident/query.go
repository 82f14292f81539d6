package incident

import "time"

// EventQuery selects stored audit events. A zero field does not restrict; set fields are matched
// exactly and all of them must match. The answer is ordered newest first, then by descending id.
type EventQuery struct {
	CorrelationID string
	Type          string
	Category      string
	Outcome       Outcome
	Severity      string
	Since         time.Time // inclusive
	Until         time.Time // inclusive
	Limit         int       // 1 to 1000; 0 means 50
	Offset        int       // 0 or more
}

// EventPage is one page of an EventQuery's answer. Total counts every event that matches, in the
// same snapshot of the store that the page was read from.
type EventPage struct {
	Events []StoredEvent
	Limit  int
	Offset int
	Total  int64
}

// HasMore reports whether events follow this page.
func (p EventPage) HasMore() bool { return int64(p.Offset)+int64(len(p.Events)) < p.Total }

// WorkflowFilter selects catalogued workflow versions of every status, newest first. A zero field
// does not restrict; set fields are matched exactly.
type WorkflowFilter struct {
	Status      WorkflowStatus
	Environment string
	Priority    string
	Component   string
	Limit       int // 1 to 1000; 0 means 100
	Offset      int // 0 or more
}

// WorkflowPage is one page of a WorkflowFilter's answer. Total counts every version that matches.
type WorkflowPage struct {
	Workflows []Workflow
	Limit     int
	Offset    int
	Total     int64
}

// WorkflowChange sets the status of a workflow version, and how often it ran. What is zero leaves
// things as they are.
type WorkflowChange struct {
	Status     WorkflowStatus
	By         string // who asked
	Reason     string // why the status changes
	Executions *WorkflowExecutions
}

// WorkflowExecutions counts the executions of a workflow version: all, and those that succeeded.
type WorkflowExecutions struct{ Total, Successful int }

// WorkflowSearch is the answer to a WorkflowQuery. Total counts all workflows that match, of which
// Matches holds the best.
type WorkflowSearch struct {
	Matches []WorkflowMatch
	Total   int
}
