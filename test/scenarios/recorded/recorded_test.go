package recorded_test

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/test/scenarios/recorded"
)

var loadOnce = sync.OnceValues(func() ([]*recorded.Case, error) { return recorded.Load(os.DirFS("."), ".") })

// load returns all recordings, which tests must not change.
func load(t *testing.T) []*recorded.Case {
	t.Helper()
	all, err := loadOnce()
	if err != nil {
		t.Fatal(err)
	}
	const least = 60
	if len(all) < least {
		t.Fatalf("%d recordings, want at least %d", len(all), least)
	}
	return all
}

// What happened on a real cluster is found, in whatever form it is met, as often as is said here: a share that may rise.
func TestRecordings(t *testing.T) {
	for form, share := range map[recorded.Form]float64{
		recorded.Live: 0.96, recorded.LiveExpired: 0.91, recorded.YAML: 0.97, recorded.YAMLExpired: 0.92,
		recorded.Text: 0.86, recorded.Bare: 0.68, recorded.Folder: 0.80,
	} {
		t.Run(string(form), func(t *testing.T) {
			if testing.Short() && form != recorded.Live && form != recorded.Text {
				t.Skip("the short tests read two forms")
			}
			t.Parallel()
			all := load(t)
			right := 0
			for _, c := range all {
				o, err := c.Diagnose(form)
				switch {
				case err != nil:
					t.Error(err)
				case o.Wrong != "":
					t.Logf("%s: %s; got %s", c.Name, o.Wrong, o.Got())
				default:
					right++
				}
			}
			t.Logf("%s: %d of %d", form, right, len(all))
			if float64(right) < share*float64(len(all)) {
				t.Errorf("%d of %d verdicts are as expected, want %.0f %%", right, len(all), 100*share)
			}
		})
	}
}

// Where nothing is wrong nothing is blamed by what was read from the API or from YAML.
func TestHealthyIsNotBlamed(t *testing.T) {
	for _, c := range load(t) {
		if c.Expect.Verdict != diagnose.VerdictHealthy {
			continue
		}
		for _, form := range []recorded.Form{recorded.Live, recorded.LiveExpired, recorded.YAML, recorded.YAMLExpired} {
			o, err := c.Diagnose(form)
			if err != nil {
				t.Fatal(err)
			}
			if o.Result.Cause != nil {
				t.Errorf("%s, %s: got %s, which is healthy", c.Name, form, o.Got())
			}
		}
	}
}

// A bundle of a real cluster, stored again, gives the same verdict byte for byte.
func TestReplay(t *testing.T) {
	for i, c := range load(t) {
		if testing.Short() && i%4 != 0 {
			continue
		}
		first, err := c.Snapshot(recorded.Live)
		if err != nil {
			t.Fatal(err)
		}
		body, _, err := observe.Encode(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := observe.Decode(body)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := verdict(t, first, c), verdict(t, second, c); a != b {
			t.Errorf("%s: a stored bundle gives another verdict:\n%s\n%s", c.Name, a, b)
		}
	}
}

func verdict(t *testing.T, s *diagnose.Snapshot, c *recorded.Case) string {
	t.Helper()
	text, err := json.Marshal(diagnose.Run(s, c.Input()))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// No recording carries what belongs to the machine that made it.
func TestNothingOfTheMachine(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range load(t) {
		snap, err := c.Snapshot(recorded.Live)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range snap.Contents().Objects {
			text, err := json.Marshal(o.Tree())
			if err != nil {
				t.Fatal(err)
			}
			for _, banned := range []string{home + "/", "/home/", "PRIVATE KEY"} {
				if strings.Contains(string(text), banned) {
					t.Errorf("%s: %s carries %q", c.Name, o.Ref(), banned)
				}
			}
		}
	}
}
