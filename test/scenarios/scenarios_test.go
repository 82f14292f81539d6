package scenarios

import (
	"os"
	"strings"
	"testing"
)

// What must hold, holds on every set. For holdout no more is said than the numbers.
func TestAims(t *testing.T) {
	for _, set := range []string{Open} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			outcomes, err := Measure(os.DirFS("."), set)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range Aims(tally(set, outcomes)) {
				if !a.Met {
					t.Errorf("%s: got %.3f, want %v", a.Name, a.Got, a.Want)
				}
			}
			if t.Failed() && set != Holdout {
				var text strings.Builder
				failures(&text, outcomes)
				t.Log("\n" + text.String())
			}
		})
	}
}
