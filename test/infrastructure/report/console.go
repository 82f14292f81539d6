package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

const (
	// redraw is how often a terminal's line of progress is drawn, beat how often a log is told that something still runs:
	// CI systems end what is silent.
	redraw = time.Second
	beat   = time.Minute
	width  = 79
)

// ConsoleOptions are how a console shows things. The zero value is for a log.
type ConsoleOptions struct {
	// Terminal allows a line of progress that is drawn again and again.
	Terminal bool
	// Color allows colours.
	Color bool
	// Clock tells the time; nil: time.Now.
	Clock func() time.Time
}

// Console tells a person how a run goes: a line for each event, and what runs at the moment. It is safe for concurrent use.
type Console struct {
	o    ConsoleOptions
	done chan struct{}
	over sync.WaitGroup

	mu      sync.Mutex
	out     io.Writer
	running []entry
	drawn   bool
}

type entry struct {
	phase string
	since time.Time
}

// NewConsole returns a console that writes to out, whose errors do not matter. Close must be called.
func NewConsole(out io.Writer, o ConsoleOptions) *Console {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	c := &Console{o: o, out: out, done: make(chan struct{})}
	every := beat
	if o.Terminal {
		every = redraw
	}
	c.over.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-c.done:
				return
			case <-tick.C:
				c.tick()
			}
		}
	})
	return c
}

// Event shows an event.
func (c *Console) Event(e plan.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	switch e.Kind {
	case plan.PhaseStarted:
		c.running = append(c.running, entry{e.Phase, e.Time})
		if c.o.Terminal {
			break // the line of progress shows it
		}
		c.line(e.String())
	case plan.PhaseEnded:
		for i, r := range c.running {
			if r.phase == e.Phase {
				c.running = append(c.running[:i], c.running[i+1:]...)
				break
			}
		}
		c.line(strings.Replace(e.String(), string(e.Status), c.paint(e.Status), 1))
	default:
		c.line(e.String())
	}
	c.draw()
}

// Close ends the line of progress.
func (c *Console) Close() {
	close(c.done)
	c.over.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
}

// Summary shows how a run ended, where its page is, and what the engine says of its cluster, if that was asked; next are
// commands that a person may want now.
func (c *Console) Summary(r plan.Result, page string, engine *Diagnosis, next ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	status := plan.Passed
	if r.ExitCode() != failure.ExitOK {
		status = plan.Failed
	}
	fmt.Fprintf(&b, "\n%s", c.color(status, r.Suite+": "+verdict(r)))
	if s := total(r).Seconds(); s > 0 {
		fmt.Fprintf(&b, " after %s", took(s))
	}
	fmt.Fprintf(&b, " (exit code %d)\n", r.ExitCode())
	if f, ok := r.Cause(); ok {
		fmt.Fprintf(&b, "  what   %s: %s\n", where(f), sentence(f.Summary))
		fmt.Fprintf(&b, "  whose  %s (%s)\n", explained(fault(f)), kind(f))
		for _, line := range f.Lines[:min(3, len(f.Lines))] {
			fmt.Fprintf(&b, "       | %s\n", line)
		}
		if f.Fix != "" {
			fmt.Fprintf(&b, "  do     %s\n", sentence(f.Fix))
		}
		more := -1
		for _, ph := range r.Phases {
			if ph.Status == plan.Failed {
				more += len(ph.Findings)
			}
		}
		if more > 0 {
			fmt.Fprintf(&b, "  also   %d more, in the report\n", more)
		}
	}
	if engine != nil {
		fmt.Fprintf(&b, "  engine %s\n", engine.line())
	}
	fmt.Fprintf(&b, "  report %s\n", page)
	for _, n := range next {
		fmt.Fprintf(&b, "  next   %s\n", n)
	}
	_, err := io.WriteString(c.out, b.String())
	return err
}

func (c *Console) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.running) == 0 {
		return
	}
	if c.o.Terminal {
		c.clear()
		c.draw()
		return
	}
	c.line(c.o.Clock().UTC().Format("15:04:05") + " still running: " + c.progress())
}

// progress names what runs, and for how long.
func (c *Console) progress() string {
	var parts []string
	for _, r := range c.running {
		parts = append(parts, fmt.Sprintf("%s %s", r.phase, c.o.Clock().Sub(r.since).Round(time.Second)))
	}
	return strings.Join(parts, ", ")
}

func (c *Console) line(text string) { fmt.Fprintln(c.out, text) }

// draw draws the line of progress, clear removes it; the caller holds the lock.
func (c *Console) draw() {
	if c.o.Terminal && len(c.running) > 0 {
		text := "… " + c.progress()
		if runes := []rune(text); len(runes) > width {
			text = string(runes[:width])
		}
		fmt.Fprint(c.out, text)
		c.drawn = true
	}
}

func (c *Console) clear() {
	if c.drawn {
		fmt.Fprint(c.out, "\r\x1b[K")
		c.drawn = false
	}
}

func (c *Console) paint(s plan.Status) string { return c.color(s, string(s)) }

func (c *Console) color(s plan.Status, text string) string {
	if !c.o.Color {
		return text
	}
	code := "33"
	switch s {
	case plan.Passed, plan.Held:
		code = "32"
	case plan.Failed:
		code = "31"
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
