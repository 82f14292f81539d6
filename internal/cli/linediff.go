package cli

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of a shown difference.
const (
	diffContext = 2
	diffLines   = 60
)

// lineDiff shows how two texts differ, line by line, with a little of what is around.
func lineDiff(a, b string) string {
	x, y := strings.Split(strings.TrimSuffix(a, "\n"), "\n"), strings.Split(strings.TrimSuffix(b, "\n"), "\n")
	head := 0
	for head < len(x) && head < len(y) && x[head] == y[head] {
		head++
	}
	tail := 0
	for tail < len(x)-head && tail < len(y)-head && x[len(x)-1-tail] == y[len(y)-1-tail] {
		tail++
	}
	var out []string
	for _, line := range x[max(0, head-diffContext):head] {
		out = append(out, "  "+line)
	}
	out = append(out, middle(x[head:len(x)-tail], y[head:len(y)-tail])...)
	for _, line := range x[len(x)-tail : min(len(x), len(x)-tail+diffContext)] {
		out = append(out, "  "+line)
	}
	if len(out) > diffLines {
		out = append(out[:diffLines], fmt.Sprintf("  … and %d more lines", len(out)-diffLines))
	}
	for i := range out {
		out[i] = clean(out[i])
	}
	return strings.Join(out, "\n")
}

// mostDiffed bounds the work on what lies between the first and the last difference.
const mostDiffed = 4000

// middle pairs the longest common subsequence of lines; of texts that are too long it shows all.
func middle(x, y []string) []string {
	var out []string
	minus := func(lines []string) {
		for _, l := range lines {
			out = append(out, "- "+l)
		}
	}
	plus := func(lines []string) {
		for _, l := range lines {
			out = append(out, "+ "+l)
		}
	}
	if len(x) > mostDiffed || len(y) > mostDiffed {
		minus(x)
		plus(y)
		return out
	}
	common := make([][]uint16, len(x)+1)
	for i := range common {
		common[i] = make([]uint16, len(y)+1)
	}
	for i := range slices.Backward(x) {
		for j := range slices.Backward(y) {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(x) && j < len(y) {
		switch {
		case x[i] == y[j]:
			out = append(out, "  "+x[i])
			i, j = i+1, j+1
		case common[i+1][j] >= common[i][j+1]:
			minus(x[i : i+1])
			i++
		default:
			plus(y[j : j+1])
			j++
		}
	}
	minus(x[i:])
	plus(y[j:])
	return out
}
