package mcp

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

// verdict is the result of analyze: the engine's, as much of it as fits.
type verdict struct {
	Analysis    string               `json:"analysis"`
	ObservedAt  time.Time            `json:"observedAt"`
	Cluster     string               `json:"cluster,omitempty"`
	Bundle      string               `json:"bundle"` // digest
	About       string               `json:"about"`
	Signal      string               `json:"signal,omitempty"`
	Environment string               `json:"environment,omitempty"`
	Verdict     diagnose.Verdict     `json:"verdict"`
	Summary     string               `json:"summary"`
	Confidence  float64              `json:"confidence"`
	Since       time.Time            `json:"since,omitzero"`
	Owners      []string             `json:"owners,omitempty"`
	Cause       *cause               `json:"cause,omitempty"`
	ManagedBy   []string             `json:"managedBy,omitempty"`
	Workflow    *workflow            `json:"workflow,omitempty"`
	Symptoms    []link               `json:"symptoms,omitempty"`
	Others      []cause              `json:"others,omitempty"`
	SetAside    []link               `json:"setAside,omitempty"`
	Checks      []check              `json:"checks,omitempty"`
	Gaps        []gap                `json:"gaps,omitempty"`
	ReadNext    []string             `json:"readNext,omitempty"`
	Evidence    []piece              `json:"evidence,omitempty"`
	Suspicious  []incident.Suspicion `json:"suspicious,omitempty"`
	Notes       []string             `json:"notes,omitempty"`
	Omitted     int                  `json:"omitted,omitempty"` // entries of the lists above
}

type cause struct {
	Class      incident.CauseClass `json:"class"`
	Target     string              `json:"target"`
	Summary    string              `json:"summary"`
	Severity   incident.Severity   `json:"severity"`
	Confidence float64             `json:"confidence"`
	Chain      []link              `json:"chain,omitempty"`
	Factors    []string            `json:"factors,omitempty"`
	Parameters map[string]string   `json:"parameters,omitempty"`
}

type link struct {
	Subject   string   `json:"subject"`
	Statement string   `json:"statement"`
	Reason    string   `json:"reason,omitempty"`
	Evidence  []string `json:"evidence,omitempty"`
}

type check struct {
	Name    string                `json:"name"`
	Outcome diagnose.CheckOutcome `json:"outcome"`
	Detail  string                `json:"detail,omitempty"`
}

type gap struct {
	What         string `json:"what"`
	Reason       string `json:"reason"`
	TouchesCause bool   `json:"touchesCause,omitempty"`
}

type piece struct {
	ID     string `json:"id"`
	Object string `json:"object"`
	Path   string `json:"path,omitempty"`
	Value  string `json:"value"`
	Absent bool   `json:"absent,omitempty"`
}

type workflow struct {
	ID         string            `json:"id"`
	Title      string            `json:"title"`
	Version    string            `json:"version"`
	Confidence float64           `json:"confidence"`
	Risk       string            `json:"risk"`
	Why        string            `json:"why"`
	Parameters map[string]string `json:"parameters,omitempty"`
}

// tell writes an analysis within maxVerdict bytes: lists are cut evenly until it fits.
func tell(a *analysis) (json.RawMessage, error) {
	for most := 64; ; most /= 2 {
		text, err := json.Marshal(teller{most: most}.verdict(a))
		if err != nil || len(text) <= maxVerdict {
			return text, err
		}
		if most == 0 {
			return nil, incident.Errorf(incident.KindTooLarge, analyzeName, "the verdict has more than %d bytes", maxVerdict)
		}
	}
}

// teller cuts every list to most entries, and counts what it leaves out.
type teller struct {
	most    int
	omitted int
}

func (t teller) verdict(a *analysis) verdict {
	c, r := a.reading.Case, a.reading.Case.Result
	v := verdict{
		Analysis: a.id, ObservedAt: c.Snapshot.ObservedAt(), Cluster: say(c.Snapshot.Contents().Cluster, 200), Bundle: a.reading.Digest,
		About: about(c.Incident.Resource), Signal: say(c.Incident.SignalType, 200), Environment: say(c.Incident.Environment, 100),
		Verdict: r.Verdict, Summary: say(r.Summary, 1000), Confidence: r.Confidence, Since: r.Since,
		ManagedBy: cut(&t, a.reading.ManagedBy, func(s string) string { return say(s, 100) }),
		Owners:    cut(&t, r.OwnerChain, name),
	}
	if r.Cause != nil {
		told := t.cause(*r.Cause)
		v.Cause = &told
	}
	if len(c.Options) > 0 {
		o := c.Options[0]
		v.Workflow = &workflow{
			ID: o.Workflow.ID, Title: say(o.Workflow.Title, 200), Version: o.Workflow.Version, Confidence: o.Workflow.Confidence, Risk: o.Risk,
			Why: say(o.Workflow.Rationale, 600), Parameters: t.texts(o.Workflow.Parameters),
		}
	}
	v.Symptoms = cut(&t, r.Symptoms, t.link)
	v.Others = cut(&t, r.Others, t.cause)
	v.SetAside = cut(&t, r.Noise, func(n diagnose.Note) link {
		return link{name(n.Subject), say(n.Statement, 300), say(n.Reason, 300), t.ids(n.Evidence)}
	})
	v.Checks = cut(&t, r.Checks, func(c diagnose.Check) check { return check{say(c.Name, 200), c.Outcome, say(c.Detail, 300)} })
	v.Gaps = cut(&t, r.Gaps, func(g incident.Gap) gap { return gap{say(g.What, 200), say(g.Reason, 200), g.TouchesCause} })
	v.ReadNext = cut(&t, r.ReadNext, func(s string) string { return say(s, 300) })
	v.Evidence = cut(&t, r.Evidence, func(e incident.Evidence) piece {
		return piece{e.ID, name(e.Ref), say(e.Path, 300), say(e.Value, 300), e.Absent}
	})
	for _, e := range r.Evidence {
		v.Suspicious = suspect(v.Suspicious, e)
	}
	if rule := reason.Suspect(c.Incident.ErrorMessage); rule != "" && len(v.Suspicious) < maxSuspicions {
		v.Suspicious = append(v.Suspicious, incident.Suspicion{Place: "the text of the alert", Rule: rule})
	}
	v.Notes = cut(&t, a.reading.Notes, func(s string) string { return say(s, 300) })
	v.Omitted = t.omitted
	return v
}

func (t *teller) cause(c incident.Cause) cause {
	return cause{
		Class: c.Class, Target: name(c.Target), Summary: say(c.Summary, 600), Severity: c.Severity, Confidence: c.Confidence,
		Chain: cut(t, c.Chain, t.link), Factors: cut(t, c.Factors, func(s string) string { return say(s, 200) }), Parameters: t.texts(c.Parameters),
	}
}

func (t *teller) link(l incident.Link) link {
	return link{Subject: name(l.Subject), Statement: say(l.Statement, 600), Evidence: t.ids(l.Evidence)}
}

func (t *teller) ids(ids []string) []string { return cut(t, ids, func(id string) string { return id }) }

func (t *teller) texts(m map[string]string) map[string]string {
	out := map[string]string{}
	for _, k := range cut(t, slices.Sorted(maps.Keys(m)), func(k string) string { return k }) {
		out[say(k, 100)] = say(m[k], 300)
	}
	return out
}

// cut converts the first entries of a list.
func cut[T, U any](t *teller, list []T, convert func(T) U) []U {
	n := min(len(list), t.most)
	t.omitted += len(list) - n
	var out []U
	for _, v := range list[:n] {
		out = append(out, convert(v))
	}
	return out
}

func about(ref incident.Ref) string {
	if ref.Same(diagnose.WholeCluster) {
		return "the whole cluster"
	}
	return name(ref)
}

func name(ref incident.Ref) string { return say(ref.String(), 300) }

// say makes text of elsewhere fit to be shown: with at most limit characters, none of them hidden.
func say(text string, limit int) string {
	if utf8.RuneCountInString(text) > limit {
		text = string([]rune(text)[:limit]) + "…"
	}
	return reason.Visible(text)
}
