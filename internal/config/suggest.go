package config

import (
	"strings"
)

// suggest names the known key that was probably meant, or lists all that are allowed.
func suggest(name string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return "keys are case-sensitive: did you mean \"" + k + "\"?"
		}
		// A short key is near to many; it must be nearer to count.
		if d := distance(name, k); d < bestDistance && d < len(k)/2+1 {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return "did you mean \"" + best + "\"?"
	}
	if len(known) == 0 {
		return "this section has no keys"
	}
	return "allowed here: " + strings.Join(known, ", ")
}

// distance returns the Levenshtein distance of two keys after folding what people mix up: dashes,
// underscores and case. Texts that are too long to be a slip are far apart.
func distance(a, b string) int {
	const far = 100
	if len(a) > 64 || len(b) > 64 {
		return far
	}
	fold := strings.NewReplacer("-", "", "_", "")
	x, y := []rune(strings.ToLower(fold.Replace(a))), []rune(strings.ToLower(fold.Replace(b)))
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(y)]
}
