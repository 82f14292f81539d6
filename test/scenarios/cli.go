package scenarios

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

// Report is what a run prints.
type Report struct {
	Classes []Tally `json:"classes"`
	Sets    []Tally `json:"sets"`
	Aims    []Aim   `json:"aims"`
	// Recorded are the real incidents, by the form in which they are met.
	Recorded []Real `json:"recorded,omitempty"`
	// Outcomes are those of single scenarios, where they were asked for.
	Outcomes []Outcome `json:"outcomes,omitempty"`
}

const usage = `usage: scenarios [flags] [SET...]

Runs the engine on the sets of scenarios (all of open, probe, holdout) and prints how it did, by class and by set;
and on the incidents of a real cluster (recorded), by the form in which they are met.
With -calibrate: how far its confidence can be believed (always over probe and holdout).

What -v tells about holdout would spoil it for those who write rules, so it does so only when asked for holdout alone.

exit status: 0 when all aims are met, 1 when not, 2 when it could not run
`

// Main runs the command and returns its exit status. It may run more than once at a time.
func Main(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("scenarios", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage, "\n")
		flags.PrintDefaults()
	}
	dir := flags.String("dir", "test/scenarios", "the `directory` of the sets")
	output := flags.String("o", "table", "table or json")
	verbose := flags.Bool("v", false, "name the scenarios that fail")
	calibrate := flags.Bool("calibrate", false, "measure the confidence")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	met, err := run(*dir, flags.Args(), *output, *verbose, *calibrate, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "scenarios:", err)
		return 2
	}
	if !met {
		return 1
	}
	return 0
}

func run(dir string, sets []string, output string, verbose, calibrate bool, stdout io.Writer) (met bool, err error) {
	if output != "table" && output != "json" {
		return false, fmt.Errorf("-o %s: there are table and json", output)
	}
	for _, set := range sets {
		if known := append(Sets(), Recorded); !slices.Contains(known, set) {
			return false, fmt.Errorf("there is no set %q: there are %v", set, known)
		}
	}
	fsys := os.DirFS(dir)
	if calibrate {
		c, err := Calibrate(fsys)
		if err != nil {
			return false, err
		}
		if output == "json" {
			return c.Met(), encode(stdout, c)
		}
		return c.Met(), c.print(stdout)
	}
	if len(sets) == 0 {
		sets = append(Sets(), Recorded)
	}
	withReal := slices.Contains(sets, Recorded)
	sets = slices.DeleteFunc(slices.Clone(sets), func(s string) bool { return s == Recorded })
	var all []Outcome
	for _, set := range sets {
		outcomes, err := Measure(fsys, set)
		if err != nil {
			return false, err
		}
		all = append(all, outcomes...)
	}
	r := Report{Classes: ByGroup(all), Sets: BySet(all, sets)}
	if withReal {
		if r.Recorded, err = MeasureRecorded(fsys); err != nil {
			return false, err
		}
	}
	for _, s := range r.Sets {
		r.Aims = append(r.Aims, Aims(s)...)
	}
	met = !slices.ContainsFunc(r.Aims, func(a Aim) bool { return !a.Met })
	shown := slices.DeleteFunc(slices.Clone(all), func(o Outcome) bool { return !verbose || o.Set == Holdout && len(sets) > 1 })
	if output == "json" {
		r.Outcomes = shown
		return met, encode(stdout, r)
	}
	failures(stdout, shown)
	if len(sets) > 0 {
		err = r.print(stdout)
	}
	if withReal {
		err = errors.Join(err, printReal(stdout, r.Recorded, verbose))
	}
	return met, err
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
