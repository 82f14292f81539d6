package scenarios

import (
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	"kubernaut.ai/kubernaut/test/scenarios/recorded"
)

// Recorded names the set of incidents that happened on a real cluster. It has no twins: what is varied is the form in which
// each is met.
const Recorded = "recorded"

// Real counts how the engine did on the recordings in one form.
type Real struct {
	Form   recorded.Form `json:"form"`
	Number int           `json:"number"`
	Right  int           `json:"right"`
	// Wrong says, by recording, what was expected and what came.
	Wrong []string `json:"wrong,omitempty"`
}

// MeasureRecorded runs the engine on every recording in every form.
func MeasureRecorded(fsys fs.FS) ([]Real, error) {
	all, err := recorded.Load(fsys, Recorded)
	if err != nil {
		return nil, err
	}
	var out []Real
	for _, form := range recorded.Forms() {
		r := Real{Form: form, Number: len(all)}
		for _, c := range all {
			o, err := c.Diagnose(form)
			if err != nil {
				return nil, err
			}
			if o.Wrong != "" {
				r.Wrong = append(r.Wrong, fmt.Sprintf("%s: %s; got %s", c.Name, o.Wrong, o.Got()))
				continue
			}
			r.Right++
		}
		out = append(out, r)
	}
	return out, nil
}

// printReal prints the recordings by form.
func printReal(w io.Writer, all []Real, verbose bool) error {
	for _, r := range all {
		for _, line := range r.Wrong {
			if verbose {
				fmt.Fprintf(w, "%s/%s %s\n", Recorded, r.Form, line)
			}
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nreal incidents\tnumber\tright\t\n")
	for _, r := range all {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.0f %%\n", r.Form, r.Number, r.Right, 100*float64(r.Right)/float64(max(1, r.Number)))
	}
	return t.Flush()
}
