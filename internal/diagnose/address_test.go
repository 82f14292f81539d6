package diagnose

import (
	"slices"
	"testing"
	"time"
)

func TestAddressesIn(t *testing.T) {
	for _, row := range []struct {
		text string
		want []address
	}{
		{"postgres://app:pw@db.data:5432/shop?sslmode=off", []address{{"db.data", 5432, true}}},
		{"jdbc:postgresql://db:5432/x", []address{{"db", 5432, true}}},
		{"a-0.kafka:9092,a-1.kafka:9092", []address{{"a-0.kafka", 9092, true}, {"a-1.kafka", 9092, true}}},
		{"app:pw@tcp(db:3306)/x", []address{{"db", 3306, true}}},
		{"http://api.shop.svc.cluster.local", []address{{"api.shop.svc.cluster.local", 0, true}}},
		{"until nc -z cache 6379; do sleep 2; done", []address{{"until", 0, false}, {"nc", 0, false}, {"cache", 6379, false}}},
		{"exec 3<>/dev/tcp/db/5432", []address{{"db", 5432, true}}},
		{"http://localhost:8080 127.0.0.1:80 12:30", nil},
	} {
		got := slices.DeleteFunc(addressesIn(row.text), func(a address) bool {
			return !a.sure && a.port != 6379 && !slices.Contains(row.want, a)
		})
		if !slices.Equal(got, row.want) {
			t.Errorf("addressesIn(%q) = %v, want %v", row.text, got, row.want)
		}
	}
}

func TestWantedVariables(t *testing.T) {
	for _, row := range []struct {
		line string
		want []string
	}{
		{"FATAL required environment variable CACHE_SIZE is not set", []string{"CACHE_SIZE"}},
		{"KeyError: 'API_TOKEN'", []string{"API_TOKEN"}},
		{"/run.sh: line 3: REGION: unbound variable", []string{"REGION"}},
		{"WARN LOG_FORMAT is not set, using default", nil},
		{"OTEL_ENDPOINT is not set: tracing disabled", nil},
		{"Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'x'", nil},
		{"relation USER_TABLE not found", nil},
		{"listening on PORT 8080", nil},
	} {
		if got := wantedVariables(row.line); !slices.Equal(got, row.want) {
			t.Errorf("wantedVariables(%q) = %v, want %v", row.line, got, row.want)
		}
	}
}

func TestSchedule(t *testing.T) {
	from := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) // a Friday
	for _, row := range []struct {
		text string
		next time.Time
		gap  time.Duration
	}{
		{"*/5 * * * *", from.Add(5 * time.Minute), 5 * time.Minute},
		{"0 9 * * mon-fri", time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), 72 * time.Hour},
		{"@daily", time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), 24 * time.Hour},
		{"CRON_TZ=UTC 30 1 1 1 *", time.Date(2027, 1, 1, 1, 30, 0, 0, time.UTC), 366 * 24 * time.Hour},
		{"@every 90s", from.Add(90 * time.Second), 90 * time.Second},
		{"0 0 30 2 *", time.Time{}, 0},
		{"0 0 * * 7", time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), 7 * 24 * time.Hour},
	} {
		s, ok := parseSchedule(row.text)
		if !ok {
			t.Errorf("%q does not parse", row.text)
			continue
		}
		if got := s.next(from); !got.Equal(row.next) {
			t.Errorf("next of %q = %v, want %v", row.text, got, row.next)
		}
		if got := s.longestGap(from); got != row.gap {
			t.Errorf("longest gap of %q = %v, want %v", row.text, got, row.gap)
		}
	}
	for _, text := range []string{"", "* * * *", "61 * * * *", "* * * * mondays", "*/0 * * * *", "@sometimes", "5-2 * * * *"} {
		if _, ok := parseSchedule(text); ok {
			t.Errorf("%q parses", text)
		}
	}
}
