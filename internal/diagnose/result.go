package diagnose

import (
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Verdict is what a diagnosis comes to.
type Verdict string

// The three verdicts.
const (
	VerdictCause       Verdict = "cause"       // something is wrong, and Result.Cause says why
	VerdictHealthy     Verdict = "healthy"     // nothing is wrong now with what was asked about
	VerdictUndecidable Verdict = "undecidable" // what could be read does not decide; see Result.ReadNext
)

// Result is the outcome of Run. All evidence that its parts cite by id is in Evidence.
type Result struct {
	Verdict Verdict `json:"verdict"`
	// Summary says the outcome in a few sentences.
	Summary string `json:"summary"`
	// Confidence is that in the verdict, from 0 to 1; for VerdictCause it is the cause's.
	Confidence float64 `json:"confidence"`
	// Since is when what is wrong began, as far as it is recorded; zero when it is not, or nothing is wrong.
	Since time.Time `json:"since,omitzero"`
	// Subject is the incident's resource as it was found; OwnerChain leads from it (exclusive) to the
	// top owner.
	Subject    incident.Ref   `json:"subject"`
	OwnerChain []incident.Ref `json:"ownerChain,omitempty"`
	// Cause is set for VerdictCause only.
	Cause *incident.Cause `json:"cause,omitempty"`
	// TargetInOwnerChain is set when Cause.Target is the subject or is related to it by what the
	// snapshot shows; see the function of that name.
	TargetInOwnerChain bool `json:"targetInOwnerChain"`
	// Others are further causes that were found and that the primary cause does not account for, best
	// first.
	Others []incident.Cause `json:"others,omitempty"`
	// Noise is what was seen and set aside, with the reason.
	Noise []Note `json:"noise,omitempty"`
	// Symptoms are what is wrong now with the subject, as far as it was seen.
	Symptoms []incident.Link `json:"symptoms,omitempty"`
	// Checks lists what was looked at, for a healthy verdict to be believed.
	Checks []Check `json:"checks"`
	// Evidence has ids e1, e2, … in the order of first use.
	Evidence []incident.Evidence `json:"evidence,omitempty"`
	// Gaps are those of the snapshot, with TouchesCause set where they could have changed the verdict.
	Gaps []incident.Gap `json:"gaps,omitempty"`
	// ReadNext says what a person should read to decide, or to be surer.
	ReadNext []string `json:"readNext,omitempty"`
}

// Note is something that was seen and judged not to be the cause.
type Note struct {
	Subject   incident.Ref `json:"subject"`
	Statement string       `json:"statement"`
	// Reason says why it was set aside.
	Reason   string   `json:"reason"`
	Evidence []string `json:"evidence,omitempty"` // ids
}

// CheckOutcome is what one check came to.
type CheckOutcome string

// The outcomes of a check.
const (
	CheckPassed  CheckOutcome = "passed"
	CheckFailed  CheckOutcome = "failed"
	CheckUnknown CheckOutcome = "unknown" // what it needs could not be read
)

// Check is one thing that was looked at.
type Check struct {
	Name    string       `json:"name"` // for example "containers of the Pods are running"
	Outcome CheckOutcome `json:"outcome"`
	Detail  string       `json:"detail,omitempty"`
}
