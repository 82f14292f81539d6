package scenarios

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

// Tally counts the outcomes of a group of scenarios.
type Tally struct {
	Group        string        `json:"group"`
	Number       int           `json:"number"`
	Class        int           `json:"class"` // verdict and class right
	Right        int           `json:"right"` // and target
	Twins        int           `json:"twins"`
	TwinsAgree   int           `json:"twinsAgree"`
	Expired      int           `json:"expired"`
	ExpiredRight int           `json:"expiredRight"`
	ExpiredFalse int           `json:"expiredFalse"` // another cause was named
	Healthy      int           `json:"healthy"`
	FalseCauses  int           `json:"falseCauses"`
	NotHealthy   int           `json:"notHealthy"` // neither blamed nor called healthy
	Forbidden    int           `json:"forbidden"`  // scenarios in which a class was named that must not be
	Beside       int           `json:"beside"`     // causes that should stand beside the first
	BesideFound  int           `json:"besideFound"`
	Unproven     int           `json:"unproven"`
	Median       time.Duration `json:"medianNanoseconds"`
	Longest      time.Duration `json:"longestNanoseconds"`
}

func tally(group string, outcomes []Outcome) Tally {
	t := Tally{Group: group, Number: len(outcomes)}
	count := func(n *int, yes bool) {
		if yes {
			*n++
		}
	}
	var took []time.Duration
	for _, o := range outcomes {
		count(&t.Class, o.ClassRight())
		count(&t.Right, o.Right())
		count(&t.Twins, o.Twin != nil)
		count(&t.TwinsAgree, o.TwinAgrees)
		count(&t.Expired, o.Expired != nil)
		count(&t.ExpiredRight, o.ExpiredRight())
		count(&t.ExpiredFalse, o.ExpiredFalse())
		count(&t.Healthy, o.Healthy != nil)
		count(&t.FalseCauses, o.FalseCause())
		count(&t.NotHealthy, !o.FalseCause() && !o.HealthyRight())
		count(&t.Forbidden, len(o.Forbidden) > 0)
		count(&t.Unproven, o.Unproven != "")
		t.Beside += len(o.Want.Others)
		t.BesideFound += len(o.Want.Others) - len(o.Missing)
		took = append(took, o.Took)
	}
	if slices.Sort(took); len(took) > 0 {
		t.Median, t.Longest = took[len(took)/2], took[len(took)-1]
	}
	return t
}

// ByGroup counts the outcomes of each class, and of the scenarios without one by their verdict, which come last.
func ByGroup(outcomes []Outcome) []Tally {
	groups := map[string][]Outcome{}
	for _, o := range outcomes {
		groups[o.Group()] = append(groups[o.Group()], o)
	}
	var out []Tally
	for name, of := range groups {
		out = append(out, tally(name, of))
	}
	noCause := func(t Tally) int {
		switch diagnose.Verdict(t.Group) {
		case diagnose.VerdictHealthy, diagnose.VerdictUndecidable:
			return 1
		}
		return 0
	}
	slices.SortFunc(out, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(noCause(a), noCause(b)), cmp.Compare(a.Group, b.Group))
	})
	return out
}

// BySet counts the outcomes of each set, in the order of sets.
func BySet(outcomes []Outcome, sets []string) []Tally {
	var out []Tally
	for _, set := range sets {
		out = append(out, tally(set, slices.DeleteFunc(slices.Clone(outcomes), func(o Outcome) bool { return o.Set != set })))
	}
	return out
}

// Aim is something that the engine must reach.
type Aim struct {
	Name string  `json:"name"`
	Got  float64 `json:"got"` // a share, or a number where the aim is 0
	Want float64 `json:"want"`
	Met  bool    `json:"met"`
}

// Aims compares what was counted for a set with what must hold.
func Aims(set Tally) []Aim {
	least := func(name string, part, of int, want float64) Aim {
		return Aim{Name: set.Group + ": " + name, Got: share(part, of), Want: want, Met: share(part, of) >= want}
	}
	none := func(name string, n int) Aim {
		return Aim{Name: set.Group + ": " + name, Got: float64(n), Met: n == 0}
	}
	first := 0.95
	if set.Group == Open {
		first = 0.97
	}
	return []Aim{
		least("class and target", set.Right, set.Number, first),
		least("renamed twins agree", set.TwinsAgree, set.Twins, 1),
		least("right without events", set.ExpiredRight, set.Expired, 0.85),
		none("false causes where nothing is wrong", set.FalseCauses),
		none("references that do not resolve", set.Unproven),
	}
}

func share(part, of int) float64 {
	if of == 0 {
		return 1
	}
	return float64(part) / float64(of)
}

// print writes the tables.
func (r Report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t ")) }
	line := func(c Tally) {
		row(c.Group, fmt.Sprint(c.Number), of(c.Class, c.Number), of(c.Right, c.Number), of(c.TwinsAgree, c.Twins), of(c.ExpiredRight, c.Expired),
			fmt.Sprint(c.ExpiredFalse), of(c.FalseCauses, c.Healthy), fmt.Sprint(c.NotHealthy), fmt.Sprint(c.Forbidden), of(c.BesideFound, c.Beside), millis(c.Median), millis(c.Longest))
	}
	head := []string{"NUMBER", "CLASS", "TARGET", "TWINS", "NO EVENTS", "(OTHER)", "FALSE", "(UNSURE)", "FORBIDDEN", "BESIDE", "MEDIAN", "MAX"}
	row(slices.Concat([]string{"CLASS"}, head)...)
	for _, c := range r.Classes {
		line(c)
	}
	row()
	row(slices.Concat([]string{"SET"}, head)...)
	for _, c := range r.Sets {
		line(c)
	}
	row()
	row("AIM", "GOT", "WANT")
	for _, a := range r.Aims {
		got, want := fmt.Sprintf("%.1f %%", 100*a.Got), fmt.Sprintf("%.0f %%", 100*a.Want)
		if a.Want == 0 {
			got, want = fmt.Sprintf("%.0f", a.Got), "0"
		}
		met := "met"
		if !a.Met {
			met = "NOT MET"
		}
		row(a.Name, got, want, met)
	}
	return t.Flush()
}

func of(part, all int) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", part, all)
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

// failures writes what of the outcomes is not as it should be, one line for each.
func failures(w io.Writer, outcomes []Outcome) {
	for _, o := range outcomes {
		say := func(format string, args ...any) {
			fmt.Fprintf(w, "%s/%s: "+format+"\n", append([]any{o.Set, o.Name}, args...)...)
		}
		if !o.Right() {
			say("want %s; got %s, confidence %.2f", o.Want, o.Got, o.Got.Confidence)
		}
		if len(o.Forbidden) > 0 {
			say("must not name %v; got %s", o.Forbidden, o.Got)
		}
		if len(o.Missing) > 0 {
			say("%v should stand beside the cause; got %s", o.Missing, o.Got)
		}
		if o.Twin != nil && !o.TwinAgrees {
			say("the renamed twin got %s, confidence %.3f instead of %.3f", *o.Twin, o.Twin.Confidence, o.Got.Confidence)
		}
		if o.Expired != nil && !o.ExpiredRight() {
			say("without events: got %s, confidence %.2f", *o.Expired, o.Expired.Confidence)
		}
		if !o.HealthyRight() {
			say("with the fault mended: want %s; got %s, confidence %.2f", o.WantHealthy, *o.Healthy, o.Healthy.Confidence)
		}
		if o.Unproven != "" {
			say("evidence: %s", o.Unproven)
		}
	}
}
