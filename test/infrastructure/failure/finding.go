package failure

import "context"

// Finding is what is known about one failure.
type Finding struct {
	// Row is the row of the table, empty where no row fits.
	Row   string `json:"row,omitempty"`
	Class Class  `json:"class"`
	// Phase and Unit say where it happened; a phase without units has none.
	Phase string `json:"phase,omitempty"`
	Unit  string `json:"unit,omitempty"`
	// Summary says in one sentence what happened.
	Summary string `json:"summary"`
	// Lines are those that prove it, as they were said.
	Lines []string `json:"lines,omitempty"`
	// Probe is what was asked to decide, and Outcome what it answered.
	Probe   string `json:"probe,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	// Remedy is what may be done about it automatically, before a retry; a name of the table.
	Remedy string `json:"remedy,omitempty"`
	// Fix is what a person does about it: a command or a setting.
	Fix string `json:"fix,omitempty"`
	// Retries is how often it may be tried again.
	Retries int `json:"retries"`
	// Waits says that the remedy is to wait: until the retries are used up, repetitions are one and the same occurrence.
	Waits bool `json:"waits,omitempty"`
	// Alone says that the retry must run while nothing else of the phase does.
	Alone bool `json:"alone,omitempty"`
	// Fingerprint is equal for equal failures of one unit, whatever ids, times and paths their texts carry.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Product says that the product is at fault, Harness that the harness is.
	Product bool `json:"product,omitempty"`
	Harness bool `json:"harness,omitempty"`
	// Tried is what was done about it, in order.
	Tried []string `json:"tried,omitempty"`
}

// ExitCode is the exit code of a run that ended with this failure.
func (f Finding) ExitCode() int {
	if f.Harness {
		return ExitHarness
	}
	if f.Product {
		return ExitProduct
	}
	return f.Class.ExitCode()
}

// Probes asks the host, the runtime or the cluster what a text cannot tell. The table lists the probes and their outcomes;
// an outcome that it does not list, such as "unknown", decides nothing. It must be safe for concurrent use.
type Probes interface {
	Probe(ctx context.Context, name string) (outcome string, evidence []string)
}

// Typed is an error that knows what it is; no text is looked up for it. It is found with errors.As.
type Typed interface {
	error
	Finding() Finding
}

// New returns a Typed error. row may be empty; where it names a row of the table, what is left out here (the fix, the
// remedy, whose fault it is) is taken from there when the error is classified.
func New(class Class, row, summary, fix string, lines ...string) error {
	return &typed{finding: Finding{Class: class, Row: row, Summary: summary, Fix: fix, Lines: lines}}
}

// With returns err as a Typed error with a finding.
func With(err error, f Finding) error { return &typed{finding: f, err: err} }

type typed struct {
	finding Finding
	err     error
}

func (t *typed) Error() string {
	if t.err != nil {
		return t.err.Error()
	}
	return t.finding.Summary
}

func (t *typed) Unwrap() error { return t.err }

func (t *typed) Finding() Finding { return t.finding }
