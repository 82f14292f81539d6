package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Entry is one workflow that the catalog offers.
type Entry struct {
	Match incident.WorkflowMatch // the row of the search
	// Workflow is what the catalog holds under the row's id; nil when it holds nothing there any more.
	Workflow *incident.Workflow
}

// Option is a workflow that fits, with its parameters filled and validated.
type Option struct {
	Selected      incident.SelectedWorkflow
	Name          string
	Risk          string // low, medium or high
	Preconditions []string
	// MadeFor is set when the workflow lists the cause's class, and not merely its signal type.
	MadeFor bool
}

// Selection is the outcome of Select.
type Selection struct {
	// Options are the workflows that fit, best first; the first is the choice.
	Options []Option
	// Candidates are all that were offered, best first, each with the reason for or against it.
	Candidates []incident.Candidate
	// Attempts are the validations of those that passed the constraints, in the order of their rank.
	Attempts []incident.ValidationAttempt
	// Review is why there is no option; empty when there is one.
	Review incident.ReviewReason
}

// Weights of the parts of a fit, which add up to 1.
const (
	weightCause       = 0.45 // the workflow is made for this class of cause
	weightCatalog     = 0.25 // the catalog's own score
	weightSpecificity = 0.10 // labels that name what they match, instead of *
	weightRisk        = 0.10
	weightRecord      = 0.10 // how often it worked
)

// Confidence returns the confidence in a workflow: that in the cause, lowered where the workflow
// fits less than perfectly, by at most two fifths. So a workflow is never surer than its cause, one
// that is made for the cause stays close to it, and one that merely shares its signal type ends
// below what may run without a person.
func Confidence(cause incident.Cause, fit float64) float64 {
	return cause.Confidence * (0.6 + 0.4*fit)
}

// Select chooses a workflow for a cause. A workflow is out when it breaks a hard constraint: it must
// be active; its labels must match the incident's environment and priority, the cause's severity and
// the kind of the target; when it lists cause classes the cause's must be among them; an object that
// GitOps or Helm manages is changed at its source only; traits that it is made for must be there;
// and in a recovery it must not repeat what any earlier execution did. Those that are left are
// ordered by how well they fit, and validated: the image must be that of the search row, and the
// parameters, taken from the cause, must satisfy the workflow's schema. at is the time of the
// validations. The same arguments always give the same Selection.
func Select(cause incident.Cause, in incident.Incident, entries []Entry, at time.Time) Selection {
	s := selector{cause: cause, in: in, want: wanted(cause, in)}
	considered := s.rank(entries)
	var sel Selection
	var firstFault incident.ReviewReason
	for i := range considered {
		c := &considered[i]
		if c.against != "" {
			continue
		}
		reason, faults := s.validate(c)
		sel.Attempts = append(sel.Attempts, incident.ValidationAttempt{
			Attempt: len(sel.Attempts) + 1, WorkflowID: c.id(), Valid: len(faults) == 0, Errors: faults, At: at,
		})
		if len(faults) > 0 {
			c.against = "fails validation: " + strings.Join(faults, "; ")
			firstFault = cmp.Or(firstFault, reason)
			continue
		}
		if repeated := s.repeats(c); repeated != "" {
			c.against = repeated
			continue
		}
		sel.Options = append(sel.Options, s.option(c))
		c.option = len(sel.Options)
	}
	for i := range considered {
		sel.Candidates = append(sel.Candidates, considered[i].candidate(considered, sel.Options))
	}
	// The choice first, then what would do, then the rest, each by rank.
	slices.SortStableFunc(sel.Candidates, func(a, b incident.Candidate) int {
		return compareBool(b.Chosen, a.Chosen)
	})
	if len(sel.Options) == 0 {
		sel.Review = cmp.Or(firstFault, incident.ReviewNoMatchingWorkflows)
	}
	return sel
}

// selector holds what one selection goes by.
type selector struct {
	cause incident.Cause
	in    incident.Incident
	want  incident.WorkflowLabels
}

// considered is one workflow under consideration.
type considered struct {
	entry      Entry
	fit        float64
	listed     bool   // made for the cause's class
	against    string // why it is out; empty while it is not
	parameters map[string]string
	option     int // from 1 among the options; 0 for none
}

func (c *considered) id() string { return c.entry.Match.WorkflowID }

func (c *considered) title() string {
	if w := c.entry.Workflow; w != nil && w.Title != "" {
		return w.Title
	}
	return c.entry.Match.Title
}

// rank judges every entry and orders them: the better fit first, then the lower risk, then by name.
func (s *selector) rank(entries []Entry) []considered {
	var out []considered
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.Match.WorkflowID] {
			continue // found under two signal types: the first, more specific one counts
		}
		seen[e.Match.WorkflowID] = true
		c := considered{entry: e}
		if w := e.Workflow; w != nil {
			c.listed = slices.Contains(w.CustomLabels[incident.LabelCauses], string(s.cause.Class))
			c.against = s.against(w)
			c.fit = s.fit(w, e.Match, c.listed)
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b considered) int {
		return cmp.Or(
			compareBool(a.against != "", b.against != ""),
			cmp.Compare(b.fit, a.fit),
			cmp.Compare(riskOrder(a.entry.Workflow), riskOrder(b.entry.Workflow)),
			strings.Compare(a.title(), b.title()),
			strings.Compare(a.id(), b.id()),
		)
	})
	return out
}

// against returns the first hard constraint that w breaks, in words.
func (s *selector) against(w *incident.Workflow) string {
	if w.Status != incident.WorkflowActive && w.Status != "" {
		return "is " + string(w.Status) + " in the catalog"
	}
	for _, l := range []struct{ what, has, want string }{
		{"severity", w.Labels.Severity, s.want.Severity},
		{"component", w.Labels.Component, s.want.Component},
		{"environment", w.Labels.Environment, s.want.Environment},
		{"priority", w.Labels.Priority, s.want.Priority},
	} {
		if l.has != incident.Wildcard && l.has != "" && !strings.EqualFold(l.has, l.want) {
			return fmt.Sprintf("is for %s %s; this is %s", l.what, l.has, l.want)
		}
	}
	if causes := w.CustomLabels[incident.LabelCauses]; len(causes) > 0 && !slices.Contains(causes, string(s.cause.Class)) {
		return fmt.Sprintf("remedies %s; the cause is %s", strings.Join(causes, ", "), s.cause.Class)
	}
	return s.againstTraits(w)
}

// againstTraits checks a workflow against who manages the target.
func (s *selector) againstTraits(w *incident.Workflow) string {
	has, made := known(s.in.DetectedLabels), w.DetectedLabels
	if !concerns(s.cause.Target, s.in) {
		has = incident.DetectedLabels{}
	}
	toolFits := made.GitOpsTool == "" || made.GitOpsTool == incident.Wildcard || made.GitOpsTool == has.GitOpsTool
	switch {
	case made.GitOpsManaged && !has.GitOpsManaged:
		return "is made for objects under GitOps; none is known to manage " + s.cause.Target.String()
	case made.GitOpsManaged && !toolFits:
		return fmt.Sprintf("is made for %s; %s is managed by %s", made.GitOpsTool, s.cause.Target, nonEmpty(has.GitOpsTool, "another tool"))
	case made.HelmManaged && !has.HelmManaged:
		return "is made for Helm releases; none is known to manage " + s.cause.Target.String()
	case made.Stateful && !has.Stateful:
		return "is made for stateful workloads; " + s.cause.Target.String() + " is not known to be one"
	}
	if changes(w) != ChangesDeclared {
		return ""
	}
	switch {
	case has.GitOpsManaged && !made.GitOpsManaged:
		return fmt.Sprintf("would change %s directly, which is managed by %s: the change has to be made at its source",
			s.cause.Target, nonEmpty(has.GitOpsTool, "GitOps"))
	case has.HelmManaged && !made.HelmManaged && !made.GitOpsManaged:
		return fmt.Sprintf("would change %s directly, which a Helm release manages: the change has to be made in its values", s.cause.Target)
	}
	return ""
}

// changes returns what a workflow changes; one that does not say may change anything.
func changes(w *incident.Workflow) string {
	if v := w.CustomLabels[LabelChanges]; len(v) == 1 && (v[0] == ChangesRuntime || v[0] == ChangesSource) {
		return v[0]
	}
	return ChangesDeclared
}

// Risk returns how much can go wrong with a workflow: low, medium or high; medium when it does not
// say.
func Risk(w incident.Workflow) string {
	if v := w.CustomLabels[LabelRisk]; len(v) == 1 && (v[0] == "low" || v[0] == "high") {
		return v[0]
	}
	return "medium"
}

func riskOrder(w *incident.Workflow) int {
	if w == nil {
		return 3
	}
	return slices.Index([]string{"low", "medium", "high"}, Risk(*w))
}

// fit returns how well a workflow suits the cause, from 0 to 1.
func (s *selector) fit(w *incident.Workflow, m incident.WorkflowMatch, listed bool) float64 {
	fit := weightCatalog * min(max(m.Score, 0), 1)
	if listed {
		fit += weightCause
	}
	for _, label := range []string{w.Labels.Severity, w.Labels.Component, w.Labels.Environment, w.Labels.Priority} {
		if label != incident.Wildcard {
			fit += weightSpecificity / 4
		}
	}
	fit += weightRisk * []float64{1, 0.7, 0.3}[riskOrder(w)]
	record := 0.8 // nothing is known
	switch {
	case w.ActualSuccessRate != nil && w.TotalExecutions >= 5:
		record = *w.ActualSuccessRate
	case w.ExpectedSuccessRate != nil:
		record = min(*w.ExpectedSuccessRate, 0.95) // a promise
	}
	return min(fit+weightRecord*min(max(record, 0), 1), 1)
}

// validate checks a workflow that passed the constraints, and fills its parameters.
func (s *selector) validate(c *considered) (incident.ReviewReason, []string) {
	w, m := c.entry.Workflow, c.entry.Match
	if w == nil {
		return incident.ReviewWorkflowNotFound, []string{fmt.Sprintf("workflow %s is not in the catalog any more", m.WorkflowID)}
	}
	if m.ContainerImage != "" && m.ContainerImage != w.ContainerImage {
		return incident.ReviewImageMismatch, []string{fmt.Sprintf("image mismatch: the search says %s, the workflow %s", m.ContainerImage, w.ContainerImage)}
	}
	if m.ContainerDigest != "" && m.ContainerDigest != w.ContainerDigest {
		return incident.ReviewImageMismatch, []string{"image mismatch: the digests of the search and of the workflow differ"}
	}
	if w.ContainerImage == "" {
		return incident.ReviewImageMismatch, []string{"the workflow has no container image"}
	}
	parameters, faults := Fill(*w, s.cause.Parameters)
	c.parameters = parameters
	return incident.ReviewParameterValidation, faults
}

// repeats says which earlier execution did the same: this workflow, or another with its image, with
// these parameters. An execution whose parameters were not recorded may have had any.
func (s *selector) repeats(c *considered) string {
	if s.in.Recovery == nil {
		return ""
	}
	w := c.entry.Workflow
	for _, e := range s.in.Recovery.Previous {
		p := e.Workflow
		sameImage := p.ContainerImage != "" && p.ContainerImage == w.ContainerImage &&
			(p.ContainerDigest == "" || w.ContainerDigest == "" || p.ContainerDigest == w.ContainerDigest)
		if p.ID != c.id() && p.ID != w.Name && !sameImage {
			continue
		}
		switch {
		case len(w.Parameters) > 0 && len(p.Parameters) == 0:
			return fmt.Sprintf("was executed before (%s), with parameters that were not recorded", e.Ref)
		case s.sameParameters(w, c.parameters, p.Parameters):
			return fmt.Sprintf("was executed before with the same parameters (%s) and failed", e.Ref)
		}
	}
	return ""
}

// sameParameters compares the declared parameters. One that the earlier execution did not have had
// its default.
func (s *selector) sameParameters(w *incident.Workflow, now, before map[string]string) bool {
	for _, p := range w.Parameters {
		was, ok := before[p.Name]
		if !ok {
			was = p.Default
		}
		if strings.TrimSpace(was) != strings.TrimSpace(now[p.Name]) {
			return false
		}
	}
	return true
}

func (s *selector) option(c *considered) Option {
	w := c.entry.Workflow
	return Option{
		Name: w.Name, Risk: Risk(*w), Preconditions: Preconditions(*w), MadeFor: c.listed,
		Selected: incident.SelectedWorkflow{
			ID: c.id(), Title: c.title(), Version: w.Version, ContainerImage: w.ContainerImage, ContainerDigest: w.ContainerDigest,
			Confidence: Confidence(s.cause, c.fit), Rationale: s.rationale(c), Parameters: c.parameters,
		},
	}
}

// rationale says why a workflow suits.
func (s *selector) rationale(c *considered) string {
	var b strings.Builder
	if c.listed {
		fmt.Fprintf(&b, "It remedies %s", s.cause.Class)
	} else {
		fmt.Fprintf(&b, "It is catalogued for %s without naming causes", c.entry.Workflow.Labels.SignalType)
	}
	fmt.Fprintf(&b, "; it fits %.2f of 1 (catalog score %.2f, risk %s).", c.fit, c.entry.Match.Score, Risk(*c.entry.Workflow))
	var evidence, defaults []string
	for _, name := range sortedKeys(c.parameters) {
		if s.cause.Parameters[name] != "" {
			evidence = append(evidence, name)
		} else {
			defaults = append(defaults, name)
		}
	}
	if len(evidence) > 0 {
		fmt.Fprintf(&b, " From evidence: %s.", strings.Join(evidence, ", "))
	}
	if len(defaults) > 0 {
		fmt.Fprintf(&b, " By default: %s.", strings.Join(defaults, ", "))
	}
	return b.String()
}

// candidate says what became of a workflow.
func (c *considered) candidate(all []considered, options []Option) incident.Candidate {
	out := incident.Candidate{WorkflowID: c.id(), Title: c.title(), Score: c.fit}
	switch {
	case c.against != "":
		out.Reason = "Against: " + c.against + "."
	case c.option == 1:
		out.Chosen = true
		out.Reason = "For: " + options[0].Selected.Rationale
	default:
		best := slices.IndexFunc(all, func(o considered) bool { return o.option == 1 })
		out.Reason = fmt.Sprintf("It would do, but %q fits better (%.2f against %.2f).", options[0].Selected.Title, all[best].fit, c.fit)
	}
	return out
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
