package image

import (
	"strings"
	"testing"
)

func TestAdmit(t *testing.T) {
	const gb = 1_000_000_000
	three := []need{{"small", 1 * gb}, {"large", 3 * gb}, {"middle", 2 * gb}}
	for _, row := range []struct {
		name      string
		available int64
		needs     []need
		lacked    bool
		want      int
		reason    string
	}{
		{"all fit", 7 * gb, three, false, 3, "all 3 at once"},
		{"exactly", 6*gb + reserve, three, false, 3, "all 3 at once"},
		{"the two largest fit", 6 * gb, three, false, 2, "2 of 3 at once"},
		{"the largest fits", 5 * gb, three, false, 1, "1 of 3 at once"},
		{"none fits", 1 * gb, three, false, 1, "only 1000 MB is free"},
		{"memory ran out", 100 * gb, three, true, 1, "memory ran out"},
		{"memory is not known", 0, three, false, 3, "not known"},
		{"one", 0, three[:1], false, 1, "one"},
		{"nothing", 5 * gb, nil, false, 1, "one"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := admit("links", row.available, row.needs, row.lacked)
			if got.AtOnce != row.want || !strings.Contains(got.Reason, row.reason) {
				t.Errorf("got %+v, want %d with %q", got, row.want, row.reason)
			}
		})
	}
}

func TestOverlap(t *testing.T) {
	const gb = 1_000_000_000
	for _, row := range []struct {
		name                      string
		available, build, cluster int64
		want                      bool
		reason                    string
	}{
		{"both fit", 8 * gb, 3 * gb, 2 * gb, true, "8000 MB is free"},
		{"exactly", 5*gb + reserve, 3 * gb, 2 * gb, true, "overlap"},
		{"too little", 5 * gb, 3 * gb, 2 * gb, false, "only 5000 MB is free"},
		{"not known", 0, 3 * gb, 2 * gb, false, "not known"},
		{"nothing to build", 0, 0, 2 * gb, true, "nothing to build"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, reason := Overlap(row.available, row.build, row.cluster)
			if got != row.want || !strings.Contains(reason, row.reason) {
				t.Errorf("got %v, %q, want %v with %q", got, reason, row.want, row.reason)
			}
		})
	}
}
