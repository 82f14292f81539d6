package reason

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Suspect returns the rule by which a text looks like an order to whoever reads it; empty for other text.
// It is a sieve and no proof: what passes it moves nothing either, see the package's documentation.
func Suspect(text string) (rule string) {
	if hidesWords(text) {
		return "hides or reorders text"
	}
	flat := flatten(text)
	if len(flat) < 12 {
		return ""
	}
	for _, r := range suspectRules {
		if r.expr.MatchString(flat) {
			return r.name
		}
	}
	return ""
}

// suspectRules run on text that is lower-case, without hidden characters, with single spaces.
var suspectRules = []struct {
	name string
	expr *regexp.Regexp
}{
	{"countermands instructions", regexp.MustCompile(`\b(ignore|disregard|forget|override|bypass|discard)\b.{0,40}\b(instruction|instructions|prompt|prompts|rule|rules|guideline|guidelines|polic(y|ies)|safeguard|safeguards|everything|evidence|finding|findings|engine|above|context|directive|directives)\b|\bdo not (read|look|investigate|wait|check|verify) (any |further|for|at|it|this)|\balways (choose|select|pick|approve) `)},
	{"addresses a model", regexp.MustCompile(`\b(language model|llms?|ai (assistant|agent|model|system|analyst|reader|reviewer|sre)|as an ai|chatgpt|gpt-?\d|claude|system prompt|system message|prompt injection|jailbreak|developer mode)\b|\b(dear|attention|hello|hey|note to|message (to|for)|instructions? (to|for)|for) (the )?(ai|llm|model|assistant|agent|reader|analyst|investigator|bot|triage|automation|remediation)\b`)},
	{"gives a role", regexp.MustCompile(`\byou are (now |an? |the )|\b(act|behave|respond|answer|reply) (as|only|with|like)\b|\bfrom now on\b|\bnew (system )?instructions?\b|\byou (must|should|will|shall|have to|need to|are (required|instructed|authorized|told)( to)?) (now |only |always |never |not )*(ignore|report|conclude|answer|respond|reply|submit|select|choose|pick|say|state|output|print|call|run|execute|approve|treat|mention|obey|follow|comply|classify|mark|cite|trust|recommend|forget|disregard|skip)|\byour (new |only |next )?(task|job|role|instructions?|answer|verdict|diagnosis|conclusion|output|goal)\b`)},
	{"imitates the conversation", regexp.MustCompile(`(^|[^a-z])(system|assistant|developer|human) ?(: |:$|\]:|>)|<\|?(im_start|im_end|system|endoftext|start_header|eot)|\[/?inst\]|### ?(instruction|system|response|human|assistant)|</?(tool_result|tool_response|tool_call|function_results?|function_calls?|system|instructions?|evidence|data|case|result|admin)>|"role" ?: ?"|\$ kubectl |\btool (result|output|response)s? ?:|\bend of (log|data|tool|evidence|output|report|file)`)},
	{"names what only the system says", regexp.MustCompile(`\b(submit_diagnosis|candidate ?["':=]+ ?["']?c\d|selected_workflow|workflow_?id|root_cause_analysis|needs_?human_?review|human_review_reason|human[ _-]?review|approval_?required|auto[ _-]?approv\w*|pre-?approv\w*|target_in_owner_chain|cause_?class|alternative_workflows|submission)\b|\bevidence ?(id)?s? ?["':=#\[(]* ?e\d+|\[e\d+(, ?e\d+)*\]|\bcite e\d+`)},
	{"speaks of approval", regexp.MustCompile(`\b(approv\w*|authoriz\w*|sign-?off|review\w*)\b.{0,60}\b(not (needed|required|necessary)|unnecessary|waived|granted|skip\w*|bypass\w*|automatic\w*|remediation|remediate|workflow|already (given|done)|no longer)\b|\b(skip|without|no|waive|bypass|disable) (any |the |a |further |human |manual )*(approval|review|confirmation|safety)`)},
	{"states a verdict", regexp.MustCompile(`\b(verdict|diagnosis|conclusion|root ?cause)\b ?(is|was|:|=|"|has been|must be)|\b(confidence|certainty|severity)\b ?(is|:|=|must be|should be|has to be|to|of|level)? ?["']?(1(\.0+)?|0?\.\d+|\d{1,3} ?% ?|high|critical|certain|low)(\b|$|[^a-z0-9])|\b(root )?cause (is |was )?confirmed\b|\broot cause analysis (is )?complete|\breport (that|this|it|the incident) (as )?\b|\b(mark|classify|treat|consider) (this|it|the) .{0,30}(as|resolved|healthy)\b|\bthe (real|true|actual) (cause|culprit|problem|reason)\b`)},
	{"asks for an action", regexp.MustCompile(`\b(print|reveal|dump|send|output) (all|every|the) (secret|password|token|credential)|\b(run|execute|apply|select|choose|pick|use|trigger|start|invoke|call|recommend|propose) .{0,30}\b(workflow|remediation|runbook|tool|playbook|kubectl|the following|command)\b|\b(kubectl|helm|curl|wget|bash -c) .{0,40}\b(delete|drain|apply|exec|scale|patch|create|uninstall|http)|\b(delete|drain|cordon|wipe|destroy|scale down) (the |all |every |this )?(node|nodes|namespace|cluster|deployment|database|pods?|pvcs?|volumes?)\b`)},
}

// hidesWords reports characters by which text says something else than it shows. Escape sequences for
// colours are common in logs and do not count.
func hidesWords(text string) bool {
	for _, sequence := range []string{"\x1b]", "\x1b[2J", "\x1b[1A", "\b\b"} { // titles, links, what goes over the lines before
		if strings.Contains(text, sequence) {
			return true
		}
	}
	for i, r := range text {
		switch {
		case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r >= 0xE0000 && r <= 0xE007F, r >= 0xE0100 && r <= 0xE01EF,
			r == 0x200B, r == 0x200C, r == 0x200E, r == 0x200F, r == 0x2060, r == 0x00AD, r == 0x180E, r == 0x061C:
			return true
		case r == 0xFEFF && i > 0:
			return true
		}
	}
	return false
}

// flatten is the text that the rules see: what hides is left out, letters of other alphabets that look like
// Latin ones are those, and separators between single letters go.
func flatten(text string) string {
	const most = 64 << 10
	if len(text) > most {
		text = text[:most]
	}
	var b strings.Builder
	b.Grow(len(text))
	gap := false
	for _, r := range text {
		switch {
		case r == '\n' || r == '\t' || unicode.IsSpace(r):
			gap = true
			continue
		case r == 0x200D || hidden(r) && r >= 0x80:
			continue
		case r < 0x20 || r == 0x7F:
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte(' ')
		}
		gap = false
		if r >= 0xFF01 && r <= 0xFF5E { // full width
			r -= 0xFEE0
		}
		if latin, ok := lookalikes[r]; ok {
			r = latin
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

var lookalikes = map[rune]rune{
	'а': 'a', 'е': 'e', 'о': 'o', 'р': 'p', 'с': 'c', 'х': 'x', 'у': 'y', 'і': 'i', 'ѕ': 's', 'ј': 'j', 'һ': 'h', 'ԁ': 'd', 'ո': 'n', 'ɡ': 'g',
	'А': 'a', 'В': 'b', 'Е': 'e', 'К': 'k', 'М': 'm', 'Н': 'h', 'О': 'o', 'Р': 'p', 'С': 'c', 'Т': 't', 'Х': 'x', 'І': 'i', 'Ѕ': 's',
	'α': 'a', 'ο': 'o', 'ι': 'i', 'ν': 'v', 'ρ': 'p', 'Ι': 'i', 'Α': 'a', 'Ε': 'e', 'Ο': 'o', 'ı': 'i',
}

// watchdog looks at what a model reads, and remembers where it gives orders.
type watchdog struct {
	names []string // of workflows: no text of a cluster has a reason to name one
	seen  map[string]bool
	found []incident.Suspicion
}

// maxSuspicions bounds what is reported.
const maxSuspicions = 10

func newWatchdog(c Case) *watchdog {
	w := &watchdog{seen: map[string]bool{}}
	add := func(name string) {
		if len(name) >= 8 && !slices.Contains(w.names, strings.ToLower(name)) {
			w.names = append(w.names, strings.ToLower(name))
		}
	}
	for _, o := range c.Options {
		add(o.Workflow.ID)
		if strings.Contains(o.Workflow.Title, " ") {
			add(o.Workflow.Title)
		}
	}
	for _, o := range c.Candidates {
		add(o.WorkflowID)
	}
	return w
}

// look judges one text; evidence is the id of its place, if it has one.
func (w *watchdog) look(place, evidence, text string) {
	if w.seen[place] || len(w.found) >= maxSuspicions {
		return
	}
	rule := Suspect(text)
	if rule == "" {
		flat := flatten(text)
		if slices.ContainsFunc(w.names, func(n string) bool { return strings.Contains(flat, n) }) {
			rule = "names a workflow"
		}
	}
	if rule != "" {
		w.seen[place] = true
		w.found = append(w.found, incident.Suspicion{Evidence: evidence, Place: Visible(clip(place, 300)), Rule: rule})
	}
}

// evidence judges what was shown under an id.
func (w *watchdog) evidence(e incident.Evidence) {
	if !e.Absent {
		w.look(e.Ref.String()+" "+e.Path, e.ID, e.Value)
	}
}

// incident judges what the caller told, which comes from alerts and is text of anybody.
func (w *watchdog) incident(in incident.Incident) {
	for _, field := range []struct{ name, text string }{
		{"the signal's name", in.SignalType},
		{"the error message", in.ErrorMessage},
		{"the description", in.Description},
		{"the severity", in.Severity},
		{"the environment", in.Environment},
		{"the resource's name", in.Resource.Name},
	} {
		w.look(field.name, "", field.text)
	}
	for _, k := range sortedKeys(in.SignalLabels) {
		w.look("the signal's label "+k, "", k+": "+in.SignalLabels[k])
	}
	if in.Recovery != nil {
		for _, e := range in.Recovery.Previous {
			w.look("the failure of "+e.Ref, "", e.Failure.Message)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
