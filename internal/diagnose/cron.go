package diagnose

import (
	"strconv"
	"strings"
	"time"
)

// schedule is a cron schedule: one set of allowed values per field, or a fixed interval.
type schedule struct {
	minute, hour, day, month, weekday uint64
	anyDay, anyWeekday                bool
	every                             time.Duration
}

// parseSchedule reads the five fields of cron, its macros and @every, as the CronJob controller does.
func parseSchedule(text string) (schedule, bool) {
	text = strings.TrimSpace(text)
	for _, prefix := range []string{"TZ=", "CRON_TZ="} {
		if strings.HasPrefix(text, prefix) {
			_, text, _ = strings.Cut(text, " ")
		}
	}
	if d, ok := strings.CutPrefix(text, "@every "); ok {
		every, err := time.ParseDuration(d)
		return schedule{every: every}, err == nil && every >= time.Second
	}
	switch text {
	case "@yearly", "@annually":
		text = "0 0 1 1 *"
	case "@monthly":
		text = "0 0 1 * *"
	case "@weekly":
		text = "0 0 * * 0"
	case "@daily", "@midnight":
		text = "0 0 * * *"
	case "@hourly":
		text = "0 * * * *"
	}
	f := strings.Fields(text)
	if len(f) != 5 {
		return schedule{}, false
	}
	s := schedule{anyDay: f[2] == "*" || f[2] == "?", anyWeekday: f[4] == "*" || f[4] == "?"}
	fields := []struct {
		into      *uint64
		low, high int
		names     string
	}{
		{&s.minute, 0, 59, ""},
		{&s.hour, 0, 23, ""},
		{&s.day, 1, 31, ""},
		{&s.month, 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"},
		{&s.weekday, 0, 7, "sun mon tue wed thu fri sat"},
	}
	for i, field := range fields {
		for part := range strings.SplitSeq(f[i], ",") {
			set, ok := cronPart(strings.ToLower(part), field.low, field.high, strings.Fields(field.names))
			if !ok {
				return schedule{}, false
			}
			*field.into |= set
		}
	}
	s.weekday |= s.weekday >> 7 & 1
	return s, true
}

// cronPart reads "*", "a", "a-b", each with "/step".
func cronPart(part string, low, high int, names []string) (uint64, bool) {
	span, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(stepText)
		if err != nil || n < 1 {
			return 0, false
		}
		step = n
	}
	number := func(s string) (int, bool) {
		for i, n := range names {
			if s == n {
				return i + low, true
			}
		}
		n, err := strconv.Atoi(s)
		return n, err == nil && n >= low && n <= high
	}
	from, to := low, high
	if span != "*" && span != "?" {
		a, b, ranged := strings.Cut(span, "-")
		var ok bool
		if from, ok = number(a); !ok {
			return 0, false
		}
		if ranged {
			if to, ok = number(b); !ok || to < from {
				return 0, false
			}
		} else if !stepped {
			to = from
		}
	}
	var set uint64
	for n := from; n <= to; n += step {
		set |= 1 << n
	}
	return set, true
}

// next returns the first time after t at which the schedule is due, in UTC; zero when there is none in five years.
func (s schedule) next(t time.Time) time.Time {
	if s.every > 0 {
		return t.Add(s.every)
	}
	t = t.UTC().Truncate(time.Minute).Add(time.Minute)
	for end := t.AddDate(5, 0, 0); t.Before(end); {
		switch {
		case s.month>>int(t.Month())&1 == 0:
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !s.onDay(t):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case s.hour>>t.Hour()&1 == 0:
			t = t.Truncate(time.Hour).Add(time.Hour)
		case s.minute>>t.Minute()&1 == 0:
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

// onDay follows cron: when both days are restricted, one of them is enough.
func (s schedule) onDay(t time.Time) bool {
	day, weekday := s.day>>t.Day()&1 == 1, s.weekday>>int(t.Weekday())&1 == 1
	if s.anyDay || s.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// longestGap is the longest time between two runs among the next ones after t; 0 when there are none.
func (s schedule) longestGap(t time.Time) time.Duration {
	var longest time.Duration
	at := s.next(t)
	for range 10 {
		if at.IsZero() {
			break
		}
		then := s.next(at)
		if then.IsZero() {
			break
		}
		longest = max(longest, then.Sub(at))
		at = then
	}
	return longest
}
