package dsapi

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.FixedZone("", 7200))
	tests := []struct {
		in   string
		want string // "" when it is refused
	}{
		{"24h", "2026-03-13T13:09:26Z"},
		{"30m", "2026-03-14T12:39:26Z"},
		{"1h30m", "2026-03-14T11:39:26Z"},
		{"7d", "2026-03-07T13:09:26Z"},
		{"0d", "2026-03-14T13:09:26Z"},
		{"2026-03-01T10:00:00+02:00", "2026-03-01T08:00:00Z"},
		{"2026-03-01T10:00:00.25Z", "2026-03-01T10:00:00.25Z"},
		{"2026-03-01T10:00:00", "2026-03-01T10:00:00Z"},
		{"2026-03-01 10:00:00", "2026-03-01T10:00:00Z"},
		{"2026-03-01", "2026-03-01T00:00:00Z"},
		{"", ""},
		{"-24h", ""},
		{"d", ""},
		{"-7d", ""},
		{"+7d", ""},
		{"1.5d", ""},
		{"99999999d", ""},
		{"yesterday", ""},
		{"24", ""},
		{"2026-13-01", ""},
		{"2026-03-01T25:00:00Z", ""},
	}
	for _, tt := range tests {
		got, ok := parseTime(tt.in, now)
		if ok != (tt.want != "") || ok && got.Format(time.RFC3339Nano) != tt.want {
			t.Errorf("parseTime(%q) = %v, %v, want %q", tt.in, got, ok, tt.want)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{"24h", "7d", "2026-03-01", "2026-03-01T10:00:00Z", "1h30m", "9223372036854775807ns"} {
		f.Add(seed)
	}
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := parseTime(in, now)
		if !ok {
			return
		}
		if got.Location() != time.UTC {
			t.Errorf("parseTime(%q) = %v, which is not in UTC", in, got)
		}
		again, ok := parseTime(got.Format(time.RFC3339Nano), now)
		if got.Year() >= 0 && got.Year() <= 9999 && (!ok || !again.Equal(got)) {
			t.Errorf("parseTime(%q) = %v, which reads back as %v, %v", in, got, again, ok)
		}
	})
}
