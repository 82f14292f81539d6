package store

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// compareVersions orders versions by semantic version precedence. It also reads a leading "v", fewer
// or more than three numbers, and ignores build metadata. Text that is no version even then comes
// before all versions, in the order of its bytes.
func compareVersions(a, b string) int {
	x, okX := parseVersion(a)
	y, okY := parseVersion(b)
	switch {
	case !okX && !okY:
		return strings.Compare(a, b)
	case !okX:
		return -1
	case !okY:
		return 1
	}
	for i := range max(len(x.numbers), len(y.numbers)) {
		if c := cmp.Compare(x.number(i), y.number(i)); c != 0 {
			return c
		}
	}
	switch {
	case len(x.pre) == 0 && len(y.pre) == 0:
		return 0
	case len(x.pre) == 0:
		return 1
	case len(y.pre) == 0:
		return -1
	}
	return slices.CompareFunc(x.pre, y.pre, comparePrerelease)
}

type version struct {
	numbers []uint64
	pre     []string
}

func (v version) number(i int) uint64 {
	if i < len(v.numbers) {
		return v.numbers[i]
	}
	return 0
}

func parseVersion(s string) (version, bool) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "v"), "V")
	s, _, _ = strings.Cut(s, "+")
	core, pre, hasPre := strings.Cut(s, "-")
	var v version
	for part := range strings.SplitSeq(core, ".") {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil || part[0] == '+' {
			return version{}, false
		}
		v.numbers = append(v.numbers, n)
	}
	if hasPre {
		v.pre = strings.Split(pre, ".")
	}
	return v, true
}

// comparePrerelease orders identifiers: numbers by value and before words.
func comparePrerelease(a, b string) int {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return strings.Compare(a, b)
}
