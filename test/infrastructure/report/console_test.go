package report

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// screen is a writer that can be read meanwhile.
type screen struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// play shows a short run.
func play(t *testing.T, o ConsoleOptions) string {
	var s screen
	synctest.Test(t, func(*testing.T) {
		c := NewConsole(&s, o)
		event := func(e plan.Event) { e.Time = time.Now(); c.Event(e) }
		event(plan.Event{Kind: plan.PhaseStarted, Phase: "build"})
		event(plan.Event{Kind: plan.PhaseStarted, Phase: "cluster"})
		event(plan.Event{Kind: plan.Noted, Phase: "build", Note: "one at a time"})
		time.Sleep(2500 * time.Millisecond)
		event(plan.Event{Kind: plan.PhaseEnded, Phase: "build", Status: plan.Passed, Duration: 2500 * time.Millisecond})
		time.Sleep(70 * time.Second)
		event(plan.Event{Kind: plan.Retrying, Phase: "cluster", Unit: "create", Finding: failure.Finding{Class: failure.Stale, Summary: "left over"}})
		event(plan.Event{Kind: plan.PhaseEnded, Phase: "cluster", Status: plan.Failed, Duration: 72500 * time.Millisecond, Finding: failure.Finding{Summary: "no luck"}})
		c.Close()
	})
	return s.text()
}

func TestConsoleInALog(t *testing.T) {
	golden(t, "console-log.txt", play(t, ConsoleOptions{}))
}

func TestConsoleOnATerminal(t *testing.T) {
	text := play(t, ConsoleOptions{Terminal: true, Color: true})
	for _, want := range []string{"… build 1s, cluster 1s", "\r\x1b[K", "\x1b[32mpassed\x1b[0m in 2.5s\n", "\x1b[31mfailed\x1b[0m in 1m12.5s: no luck\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("got %q, want %q in it", text, want)
		}
	}
	// What stays on the screen are the lines of a log, without starts and heartbeats.
	var stays []string
	for line := range strings.SplitSeq(text, "\n") {
		parts := strings.Split(line, "\r\x1b[K")
		stays = append(stays, parts[len(parts)-1])
	}
	golden(t, "console-terminal.txt", strings.Join(stays, "\n"))
}

func TestSummaryInColour(t *testing.T) {
	var s screen
	c := NewConsole(&s, ConsoleOptions{Color: true})
	c.Close()
	if err := c.Summary(scenes("RUN")["infrastructure"], "RUN/report.md", nil); err != nil || !strings.Contains(s.text(), "\x1b[31maianalysis: FAILED in load\x1b[0m after") {
		t.Errorf("got %q, %v", s.text(), err)
	}
}
