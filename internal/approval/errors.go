package approval

import (
	"fmt"
	"strings"
)

// Refusal says why a policy was not taken.
type Refusal string

const (
	Unreadable  Refusal = "Unreadable"  // the file could not be read
	Syntax      Refusal = "Syntax"      // the text is not Rego v1, or it does not compile
	WrongName   Refusal = "WrongName"   // the package is not aianalysis.approval
	MissingRule Refusal = "MissingRule" // the rule require_approval is not there
	WrongType   Refusal = "WrongType"   // a rule gives a value of the wrong type
	Failing     Refusal = "Failing"     // evaluation of a complete input fails
	FailsOpen   Refusal = "FailsOpen"   // it approves what no policy may approve by itself
)

// PolicyError is the refusal of a policy.
type PolicyError struct {
	Refusal Refusal
	File    string
	Line    int    // 0 when the fault is of the file as a whole
	Rule    string // the rule at fault, for example "require_approval"; may be empty
	Err     error  // what is wrong and what to do about it; never nil
}

// Error returns "policy file:line: rule name: what is wrong", without the parts that are not known.
func (e *PolicyError) Error() string {
	var b strings.Builder
	b.WriteString("policy " + e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Rule != "" {
		b.WriteString(": rule " + e.Rule)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *PolicyError) Unwrap() error { return e.Err }
