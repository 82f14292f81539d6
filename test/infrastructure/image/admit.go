package image

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// unmeasured is what a build is taken to need before one was measured: linking a program that has a client of every
	// Kubernetes API in it takes just below 1 GB.
	unmeasured = 1100 << 20
	// reserve is left to everything else on the machine.
	reserve = 512 << 20
)

// need is what a build is taken to need.
type need struct {
	name  string
	bytes int64
}

// Admission is how many builds run at once, and why.
type Admission struct {
	// AtOnce is at least 1 and at most the number of builds.
	AtOnce int
	Reason string
}

// admit lets builds run side by side while the sum of what the largest of them need fits into the memory that is there; 0
// means that it is not known. After a failure for lack of memory it lets them run one by one, whatever fits.
func admit(what string, available int64, needs []need, lacked bool) Admission {
	all := len(needs)
	if all <= 1 {
		return Admission{1, fmt.Sprintf("%s: one", what)}
	}
	needs = slices.Clone(needs)
	slices.SortStableFunc(needs, func(a, b need) int { return int(min(max(b.bytes-a.bytes, -1), 1)) })
	var list []string
	var sum int64
	fits := 0
	for i, n := range needs {
		list = append(list, fmt.Sprintf("%s %s", n.name, megabytes(n.bytes)))
		if sum += n.bytes; sum <= available-reserve && fits == i {
			fits = i + 1
		}
	}
	takes := fmt.Sprintf("they take %s (%s)", megabytes(sum), strings.Join(list, ", "))
	switch {
	case lacked:
		return Admission{1, fmt.Sprintf("%s: one at a time, because memory ran out; %s", what, takes)}
	case available <= 0:
		return Admission{all, fmt.Sprintf("%s: all %d at once, as the free memory of this machine is not known; %s", what, all, takes)}
	case fits == all:
		return Admission{all, fmt.Sprintf("%s: all %d at once: %s and %s is free, of which %s is left alone", what, all, takes, megabytes(available), megabytes(reserve))}
	}
	n := max(fits, 1)
	return Admission{n, fmt.Sprintf("%s: %d of %d at once: %s and only %s is free, of which %s is left alone", what, n, all, takes, megabytes(available), megabytes(reserve))}
}

// Overlap decides whether the images are built while the cluster is created: if what both need fits into the memory that
// is there. 0 available means that it is not known, and then they take turns.
func Overlap(available, build, cluster int64) (together bool, reason string) {
	need := fmt.Sprintf("the builds need %s and the cluster %s", megabytes(build), megabytes(cluster))
	switch {
	case build == 0:
		return true, "building and creating the cluster overlap: there is nothing to build"
	case available <= 0:
		return false, "images first, then the cluster: the free memory of this machine is not known; " + need
	case build+cluster > available-reserve:
		return false, fmt.Sprintf("images first, then the cluster: %s, and only %s is free, of which %s is left alone", need, megabytes(available), megabytes(reserve))
	}
	return true, fmt.Sprintf("building and creating the cluster overlap: %s, and %s is free", need, megabytes(available))
}

// megabytes is a size as the engines print it.
func megabytes(n int64) string { return fmt.Sprintf("%d MB", (n+500_000)/1_000_000) }
