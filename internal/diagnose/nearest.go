package diagnose

import "kubernaut.ai/kubernaut/internal/incident"

// nearest returns the candidate that differs from name by the fewest edits, if it is near enough to
// be a slip: at most a third of the name. It never decides a cause by itself.
func nearest(name string, candidates []string) string {
	best, bestDistance := "", len([]rune(name))/3+1
	for _, c := range candidates {
		if d := editDistance(name, c, bestDistance); c != name && d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// editDistance is the Levenshtein distance in runes; it gives up at limit.
func editDistance(a, b string, limit int) int {
	ra, rb := []rune(a), []rune(b)
	if len(ra) > 253 || len(rb) > 253 || len(ra)-len(rb) >= limit || len(rb)-len(ra) >= limit {
		return limit
	}
	row := make([]int, len(rb)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range ra {
		diagonal, least := row[0], i+1
		row[0] = i + 1
		for j, y := range rb {
			cost := diagonal
			if x != y {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
	}
	return row[len(rb)]
}

// nearestObject suggests an existing object of the same kind and namespace.
func (q *inquiry) nearestObject(ref incident.Ref) string {
	var names []string
	for _, o := range q.snap.Kind(ref.Kind, ref.Namespace) {
		names = append(names, o.ref.Name)
	}
	return nearest(ref.Name, names)
}
