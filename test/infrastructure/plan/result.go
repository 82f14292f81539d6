package plan

import (
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Status is how a phase ended.
type Status string

const (
	Running     Status = "running"     // it has not ended, or the run was killed during it
	Passed      Status = "passed"      // it ran and succeeded, possibly after retries
	Held        Status = "held"        // an earlier run did it, and it still holds
	Failed      Status = "failed"      // it ran and failed
	Interrupted Status = "interrupted" // it was running when the run was ended
	NotRun      Status = "not run"     // something it needs did not succeed, or it was not asked for
)

// verb makes a status the end of a sentence.
func (s Status) verb() string {
	switch s {
	case Interrupted:
		return "was interrupted"
	case Running:
		return "has not ended"
	default:
		return string(s)
	}
}

// Result is everything that is known about a run.
type Result struct {
	Suite   string `json:"suite"`
	Cluster string `json:"cluster"`
	RunID   string `json:"runId"`
	// Dir is the directory of the run.
	Dir string `json:"dir"`
	// Resumed is the run that this one continued, if any.
	Resumed  string    `json:"resumed,omitempty"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	Budget   int       `json:"budget"`
	// CPU is the processor time that the run's own process has used; zero if that was not measured.
	CPU time.Duration `json:"cpu,omitempty"`
	// Interrupted says that the run was ended from outside.
	Interrupted bool          `json:"interrupted,omitempty"`
	Phases      []PhaseResult `json:"phases"`
}

// PhaseResult is everything that is known about a phase of a run.
type PhaseResult struct {
	Name  string   `json:"name"`
	After []string `json:"after,omitempty"`
	// Dir is the phase's directory, with log.txt and the evidence; empty if it did not run.
	Dir     string `json:"dir,omitempty"`
	Status  Status `json:"status"`
	Finally bool   `json:"finally,omitempty"`
	// Why says why it did not run, or ran although it had a checkpoint.
	Why      string        `json:"why,omitempty"`
	Started  time.Time     `json:"started,omitzero"`
	Duration time.Duration `json:"duration"`
	// Notes are the decisions that the phase took, with their reasons.
	Notes []string `json:"notes,omitempty"`
	// Retries are the attempts that failed and were tried again.
	Retries []Retry `json:"retries,omitempty"`
	// Findings are the failures that were not healed.
	Findings []failure.Finding `json:"findings,omitempty"`
}

// Retry is an attempt that failed and was tried again.
type Retry struct {
	Unit string `json:"unit"`
	// Attempt is the number of the one that failed.
	Attempt int             `json:"attempt"`
	Finding failure.Finding `json:"finding"`
	// Evidence is the directory with what was saved of it.
	Evidence string `json:"evidence"`
	// Healed says that the unit passed in the end.
	Healed bool `json:"healed"`
}

// Cause returns the failure that decided the run: the first one of the phase that failed first.
func (r Result) Cause() (failure.Finding, bool) {
	var first *PhaseResult
	for i := range r.Phases {
		p := &r.Phases[i]
		if p.Status != Failed || len(p.Findings) == 0 {
			continue
		}
		if first == nil || p.ended().Before(first.ended()) {
			first = p
		}
	}
	if first == nil {
		return failure.Finding{}, false
	}
	return first.Findings[0], true
}

func (p PhaseResult) ended() time.Time { return p.Started.Add(p.Duration) }

// Retries is how many attempts failed and were tried again.
func (r Result) Retries() int {
	n := 0
	for _, p := range r.Phases {
		n += len(p.Retries)
	}
	return n
}

// ExitCode is 0 only if every phase that was asked for passed or holds.
func (r Result) ExitCode() int {
	if r.Interrupted {
		return failure.ExitInterrupted
	}
	if f, ok := r.Cause(); ok {
		return f.ExitCode()
	}
	if r.Finished.IsZero() {
		return failure.ExitInfrastructure // its process was killed, nobody knows by whom
	}
	for _, p := range r.Phases {
		if p.Status != Passed && p.Status != Held {
			return failure.ExitHarness
		}
	}
	return failure.ExitOK
}
