package reason

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// promptFiles are all instructions that a model is ever given. They are read as they are: nothing is put
// into them.
//
//go:embed prompts/*.md
var promptFiles embed.FS

// prompts are the instructions and their hash.
type prompts struct {
	system, last, nudge string
	hash                string
}

// readPrompts reads the instructions. The hash is over them and over the tools' definitions, so that it
// names all that a model was told beside the case.
func readPrompts(tools []Definition) (prompts, error) {
	var p prompts
	h := sha256.New()
	for name, into := range map[string]*string{"system": &p.system, "last": &p.last, "nudge": &p.nudge} {
		b, err := promptFiles.ReadFile("prompts/" + name + ".md")
		if err != nil {
			return p, err
		}
		*into = strings.TrimSpace(string(b))
	}
	files, err := fs.Glob(promptFiles, "prompts/*.md") // sorted
	if err != nil {
		return p, err
	}
	for _, f := range files {
		b, err := promptFiles.ReadFile(f)
		if err != nil {
			return p, err
		}
		fmt.Fprintf(h, "%s %d\n%s", f, len(b), b)
	}
	if err := json.NewEncoder(h).Encode(tools); err != nil {
		return p, err
	}
	p.hash = hex.EncodeToString(h.Sum(nil))
	return p, nil
}

// Bounds of what a case tells at the beginning.
const (
	maxCandidates = 4
	maxCaseFacts  = 8 << 10 // bytes of evidence
	maxAside      = 6
)

// told is a case as a model reads it first.
type told struct {
	Incident  toldIncident      `json:"incident"`
	Engine    toldEngine        `json:"engine"`
	Evidence  []renderedObject  `json:"evidence"`
	Omitted   int               `json:"omittedEvidence,omitempty"`
	Workflows []toldWorkflow    `json:"workflows"`
	Before    []toldExecution   `json:"failedExecutions,omitempty"`
	Context   map[string]string `json:"context,omitempty"`
}

type toldIncident struct {
	Signal      string            `json:"signal,omitempty"`
	Severity    string            `json:"severity,omitempty"`
	Resource    string            `json:"resource"`
	Environment string            `json:"environment,omitempty"`
	Error       string            `json:"error,omitempty"`
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Now         string            `json:"now"`
}

type toldEngine struct {
	Verdict    string          `json:"verdict"`
	Summary    string          `json:"summary"`
	Candidates []toldCandidate `json:"candidates,omitempty"`
	Symptoms   []toldLink      `json:"symptoms,omitempty"`
	SetAside   []toldLink      `json:"setAside,omitempty"`
	NotRead    []string        `json:"notRead,omitempty"`
	ReadNext   []string        `json:"readNext,omitempty"`
}

type toldCandidate struct {
	ID         string     `json:"id"`
	Class      string     `json:"class"`
	Target     string     `json:"target"`
	Summary    string     `json:"summary"`
	Confidence float64    `json:"confidence"`
	Chain      []toldLink `json:"chain,omitempty"`
	Factors    []string   `json:"factors,omitempty"`
}

type toldLink struct {
	About    string   `json:"about"`
	Says     string   `json:"says"`
	Why      string   `json:"setAsideBecause,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
}

type toldWorkflow struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Risk  string `json:"risk"`
	Why   string `json:"why,omitempty"`
}

type toldExecution struct {
	Workflow string `json:"workflow"`
	Reason   string `json:"reason"`
	Message  string `json:"message,omitempty"`
}

// tell writes a case for a model. Everything in it that came from outside is redacted and visible. It
// returns the ids of the evidence that the text shows.
func tell(c Case, l *Ledger, redact func(string) string) (text string, shownIDs []string) {
	say := func(s string, limit int) string { return Visible(clip(redact(s), limit)) }
	in := c.Incident
	t := told{
		Incident: toldIncident{
			Signal: say(in.SignalType, 100), Severity: say(in.Severity, 40), Resource: Visible(in.Resource.String()), Environment: say(in.Environment, 60),
			Error: say(in.ErrorMessage, 600), Description: say(in.Description, 600), Labels: toldLabels(in.SignalLabels, say),
			Now: c.Snapshot.ObservedAt().Format(time.RFC3339),
		},
		Engine:    toldEngine{Verdict: string(c.Result.Verdict), Summary: say(c.Result.Summary, 600)},
		Workflows: []toldWorkflow{},
	}
	link := func(l incident.Link) toldLink {
		return toldLink{About: Visible(l.Subject.String()), Says: say(l.Statement, 300), Evidence: l.Evidence}
	}
	for i, cand := range candidates(c.Result) {
		if i == maxCandidates {
			break
		}
		out := toldCandidate{
			ID: cand.id, Class: string(cand.cause.Class), Target: Visible(cand.cause.Target.String()), Summary: say(cand.cause.Summary, 400),
			Confidence: cand.cause.Confidence,
		}
		for _, k := range cand.cause.Chain {
			out.Chain = append(out.Chain, link(k))
		}
		for _, f := range cand.cause.Factors[:min(len(cand.cause.Factors), maxAside)] {
			out.Factors = append(out.Factors, say(f, 200))
		}
		t.Engine.Candidates = append(t.Engine.Candidates, out)
	}
	if c.Result.Verdict != diagnose.VerdictCause {
		for _, k := range c.Result.Symptoms {
			t.Engine.Symptoms = append(t.Engine.Symptoms, link(k))
		}
	}
	for _, n := range c.Result.Noise[:min(len(c.Result.Noise), maxAside)] {
		t.Engine.SetAside = append(t.Engine.SetAside, toldLink{Visible(n.Subject.String()), say(n.Statement, 200), say(n.Reason, 200), n.Evidence})
	}
	for _, g := range c.Result.Gaps[:min(len(c.Result.Gaps), maxAside)] {
		t.Engine.NotRead = append(t.Engine.NotRead, say(g.What+": "+g.Reason, 200))
	}
	for _, n := range c.Result.ReadNext[:min(len(c.Result.ReadNext), maxAside)] {
		t.Engine.ReadNext = append(t.Engine.ReadNext, say(n, 200))
	}
	t.Evidence, shownIDs, t.Omitted = toldEvidence(c.Result.Evidence, l)
	for _, o := range c.Options {
		t.Workflows = append(t.Workflows, toldWorkflow{o.Workflow.ID, say(o.Workflow.Title, 120), o.Risk, say(o.Workflow.Rationale, 200)})
	}
	if in.Recovery != nil {
		for _, e := range in.Recovery.Previous {
			t.Before = append(t.Before, toldExecution{say(e.Workflow.ID, 100), say(e.Failure.Reason, 60), say(e.Failure.Message, 300)})
		}
	}
	return jsonText(struct {
		Case told `json:"case"`
	}{t}), shownIDs
}

func toldLabels(labels map[string]string, say func(string, int) string) map[string]string {
	out := map[string]string{}
	for _, k := range sortedKeys(labels) {
		if len(out) == 12 {
			break
		}
		out[say(k, 80)] = say(labels[k], 120)
	}
	return out
}

// toldEvidence shows evidence that has ids already, in its order.
func toldEvidence(evidence []incident.Evidence, l *Ledger) (objects []renderedObject, ids []string, omitted int) {
	var o Output
	for _, e := range evidence {
		o.Facts = append(o.Facts, Fact{Evidence: e})
	}
	content, ids := Render(o, l, maxCaseFacts)
	var r rendered
	if err := json.Unmarshal([]byte(content), &r); err != nil {
		return nil, nil, len(evidence)
	}
	return r.Objects, ids, r.Omitted
}
