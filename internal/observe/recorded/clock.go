package recorded

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ago stands in a tree for a time that is known relative to the collection.
type ago time.Duration

// parseAge reads an age as kubectl prints it: 30s, 5m12s, 3h, 2d4h, 1y20d; <unknown> and <invalid> are none.
func parseAge(s string) (time.Duration, bool) {
	var total time.Duration
	digits := 0
	if s == "" {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' {
			continue
		}
		n, err := strconv.ParseInt(s[digits:i], 10, 32)
		if err != nil {
			return 0, false
		}
		unit, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'y': 365 * 24 * time.Hour}[c]
		if !ok || n > 1<<20 {
			return 0, false
		}
		total += time.Duration(n) * unit
		digits = i + 1
	}
	return total, digits == len(s) && total >= 0 && total < 100*365*24*time.Hour
}

// agoOf returns a tree's value for an age.
func agoOf(s string) any {
	if d, ok := parseAge(strings.TrimSpace(s)); ok {
		return ago(d)
	}
	return nil
}

// layouts of absolute times in descriptions, journals and of the command date.
var layouts = []string{
	time.RFC1123Z, time.RFC3339Nano, "2006-01-02 15:04:05 -0700 MST", "Mon Jan _2 15:04:05 MST 2006", "Mon _2 Jan 15:04:05 MST 2006",
	"Mon Jan _2 03:04:05 PM MST 2006", "Mon 2006-01-02 15:04:05 MST", "2006-01-02 15:04:05",
}

// parseTime reads an absolute time.
func parseTime(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if len(s) < 19 || len(s) > 45 {
		return time.Time{}, false
	}
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil {
			return t.UTC(), t.Year() > 1900
		}
	}
	return time.Time{}, false
}

// stamp returns a tree's value for a printed time, and notes it.
func (r *reader) stamp(s string) any {
	t, ok := parseTime(s)
	if !ok {
		return nil
	}
	r.date(t)
	return t.Format(time.RFC3339)
}

// past are the keys of times that lie in the past of whoever reads them.
var past = map[string]bool{
	"creationTimestamp": true, "lastTransitionTime": true, "startedAt": true, "finishedAt": true, "startTime": true, "lastTimestamp": true,
	"firstTimestamp": true, "renewTime": true, "lastHeartbeatTime": true, "time": true, "eventTime": true, "completionTime": true,
	"lastScheduleTime": true, "lastUpdateTime": true, "lastObservedTime": true, "acquireTime": true, "lastSuccessfulTime": true, "lastScaleTime": true,
}

// dates notes the times of a tree.
func (r *reader) dates(v any, depth int) {
	if depth > 40 {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok {
				if past[k] {
					if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
						r.date(t.UTC())
					}
				}
				continue
			}
			r.dates(e, depth+1)
		}
	case []any:
		for _, e := range v {
			r.dates(e, depth+1)
		}
	}
}

// arbitrary is the collection's time when nothing tells it.
var arbitrary = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// anchor finds the time of the collection.
func (r *reader) anchor() (time.Time, bool) {
	if !r.o.CollectedAt.IsZero() {
		return r.o.CollectedAt.UTC(), true
	}
	if !r.dated.IsZero() {
		return r.dated, true
	}
	now := r.newest
	born := map[string]time.Time{}
	for _, s := range r.objects {
		meta, _ := s.tree["metadata"].(map[string]any)
		if text, ok := meta["creationTimestamp"].(string); ok {
			if t, err := time.Parse(time.RFC3339, text); err == nil {
				born[s.String()] = t.UTC()
			}
		}
	}
	for _, s := range r.objects { // an age is printed cut off, never rounded up
		if t, ok := born[s.String()]; ok && s.age > 0 && t.Add(s.age).After(now) {
			now = t.Add(s.age)
		}
	}
	if now.IsZero() {
		return arbitrary, false
	}
	return now, true
}

// settle replaces the relative times of a tree.
func settle(v any, now time.Time) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e = settle(e, now); e == nil {
				delete(v, k)
				continue
			}
			v[k] = e
		}
	case []any:
		for i := range v {
			v[i] = settle(v[i], now)
		}
	case ago:
		return now.Add(-time.Duration(v)).UTC().Format(time.RFC3339)
	}
	return v
}

var repeated = regexp.MustCompile(`^(\S+) \(x(\d+) over ([^)]+)\)$`)

// parseSeen reads the age of an event: "5m", "101s (x15 over 3m)", "<unknown>".
func parseSeen(s string) (last, first any, count int64) {
	s = strings.TrimSpace(s)
	if m := repeated.FindStringSubmatch(s); m != nil {
		count, _ = strconv.ParseInt(m[2], 10, 32)
		return agoOf(m[1]), agoOf(m[3]), count
	}
	return agoOf(s), agoOf(s), 1
}
