package failure

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// In returns f as the finding of a unit.
func (f Finding) In(unit string) Finding {
	f.Unit = cmp.Or(f.Unit, unit)
	f.Fingerprint = fingerprint(f)
	return f
}

// changing are the parts of a text that differ from one occurrence of a failure to the next.
var changing = []struct {
	expr *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?`), "<time>"},
	{regexp.MustCompile(`(?:/private)?(?:/var)?/(?:tmp|folders)/[^\s"':,]+`), "<path>"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<id>"},
	{regexp.MustCompile(`\b[0-9a-f]{7,64}\b`), "<id>"},
	{regexp.MustCompile(`\d+(?:\.\d+)*(?:ms|µs|ns|s|m|h)?\b`), "<n>"},
	{regexp.MustCompile(`\s+`), " "},
}

// fingerprint is equal for equal failures of one unit.
func fingerprint(f Finding) string {
	text := strings.Join(f.Lines, "\n")
	if text == "" {
		text = f.Summary
	}
	for _, c := range changing {
		text = c.expr.ReplaceAllString(text, c.by)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{f.Row, string(f.Class), f.Phase, f.Unit, text}, "\x00")))
	return hex.EncodeToString(sum[:6])
}
