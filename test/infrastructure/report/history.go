package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

const (
	// kept is how many runs the history holds, compared is how many of the latest times make a median.
	kept     = 200
	compared = 20
)

// phaseOfSpecs is the phase that is about the product; all before it is the harness's.
const phaseOfSpecs = "specs"

// past is a line of the history: one run.
type past struct {
	RunID    string    `json:"runId"`
	Suite    string    `json:"suite"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	ExitCode int       `json:"exitCode"`
	Retries  int       `json:"retries"`
	// Phases are the times, in seconds, of those that ran and passed.
	Phases map[string]float64 `json:"phases"`
	// ToSpecs is the time up to the first spec, if the run came that far with all phases run.
	ToSpecs float64 `json:"toSpecs,omitempty"`
	// CPU is the processor time of the harness, in seconds.
	CPU float64 `json:"cpu,omitempty"`
	// Fingerprints are those of failures and of retries.
	Fingerprints []string `json:"fingerprints,omitempty"`
}

func pastOf(r plan.Result) past {
	p := past{
		RunID: r.RunID, Suite: r.Suite, Started: r.Started, Seconds: total(r).Seconds(), ExitCode: r.ExitCode(), Retries: r.Retries(),
		Phases: make(map[string]float64), ToSpecs: toSpecs(r).Seconds(), CPU: r.CPU.Seconds(),
	}
	for _, ph := range r.Phases {
		if ph.Status == plan.Passed {
			p.Phases[ph.Name] = ph.Duration.Seconds()
		}
		for _, retry := range ph.Retries {
			p.Fingerprints = append(p.Fingerprints, retry.Finding.Fingerprint)
		}
		for _, f := range ph.Findings {
			p.Fingerprints = append(p.Fingerprints, f.Fingerprint)
		}
	}
	return p
}

// readHistory returns the earlier runs of a suite, the latest last. Lines that cannot be read are left out: the history is a
// help, not a record.
func readHistory(path string, r plan.Result) ([]past, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []past
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p past
		if json.Unmarshal(lines.Bytes(), &p) == nil && p.Suite == r.Suite && p.RunID != r.RunID {
			all = append(all, p)
		}
	}
	return all, lines.Err()
}

// writeHistory replaces the history by the last runs of it and this one.
func writeHistory(path string, earlier []past, now past) error {
	all := append(slices.Clone(earlier), now)
	var b bytes.Buffer
	for _, p := range all[max(0, len(all)-kept):] {
		line, err := json.Marshal(p)
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	return replace(path, b.Bytes())
}

// replace writes a file so that a reader sees the old or the new content.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// median is that of the latest values, and of how many.
func median(values []float64) (float64, int) {
	values = slices.Sorted(slices.Values(values[max(0, len(values)-compared):]))
	n := len(values)
	if n == 0 {
		return 0, 0
	}
	if n%2 == 1 {
		return values[n/2], n
	}
	return (values[n/2-1] + values[n/2]) / 2, n
}

// total is how long a run took.
func total(r plan.Result) time.Duration {
	if r.Finished.IsZero() {
		return 0
	}
	return r.Finished.Sub(r.Started)
}

// toSpecs is how long a run took up to its specs; 0 if it did not reach them, or took over what an earlier run had done.
func toSpecs(r plan.Result) time.Duration {
	for _, ph := range r.Phases {
		if ph.Status == plan.Held {
			return 0
		}
	}
	for _, ph := range r.Phases {
		if ph.Name == phaseOfSpecs && !ph.Started.IsZero() {
			return ph.Started.Sub(r.Started)
		}
	}
	return 0
}
