package investigate

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// distinct drops executions that are reported twice, keeping the order.
func distinct(executions []incident.Execution) []incident.Execution {
	var out []incident.Execution
	seen := map[string]bool{}
	for _, e := range executions {
		if e.Ref != "" && seen[e.Ref] {
			continue
		}
		seen[e.Ref] = true
		out = append(out, e)
	}
	return out
}

// failureReason says what a Kubernetes reason means for a workflow execution.
type failureReason struct {
	text string
	// signals are those of the present state that would explain it; none when the reason says it all.
	signals []string
	// clear is set when the reason explains the failure by itself.
	clear bool
}

var failureReasons = map[string]failureReason{
	"OOMKilled":            {text: "a container was killed at its memory limit", signals: []string{"OOMKilled"}},
	"InsufficientCPU":      {text: "no node had enough CPU", signals: []string{"FailedScheduling"}},
	"InsufficientMemory":   {text: "no node had enough memory", signals: []string{"FailedScheduling"}},
	"Evicted":              {text: "a Pod was evicted from its node", signals: []string{"Evicted", "NodeNotReady"}},
	"FailedScheduling":     {text: "a Pod could not be scheduled", signals: []string{"FailedScheduling"}},
	"Unschedulable":        {text: "a Pod could not be scheduled", signals: []string{"FailedScheduling"}},
	"ImagePullBackOff":     {text: "an image could not be pulled", signals: []string{"ImagePullBackOff"}},
	"ErrImagePull":         {text: "an image could not be pulled", signals: []string{"ImagePullBackOff"}},
	"InvalidImageName":     {text: "the name of an image is not valid", signals: []string{"ImagePullBackOff"}, clear: true},
	"DeadlineExceeded":     {text: "a step did not end in its time", signals: []string{"ReplicasUnavailable", "FailedScheduling", "ImagePullBackOff", "CrashLoopBackOff", "Unhealthy"}},
	"BackoffLimitExceeded": {text: "a step failed as often as it may be tried", signals: []string{"CrashLoopBackOff", "OOMKilled"}},
	"Error":                {text: "a step ended with an error"},
	"Unauthorized":         {text: "the workflow was not known to the API server", clear: true},
	"Forbidden":            {text: "the workflow was not allowed to do what it does", clear: true},
	"FailedMount":          {text: "a volume could not be mounted", signals: []string{"FailedMount", "PVCPending"}},
	"FailedAttachVolume":   {text: "a volume could not be attached", signals: []string{"FailedMount", "PVCPending"}},
	"NodeNotReady":         {text: "a node was not ready", signals: []string{"NodeNotReady"}},
	"NodeUnreachable":      {text: "a node could not be reached", signals: []string{"NodeNotReady"}},
	"NetworkNotReady":      {text: "the network of a node was not ready", signals: []string{"NodeNotReady"}},
}

// assess says what the present state means for the last execution, and what can be tried next.
func assess(in incident.Incident, r diagnose.Result, sel catalog.Selection) *incident.RecoveryAssessment {
	a := &incident.RecoveryAssessment{CanRecover: len(sel.Options) > 0}
	for _, o := range sel.Options[:min(maxStrategies, len(sel.Options))] {
		a.Strategies = append(a.Strategies, incident.RecoveryStrategy{
			ActionType: strings.ReplaceAll(o.Name, "-", "_"), Confidence: o.Selected.Confidence, Rationale: o.Selected.Rationale,
			Risk: o.Risk, Prerequisites: o.Preconditions,
		})
	}
	before := in.SignalType
	var last *incident.Execution
	if n := len(in.Recovery.Previous); n > 0 {
		last = &in.Recovery.Previous[n-1]
		if last.RootCause.SignalType != "" {
			before = last.RootCause.SignalType
		}
	}
	var signals []string
	if r.Cause != nil {
		signals = r.Cause.SignalTypes
	}
	same := slices.IndexFunc(signals, func(s string) bool { return strings.EqualFold(s, before) })
	switch {
	case r.Verdict == diagnose.VerdictHealthy:
		a.StateChanged = true
	case same >= 0:
		a.CurrentSignalType = signals[same]
	case len(signals) > 0:
		a.CurrentSignalType, a.StateChanged = signals[0], before != ""
	default: // nothing is known that contradicts what was seen before
		a.CurrentSignalType = before
	}
	if last == nil {
		return a
	}
	if target := last.RootCause.Target; target != nil && r.Cause != nil && !target.Same(r.Cause.Target) {
		a.StateChanged = true
	}
	a.Assessed = true
	a.FailureUnderstood, a.FailureReason = explain(*last, r, signals)
	if n := len(in.Recovery.Previous); n > 1 {
		a.FailureReason += fmt.Sprintf(" %d executions failed in all.", n)
	}
	return a
}

// explain holds the reason of a failed execution against the present state.
func explain(last incident.Execution, r diagnose.Result, signals []string) (understood bool, text string) {
	reason, known := failureReasons[last.Failure.Reason]
	if !known {
		reason.text = "the reason is not one that Kubernetes gives"
	}
	text = fmt.Sprintf("Execution %s failed at step %d: %s.", last.Ref, last.Failure.StepIndex, reason.text)
	corroborated := slices.ContainsFunc(reason.signals, func(s string) bool { return slices.Contains(signals, s) })
	switch {
	case corroborated:
		return true, text + fmt.Sprintf(" The state now explains it: %s", r.Cause.Summary)
	case reason.clear:
		return true, text + " The reason explains it by itself."
	case r.Verdict == diagnose.VerdictHealthy:
		return false, text + " The state now does not show why: nothing is wrong any more."
	case r.Cause != nil:
		return false, text + fmt.Sprintf(" The state now shows something else: %s", r.Cause.Summary)
	}
	return false, text + " The state now does not show why."
}
