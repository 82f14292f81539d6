package controlplane

import (
	"bytes"
	"testing"
	"time"
)

func TestShowProgress(t *testing.T) {
	events := []struct {
		at time.Duration
		p  Progress
	}{
		{0, Progress{Phase: Loading}},
		{time.Second, Progress{Phase: Loading, Done: 7, Elapsed: time.Second}},
		{2 * time.Second, Progress{Phase: Compiling, Total: 200}},
		{2*time.Second + time.Millisecond, Progress{Phase: Compiling, Done: 1, Total: 200}},
		{14 * time.Second, Progress{Phase: Compiling, Done: 50, Total: 200, Elapsed: 12 * time.Second}},
		{20 * time.Second, Progress{Phase: Linking, Elapsed: 18 * time.Second}},
	}
	for _, row := range []struct {
		name     string
		terminal bool
		want     string
	}{
		{"lines", false, `building the control plane (once): loading modules
building the control plane (once): compiling 0 of 200 packages (0 %)
building the control plane (once): compiling 50 of 200 packages (25 %), 12s
building the control plane (once): linking, 18s
`},
		{"terminal", true, "\r\x1b[Kbuilding the control plane (once): loading modules" +
			"\r\x1b[Kbuilding the control plane (once): loading modules (7 downloaded), 1s" +
			"\r\x1b[Kbuilding the control plane (once): compiling 0 of 200 packages (0 %)" +
			"\r\x1b[Kbuilding the control plane (once): compiling 50 of 200 packages (25 %), 12s" +
			"\r\x1b[Kbuilding the control plane (once): linking, 18s" +
			"\r\x1b[K"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var now time.Time
			var out bytes.Buffer
			show, end := ShowProgress(&out, row.terminal, func() time.Time { return now })
			for _, e := range events {
				now = time.Unix(0, 0).Add(e.at)
				show(e.p)
			}
			end()
			if got := out.String(); got != row.want {
				t.Errorf("got\n%q\nwant\n%q", got, row.want)
			}
		})
	}
}
