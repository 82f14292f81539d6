package dsapi

import (
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// maxBack bounds how far back a duration reaches: about a thousand years.
const maxBackDays = 365_000

// parseTime reads the forms of the parameters since and until: a duration back from now, with d for
// days; RFC 3339; a date-time without zone; a date. Without a zone they are in UTC.
func parseTime(text string, now time.Time) (time.Time, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > maxBackDays || days[0] == '+' {
			return time.Time{}, false
		}
		return now.UTC().AddDate(0, 0, -int(n)), true
	}
	if back, err := time.ParseDuration(text); err == nil {
		return now.UTC().Add(-back), back >= 0
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// timeParam reads an optional parameter.
func timeParam(name string, text *string, now time.Time, faults *incident.FieldErrors) time.Time {
	if value(text) == "" {
		return time.Time{}
	}
	t, ok := parseTime(*text, now)
	if !ok {
		faults.Add(name, "must be a duration such as 24h, 30m or 7d, an RFC 3339 date-time, or a date")
	}
	return t
}
