package failure

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"
)

//go:embed failures.yaml
var source []byte

// table is failures.yaml, checked.
type table struct {
	rows     []Row
	exprs    [][]*regexp.Regexp // of the row of the same index
	probes   map[string]Probe
	remedies map[string]string
}

// loaded is the embedded table. That it can be read is tested, so it is not an error of a run.
var loaded = sync.OnceValue(func() *table {
	t, err := parse(source)
	if err != nil {
		panic(fmt.Sprintf("failure: the embedded table: %v", err))
	}
	return t
})

// Table returns the rows of the table.
func Table() []Row { return slices.Clone(loaded().rows) }

type file struct {
	Probes   map[string]Probe  `json:"probes"`
	Remedies map[string]string `json:"remedies"`
	Rows     []rowEntry        `json:"rows"`
}

// Probe describes a probe.
type Probe struct {
	// Asks is the question, Outcomes are the answers and what they mean.
	Asks     string            `json:"asks"`
	Outcomes map[string]string `json:"outcomes"`
}

type rowEntry struct {
	ID       string                  `json:"id"`
	Summary  string                  `json:"summary"`
	Text     []string                `json:"text"`
	Phases   []string                `json:"phases"`
	Priority int                     `json:"priority"`
	Class    Class                   `json:"class"`
	Probe    string                  `json:"probe"`
	Outcomes map[string]outcomeEntry `json:"outcomes"`
	Remedy   string                  `json:"remedy"`
	Fix      string                  `json:"fix"`
	Retries  *int                    `json:"retries"`
	Waits    bool                    `json:"waits"`
	Alone    bool                    `json:"alone"`
	Product  bool                    `json:"product"`
	Harness  bool                    `json:"harness"`
	Source   string                  `json:"source"`
}

type outcomeEntry struct {
	Class   Class  `json:"class"`
	Summary string `json:"summary"`
	Remedy  string `json:"remedy"`
	Fix     string `json:"fix"`
	Retries *int   `json:"retries"`
	Product *bool  `json:"product"`
	Harness *bool  `json:"harness"`
}

// parse reads a table, strictly: an unknown or repeated key, a name that is not declared, or a rule that section 10 does
// not allow is an error.
func parse(content []byte) (*table, error) {
	var f file
	if err := yaml.UnmarshalStrict(content, &f); err != nil {
		return nil, err
	}
	t := &table{probes: f.Probes, remedies: f.Remedies}
	seen := make(map[string]bool)
	for _, e := range f.Rows {
		if seen[e.ID] {
			return nil, fmt.Errorf("row %s is there twice", e.ID)
		}
		seen[e.ID] = true
		row, err := e.row(f)
		if err != nil {
			return nil, fmt.Errorf("row %s: %w", e.ID, err)
		}
		exprs, err := compile(row.Text)
		if err != nil {
			return nil, fmt.Errorf("row %s: %w", e.ID, err)
		}
		t.rows = append(t.rows, row)
		t.exprs = append(t.exprs, exprs)
	}
	return t, nil
}

// row checks an entry and fills in what it leaves to its class.
func (e rowEntry) row(f file) (Row, error) {
	r := Row{
		ID: e.ID, Summary: e.Summary, Text: strings.Join(e.Text, "\n"), Phases: e.Phases, Priority: e.Priority, Class: e.Class,
		Probe: e.Probe, Remedy: e.Remedy, Fix: e.Fix, Waits: e.Waits, Alone: e.Alone, Product: e.Product, Harness: e.Harness, Source: e.Source,
	}
	if e.ID == "" || e.Summary == "" || e.Source == "" {
		return Row{}, fmt.Errorf("id, summary and source must be given")
	}
	var err error
	if r.Retries, err = e.Class.allowed(e.Retries); err != nil {
		return Row{}, err
	}
	if err := knownRemedy(f, e.Remedy); err != nil {
		return Row{}, err
	}
	probe, ok := f.Probes[e.Probe]
	if e.Probe != "" && !ok {
		return Row{}, fmt.Errorf("probe %q is not declared", e.Probe)
	}
	if (e.Probe == "") != (len(e.Outcomes) == 0) {
		return Row{}, fmt.Errorf("a probe and its outcomes go together")
	}
	r.Outcomes = make(map[string]Outcome, len(e.Outcomes))
	for name, o := range e.Outcomes {
		if _, ok := probe.Outcomes[name]; !ok {
			return Row{}, fmt.Errorf("probe %s has no outcome %q", e.Probe, name)
		}
		if err := knownRemedy(f, o.Remedy); err != nil {
			return Row{}, err
		}
		out := Outcome{Class: o.Class, Summary: o.Summary, Remedy: o.Remedy, Fix: o.Fix, Product: e.Product, Harness: e.Harness}
		given := o.Retries
		if given == nil && o.Class == e.Class {
			given = e.Retries
		}
		if out.Retries, err = o.Class.allowed(given); err != nil {
			return Row{}, fmt.Errorf("outcome %s: %w", name, err)
		}
		if o.Product != nil {
			out.Product = *o.Product
		}
		if o.Harness != nil {
			out.Harness = *o.Harness
		}
		r.Outcomes[name] = out
	}
	return r, nil
}

func knownRemedy(f file, name string) error {
	if _, ok := f.Remedies[name]; !ok && name != "" {
		return fmt.Errorf("remedy %q is not declared", name)
	}
	return nil
}

// allowed returns how often a failure of the class is retried: as given, or as the class says. Only what passes by itself
// may be tried more often than its class says; what is permanent never.
func (c Class) allowed(given *int) (int, error) {
	switch c {
	case Transient:
		if given != nil {
			return *given, nil
		}
	case Stale, Resource, Host, Permanent, Unknown:
		if given != nil {
			if *given < 0 || *given > c.Retries() {
				return 0, fmt.Errorf("class %s allows %d retries, not %d", c, c.Retries(), *given)
			}
			return *given, nil
		}
	default:
		return 0, fmt.Errorf("class %q is none", c)
	}
	return c.Retries(), nil
}
