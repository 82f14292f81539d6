// Package policies holds the approval policy that ships.
package policies

import _ "embed"

//go:embed approval.rego
var approval string

// Approval returns the text of the shipped approval policy, approval.rego.
func Approval() string { return approval }
