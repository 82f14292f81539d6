package diagnose

import "strings"

// isForbidden reports whether a line is the API server's refusal of a ServiceAccount.
func isForbidden(line string) bool {
	return strings.Contains(line, "forbidden") && strings.Contains(line, "system:serviceaccount:")
}
