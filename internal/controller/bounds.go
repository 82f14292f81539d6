package controller

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of the status, in code points and items. They repeat those of the schema in
// api/v1alpha1; a test holds every value that the writer makes against the schema.
const (
	maxMessage   = 4096 // messages, summaries, rationales, reasons of the policy
	maxLine      = 1024 // one warning, factor, statement, error
	maxWhat      = 512
	maxName      = 253 // names, identifiers, signal types
	maxAPIRef    = 317 // group and version
	maxShort     = 128 // versions, classes, UIDs
	maxDigest    = 256
	maxImage     = 1024
	maxHash      = 64
	maxPath      = 1024
	maxValue     = 1024
	maxLines     = 50 // warnings, factors, gaps, candidates, rules
	maxOptions   = 20 // alternatives, actions, validation attempts
	maxChain     = 32
	maxEvidence  = 100
	maxParameter = 64

	// maxParameterBytes bounds the parameters of a workflow as JSON.
	maxParameterBytes = 64 << 10

	// maxStatusBytes bounds the status as JSON.
	maxStatusBytes = 256 << 10

	// maxObjectBytes bounds a resource as JSON, with its status: what etcd takes unless it is told
	// otherwise, less a margin for what is stored around it and for a late warning.
	maxObjectBytes = 1536<<10 - 8<<10
)

// cutMark ends a text that was cut.
const cutMark = "…"

// text returns s as valid UTF-8 without control characters other than newline and tab, and at most
// limit code points long. A text that is cut ends in cutMark.
func text(s string, limit int) string {
	s = printable(s)
	if len(s) <= limit || utf8.RuneCountInString(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n == limit-1 {
			return s[:i] + cutMark
		}
		n++
	}
	return s
}

// printable returns s with every byte that is not valid UTF-8, and every control character but
// newline and tab, replaced.
func printable(s string) string {
	clean := utf8.ValidString(s)
	for i := 0; clean && i < len(s); i++ {
		clean = s[i] >= ' ' && s[i] != 0x7f || s[i] == '\n' || s[i] == '\t'
	}
	if clean {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			return r
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// texts bounds every element and their number; nil for an empty list. The last element of a list
// that was cut says how many are missing.
func texts(list []string, items, limit int) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, 0, min(len(list), items))
	for i, s := range list {
		if i == items-1 && len(list) > items {
			return append(out, text(fmt.Sprintf("%s and %d more", cutMark, len(list)-i), limit))
		}
		out = append(out, text(s, limit))
	}
	return out
}

// exact reports whether s fits limit as it is. It is for identifiers, which are never cut: a name
// that was shortened names something else.
func exact(s string, limit int) bool {
	return utf8.RuneCountInString(s) <= limit && printable(s) == s
}

// unit returns f within 0 to 1, and whether it was.
func unit(f float64) (float64, bool) {
	switch {
	case math.IsNaN(f) || f < 0:
		return 0, false
	case f > 1:
		return 1, false
	}
	return f, true
}
