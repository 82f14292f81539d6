package reason

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Ledger gives out evidence ids: the engine's stay, and what tools find gets the numbers that follow. The
// same place with the same value has one id. It is not safe for concurrent use.
type Ledger struct {
	list []incident.Evidence
	ids  map[ledgerKey]string
	byID map[string]int
	last int
}

type ledgerKey struct {
	kind        incident.EvidenceKind
	ref         incident.Ref
	path, value string
	absent      bool
}

// NewLedger starts with evidence that has ids.
func NewLedger(evidence []incident.Evidence) *Ledger {
	l := &Ledger{ids: map[ledgerKey]string{}, byID: map[string]int{}}
	for _, e := range evidence {
		l.add(e)
	}
	return l
}

func (l *Ledger) add(e incident.Evidence) {
	l.ids[ledgerKeyOf(e)] = e.ID
	l.byID[e.ID] = len(l.list)
	l.list = append(l.list, e)
	if n, err := strconv.Atoi(strings.TrimPrefix(e.ID, "e")); err == nil {
		l.last = max(l.last, n)
	}
}

func ledgerKeyOf(e incident.Evidence) ledgerKey {
	ref := e.Ref
	ref.UID, ref.APIVersion = "", ""
	return ledgerKey{e.Kind, ref, e.Path, e.Value, e.Absent}
}

// Enter returns the id of a piece of evidence, a new one when it has none yet.
func (l *Ledger) Enter(e incident.Evidence) string {
	if id, ok := l.ids[ledgerKeyOf(e)]; ok {
		return id
	}
	e.ID = "e" + strconv.Itoa(l.last+1)
	l.add(e)
	return e.ID
}

// Find returns the evidence with an id.
func (l *Ledger) Find(id string) (incident.Evidence, bool) {
	i, ok := l.byID[id]
	if !ok {
		return incident.Evidence{}, false
	}
	return l.list[i], true
}

// Beyond returns the evidence that was entered after the first n.
func (l *Ledger) Beyond(n int) []incident.Evidence { return slices.Clone(l.list[min(n, len(l.list)):]) }

// maxShown is how many characters of one value a model sees.
const maxShown = 300

// rendered is a tool's output as a model reads it. Field order is that of reading.
type rendered struct {
	Objects    []renderedObject  `json:"objects,omitempty"`
	Findings   []renderedFinding `json:"findings,omitempty"`
	Notes      []string          `json:"notes,omitempty"`
	Unverified []string          `json:"unverified,omitempty"`
	Omitted    int               `json:"omitted,omitempty"`
	Error      string            `json:"error,omitempty"`
}

type renderedObject struct {
	Object string     `json:"object"`
	Facts  [][]string `json:"facts"` // id, path, value
}

type renderedFinding struct {
	Text     string   `json:"text"`
	Evidence []string `json:"evidence,omitempty"`
}

// Render writes an output as JSON of at most limit bytes, and enters what it shows into the ledger. What
// does not fit is counted as omitted. It returns the ids that the text names, in their order.
func Render(o Output, l *Ledger, limit int) (content string, ids []string) {
	r := rendered{Notes: visibleAll(o.Notes, 400), Omitted: o.Omitted}
	room := limit - 64 // braces and the count of what was omitted
	room -= sizeOf(r.Notes)
	index := map[int]string{}
	show := func(i int) bool {
		if _, ok := index[i]; ok {
			return true
		}
		f := o.Facts[i]
		object := Visible(f.Evidence.Ref.String())
		row := []string{"e00000", Visible(f.Evidence.Path), shown(f)}
		cost := sizeOf(row) + 1
		at := slices.IndexFunc(r.Objects, func(g renderedObject) bool { return g.Object == object })
		if at < 0 {
			cost += len(object) + 32
		}
		if cost > room {
			return false
		}
		room -= cost
		if at < 0 {
			r.Objects = append(r.Objects, renderedObject{Object: object})
			at = len(r.Objects) - 1
		}
		row[0] = l.Enter(f.Evidence)
		index[i] = row[0]
		ids = append(ids, row[0])
		r.Objects[at].Facts = append(r.Objects[at].Facts, row)
		return true
	}
	for _, f := range o.Findings { // what a tool concludes comes first, with what it rests on
		cost := sizeOf(f.Text) + 48 + 10*len(f.Facts)
		if cost > room {
			r.Omitted++
			continue
		}
		room -= cost
		out := renderedFinding{Text: Visible(f.Text)}
		for _, i := range f.Facts {
			if show(i) {
				out.Evidence = append(out.Evidence, index[i])
			}
		}
		r.Findings = append(r.Findings, out)
	}
	for i := range o.Facts {
		if !show(i) {
			r.Omitted++
		}
	}
	for _, text := range o.Unverified {
		text = Visible(clip(text, 2*maxShown))
		if cost := sizeOf(text) + 2; cost <= room {
			room -= cost
			r.Unverified = append(r.Unverified, text)
		} else {
			r.Omitted++
		}
	}
	return jsonText(r), ids
}

// shown is a fact's value as a model reads it.
func shown(f Fact) string {
	switch {
	case f.Evidence.Absent:
		return "(absent)"
	case f.Times > 1:
		return Visible(clip(f.Evidence.Value, maxShown)) + " (and " + strconv.Itoa(f.Times-1) + " more like it)"
	}
	return Visible(clip(f.Evidence.Value, maxShown))
}

func visibleAll(texts []string, limit int) []string {
	var out []string
	for _, t := range texts {
		out = append(out, Visible(clip(t, limit)))
	}
	return out
}

func sizeOf(v any) int { return len(jsonText(v)) }

// jsonText is JSON in which <, > and & are escaped, so that no text can close what surrounds it.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return `{"error":"the result cannot be written"}`
	}
	return string(b)
}
