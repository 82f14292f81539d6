package store

import (
	"slices"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	ascending := []string{
		"", "experimental", "latest",
		"0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
		"1.0.0", "v1.0.1", "1.2", "1.10.0", "2", "10.0.0.1",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			got, want := compareVersions(a, b), 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got != want {
				t.Errorf("compareVersions(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
	for _, equal := range [][2]string{{"1.0", "v1.0.0"}, {"1.2.3+a", "1.2.3+b"}, {"V2", "2.0"}} {
		if got := compareVersions(equal[0], equal[1]); got != 0 {
			t.Errorf("compareVersions(%q, %q) = %d, want 0", equal[0], equal[1], got)
		}
	}
	if !slices.IsSortedFunc(ascending, compareVersions) {
		t.Error("the list above is not sorted")
	}
}
