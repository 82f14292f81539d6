package plan

import (
	"fmt"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// EventKind is what happened.
type EventKind string

const (
	PhaseStarted EventKind = "started"
	PhaseEnded   EventKind = "ended"
	Retrying     EventKind = "retrying"
	Noted        EventKind = "noted"
)

// Event is something that happened in a run.
type Event struct {
	Kind  EventKind
	Time  time.Time
	Phase string
	// Status, Duration and Why are those of a phase that ended.
	Status   Status
	Duration time.Duration
	Why      string
	// Unit, Finding and Pause are those of a retry; Finding is also the first one of a phase that failed.
	Unit    string
	Finding failure.Finding
	Pause   time.Duration
	// Note is a decision.
	Note string
}

// String is one line for a person.
func (e Event) String() string {
	at := e.Time.UTC().Format("15:04:05")
	switch e.Kind {
	case PhaseStarted:
		return fmt.Sprintf("%s %-9s …", at, e.Phase)
	case Retrying:
		return fmt.Sprintf("%s %-9s retry of %s: %s (%s)", at, e.Phase, e.Unit, e.Finding.Summary, e.Finding.Class)
	case Noted:
		return fmt.Sprintf("%s %-9s %s", at, e.Phase, e.Note)
	}
	line := fmt.Sprintf("%s %-9s %s", at, e.Phase, e.Status)
	if e.Status != NotRun {
		line += fmt.Sprintf(" in %s", e.Duration.Round(100*time.Millisecond))
	}
	if e.Why != "" {
		line += ": " + e.Why
	}
	if e.Finding.Summary != "" {
		line += ": " + e.Finding.Summary
	}
	return line
}
