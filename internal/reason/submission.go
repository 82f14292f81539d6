package reason

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// submitName is the tool by which a model ends an investigation.
const submitName = "submit_diagnosis"

// MaxAttempts is how many submissions of one investigation are looked at.
const MaxAttempts = 3

// Submission is what a model answers. Its schema is that of the tool submit_diagnosis.
type Submission struct {
	Verdict   string     `json:"verdict" jsonschema:"cause: something is wrong and you say why; healthy: nothing is wrong now; undecided: what can be read does not decide"`
	Candidate string     `json:"candidate" jsonschema:"the id of the candidate cause that you hold to be right; other: none of them; none: verdict is not cause"`
	Target    string     `json:"target,omitempty" jsonschema:"only with candidate other: the object at fault, as Kind namespace/name or Kind name"`
	Cause     []Sentence `json:"cause" jsonschema:"why it is so, one claim for each sentence, from the symptom to the cause"`
	Workflow  string     `json:"workflow" jsonschema:"the id of the workflow that suits best, of those offered; none: no one of them suits, or none was offered"`
}

// Sentence is one claim, and what it rests on.
type Sentence struct {
	Text     string   `json:"text" jsonschema:"one plain sentence that says what is, not what to do"`
	Evidence []string `json:"evidence" jsonschema:"the ids of the evidence that carries every name and number of the sentence; empty for a guess"`
}

// Bounds of a submission.
const (
	maxSentences = 12
	maxSentence  = 400 // characters
	maxCited     = 8
)

// Values of Submission.Candidate and Submission.Workflow that are no ids.
const (
	choiceNone  = "none"
	choiceOther = "other"
)

// candidates returns the engine's causes under the ids by which a submission names them: the primary one
// first.
func candidates(r diagnose.Result) []candidate {
	var out []candidate
	if r.Cause != nil {
		out = append(out, candidate{"c1", *r.Cause})
	}
	for _, c := range r.Others {
		out = append(out, candidate{fmt.Sprintf("c%d", len(out)+1), c})
	}
	return out
}

type candidate struct {
	id    string
	cause incident.Cause
}

// submit is the tool submit_diagnosis for one case: what may be chosen is enumerated in its schema.
type submit struct {
	Definition
	schema *jsonschema.Resolved
}

func newSubmit(c Case) (submit, error) {
	s, err := schemaOf[Submission]()
	if err != nil {
		return submit{}, err
	}
	enum := func(field string, values ...string) {
		for _, v := range values {
			s.Properties[field].Enum = append(s.Properties[field].Enum, v)
		}
	}
	enum("verdict", string(diagnose.VerdictCause), string(diagnose.VerdictHealthy), "undecided")
	for _, cand := range candidates(c.Result) {
		enum("candidate", cand.id)
	}
	enum("candidate", choiceOther, choiceNone)
	for _, o := range c.Options {
		enum("workflow", o.Workflow.ID)
	}
	enum("workflow", choiceNone)
	s.Properties["target"].MaxLength = new(300)
	cause := s.Properties["cause"]
	cause.MinItems, cause.MaxItems = new(1), new(maxSentences)
	cause.Items.Properties["text"].MinLength, cause.Items.Properties["text"].MaxLength = new(1), new(maxSentence)
	cause.Items.Properties["evidence"].MaxItems = new(maxCited)
	resolved, err := s.Resolve(nil)
	if err != nil {
		return submit{}, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return submit{}, err
	}
	return submit{Definition{submitName, "Ends the investigation with your diagnosis.", text}, resolved}, nil
}

// read returns a submission, or every fault that it has.
func (s submit) read(arguments json.RawMessage, l *Ledger) (Submission, []string) {
	if err := check(s.schema, arguments); err != nil {
		return Submission{}, []string{s.shorten(err)}
	}
	var sub Submission
	dec := json.NewDecoder(bytes.NewReader(arguments))
	if err := dec.Decode(&sub); err != nil {
		return Submission{}, []string{"the arguments cannot be read: " + err.Error()}
	}
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	named := sub.Candidate != choiceNone
	switch {
	case sub.Verdict == string(diagnose.VerdictCause) && !named:
		fault("candidate: with verdict cause it is the id of a candidate, or other")
	case sub.Verdict != string(diagnose.VerdictCause) && named:
		fault("candidate: with verdict %s it is none", sub.Verdict)
	}
	if sub.Candidate == choiceOther && refOf(sub.Target).Kind == "" {
		fault("target: with candidate other it names the object at fault, as Kind namespace/name or Kind name")
	}
	if sub.Candidate != choiceOther && sub.Target != "" {
		fault("target: it is for candidate other only")
	}
	if sub.Verdict != string(diagnose.VerdictCause) && sub.Workflow != choiceNone {
		fault("workflow: with verdict %s it is none", sub.Verdict)
	}
	if sub.Candidate == choiceOther && sub.Workflow != choiceNone {
		fault("workflow: those offered remedy candidate c1; with another cause it is none")
	}
	for i, sentence := range sub.Cause {
		for _, id := range sentence.Evidence {
			if _, ok := l.Find(id); !ok {
				fault("cause[%d].evidence: %q is not an id that was given out", i, Visible(clip(id, 40)))
			}
		}
		if strings.TrimSpace(sentence.Text) == "" {
			fault("cause[%d].text: it is empty", i)
		}
	}
	if sub.Verdict == string(diagnose.VerdictCause) && !slices.ContainsFunc(sub.Cause, func(s Sentence) bool { return len(s.Evidence) > 0 }) {
		fault("cause: no sentence cites evidence")
	}
	return sub, faults
}

// shorten keeps a fault of the schema readable: the library prints the whole instance.
func (s submit) shorten(err error) string {
	return clip(Visible(err.Error()), 600)
}

// refOf reads "Kind namespace/name" or "Kind name"; the zero Ref when it is neither.
func refOf(text string) incident.Ref {
	kind, rest, ok := strings.Cut(strings.TrimSpace(text), " ")
	if !ok || kind == "" || rest == "" || strings.ContainsAny(rest, " \t\n") {
		return incident.Ref{}
	}
	if ns, name, both := strings.Cut(rest, "/"); both {
		if ns == "" || name == "" || strings.Contains(name, "/") {
			return incident.Ref{}
		}
		return incident.Ref{Kind: kind, Namespace: ns, Name: name}
	}
	return incident.Ref{Kind: kind, Name: rest}
}
