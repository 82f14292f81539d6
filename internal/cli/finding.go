package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/duration"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// finding is what reports show of an analysis, whether the engine made it just now or the status of an
// AIAnalysis holds it. What is not known is zero.
type finding struct {
	verdict    diagnose.Verdict // "" while there is none
	summary    string
	class      string
	severity   string
	target     *incident.Ref
	confidence float64
	since      time.Time
	observedAt time.Time
	managedBy  []string
	signal     string // that of the alert, when the evidence shows another thing

	chain    []incident.Link // for a cause; else the symptoms
	evidence []incident.Evidence
	sources  map[string]string // where a piece of evidence was read, by its id
	factors  []string
	others   []incident.Cause
	noise    []diagnose.Note
	checks   []diagnose.Check
	gaps     []incident.Gap
	readNext []string

	workflow   *workflowDoc
	done       bool // the search for a workflow is over
	candidates []incident.Candidate

	redactions int
	read       string // what the finding rests on, in words
	leftover   []string
	unanchored bool
	digest     string
}

// findingOf shows a diagnosis. took is how long the reading lasted, 0 when that does not matter.
func findingOf(d *diagnosis, origin string, took time.Duration) *finding {
	f := &finding{
		verdict: d.Verdict, summary: d.Summary, confidence: d.Confidence, since: d.Since, observedAt: d.Read.ObservedAt, managedBy: d.ManagedBy,
		chain: d.Symptoms, evidence: d.Evidence, others: d.Others, noise: d.Noise, checks: d.Checks, gaps: d.Gaps, readNext: d.ReadNext,
		workflow: d.Workflow, done: d.Verdict == diagnose.VerdictCause, candidates: d.Candidates,
		redactions: d.Read.Redactions, digest: d.Read.Bundle,
	}
	if c := d.Cause; c != nil {
		f.class, f.severity, f.target, f.chain, f.factors = string(c.Class), string(c.Severity), &c.Target, c.Chain, c.Factors
		if s := d.Incident.SignalType; s != "" && !slices.ContainsFunc(c.SignalTypes, func(have string) bool { return strings.EqualFold(have, s) }) {
			f.signal = s
		}
	}
	f.read = fmt.Sprintf("%s, %s and %s of %s", counted(d.Read.Objects, "object"), counted(d.Read.Events, "event"), counted(d.Read.Logs, "log"), origin)
	if took > 0 {
		f.read += " in " + seconds(took)
	}
	if rec := d.Recording; rec != nil {
		f.unanchored = !rec.Anchored
		f.sources = map[string]string{}
		for id, src := range rec.Sources {
			f.sources[id] = place(src.File, src.Line, src.Line)
		}
		for _, l := range rec.Leftover {
			f.leftover = append(f.leftover, place(l.File, l.From, l.To)+": "+l.Reason)
		}
	}
	return f
}

// findingOfStatus shows what the status of an analysis holds.
func findingOfStatus(s *v1alpha1.AIAnalysisStatus) *finding {
	f := &finding{class: s.CauseClass, done: s.Phase.Terminal()}
	rca := s.RootCauseAnalysis
	switch {
	case s.CauseClass != "" && rca != nil:
		f.verdict, f.summary, f.severity, f.factors = diagnose.VerdictCause, rca.Summary, string(rca.Severity), rca.ContributingFactors
		if rca.Target != nil {
			target := refOf(*rca.Target)
			f.target = &target
		}
	case s.Reason == v1alpha1.ReasonWorkflowNotNeeded:
		f.verdict, f.summary = diagnose.VerdictHealthy, s.Message
	case rca != nil && rca.Summary != "":
		f.verdict, f.summary = diagnose.VerdictUndecidable, rca.Summary
	}
	for _, l := range s.CausalChain {
		f.chain = append(f.chain, incident.Link{Subject: refOf(l.Subject), Statement: l.Statement, Evidence: l.Evidence})
	}
	for _, e := range s.Evidence {
		f.evidence = append(f.evidence, incident.Evidence{ID: e.ID, Kind: incident.EvidenceKind(e.Kind), Ref: refOf(e.Ref), Path: e.Path, Value: e.Value, Absent: e.Absent})
	}
	for _, g := range s.Gaps {
		f.gaps = append(f.gaps, incident.Gap{Kind: incident.GapKind(g.Kind), What: g.What, Reason: g.Reason, TouchesCause: g.TouchesCause})
	}
	for _, c := range s.Candidates {
		f.candidates = append(f.candidates, incident.Candidate{WorkflowID: c.WorkflowID, Title: c.Title, Chosen: c.Chosen, Score: c.Score, Reason: c.Reason})
	}
	if wf := s.SelectedWorkflow; wf != nil {
		f.workflow = &workflowDoc{ID: wf.WorkflowID, Title: wf.WorkflowID, Version: wf.Version, Confidence: wf.Confidence, Reason: wf.Rationale, Parameters: wf.Parameters}
		for _, c := range s.Candidates {
			if c.Chosen && c.Title != "" {
				f.workflow.Title = c.Title
			}
		}
	}
	if s.Bundle != nil {
		f.digest = s.Bundle.Digest
	}
	return f
}

func refOf(ref v1alpha1.ObjectRef) incident.Ref {
	return incident.Ref{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}
}

// bestEvidence returns the pieces that say most: those of the cause itself, then those nearest to it.
func (f *finding) bestEvidence(n int) []incident.Evidence {
	byID := map[string]incident.Evidence{}
	for _, e := range f.evidence {
		byID[e.ID] = e
	}
	var out []incident.Evidence
	for _, l := range slices.Backward(f.chain) {
		for _, id := range l.Evidence {
			e, ok := byID[id]
			if ok && len(out) < n && !slices.ContainsFunc(out, func(have incident.Evidence) bool { return have.ID == id }) {
				out = append(out, e)
			}
		}
	}
	return out
}

// sure words a confidence.
func sure(confidence float64) string {
	switch {
	case confidence >= 0.9:
		return "very likely"
	case confidence >= 0.7:
		return "likely"
	case confidence >= 0.5:
		return "more likely than not"
	}
	return "unsure"
}

// confidenceText is a confidence in words and as a number.
func (f *finding) confidenceText() string {
	if f.confidence == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%.2f)", sure(f.confidence), f.confidence)
}

// sinceText is when it began, absolute and against the time of the reading.
func (f *finding) sinceText() string {
	switch {
	case f.since.IsZero():
		return ""
	case f.unanchored:
		return duration.HumanDuration(f.observedAt.Sub(f.since)) + " before the recording"
	}
	return fmt.Sprintf("%s, %s before it was read", f.since.UTC().Format("2006-01-02 15:04:05 UTC"), duration.HumanDuration(f.observedAt.Sub(f.since)))
}

// limits says what the gaps mean for the verdict.
func (f *finding) limits() (touching, other []incident.Gap) {
	for _, g := range f.gaps {
		if g.TouchesCause {
			touching = append(touching, g)
		} else {
			other = append(other, g)
		}
	}
	return touching, other
}

// evidenceText is one piece of evidence without its id.
func (f *finding) evidenceText(e incident.Evidence) string {
	text := joinNonEmpty(" ", clean(e.Ref.String()), clean(e.Path))
	if e.Absent {
		text += " is absent"
	} else {
		text += " = " + cut(clean(e.Value), longestValue)
	}
	if src := f.sources[e.ID]; src != "" {
		text += " (" + clean(src) + ")"
	}
	return text
}

// place names lines of a file; from is 0 when the file has none.
func place(file string, from, to int) string {
	lines := ""
	switch {
	case from > 0 && from < to:
		lines = fmt.Sprintf("%d-%d", from, to)
	case from > 0:
		lines = strconv.Itoa(from)
	}
	if file == standardInput && lines != "" {
		return "line " + lines
	}
	return joinNonEmpty(":", file, lines)
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// detail is how much of a finding is shown.
type detail struct {
	evidence bool // all of it, and not the best two pieces
	verbose  bool // also what was set aside, was not chosen, and was not understood
}

func (d *detail) bind(flags *pflag.FlagSet) {
	flags.BoolVarP(&d.evidence, "evidence", "e", false, "show all evidence, and what each step of the chain rests on")
	flags.BoolVarP(&d.verbose, "verbose", "v", false, "show also what was set aside, checked, not chosen and not understood, with the reasons")
}
