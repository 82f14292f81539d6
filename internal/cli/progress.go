package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// progress shows tasks while they run. On a terminal the running ones are redrawn in place; else
// there is one line for each thing that happens; as JSON there is one object for each line. Its
// methods may be called at once.
type progress struct {
	w     io.Writer
	look  look
	json  bool
	clock func() time.Time

	mu      sync.Mutex
	running []*task
	drawn   int // lines on the screen that are going to be redrawn
	frame   int
	stop    chan struct{}
	stopped chan struct{}
}

// task is one thing that takes time.
type task struct {
	p       *progress
	name    string
	detail  string
	started time.Time
	said    time.Time // when a plain line was last written
}

const (
	redrawEvery = 120 * time.Millisecond
	// repeatEvery is how long a plain log stays silent about a task that has something new to say.
	repeatEvery = 5 * time.Second
)

// newProgress returns a progress that writes to w until close is called.
func newProgress(w io.Writer, l look, asJSON bool, clock func() time.Time) *progress {
	p := &progress{w: w, look: l, json: asJSON, clock: clock}
	if !l.tty || asJSON {
		return p
	}
	p.stop, p.stopped = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.stopped)
		tick := time.NewTicker(redrawEvery)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.mu.Lock()
				p.frame++
				p.draw()
				p.mu.Unlock()
			}
		}
	}()
	return p
}

// close ends the drawing. Tasks that still run are left as they stand.
func (p *progress) close() {
	if p.stop == nil {
		return
	}
	close(p.stop)
	<-p.stopped
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.stop = nil
}

// start begins a task.
func (p *progress) start(name string) *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &task{p: p, name: name, started: p.clock()}
	t.said = t.started
	p.running = append(p.running, t)
	p.emit(t, "running", "")
	return t
}

// update says what the task is doing now.
func (t *task) update(format string, args ...any) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	detail := clean(fmt.Sprintf(format, args...))
	if detail == t.detail {
		return
	}
	t.detail = detail
	t.p.emit(t, "running", detail)
}

// done ends the task well.
func (t *task) done(format string, args ...any) { t.end("done", fmt.Sprintf(format, args...)) }

// fail ends the task badly.
func (t *task) fail(err error) { t.end("failed", err.Error()) }

// drop ends the task well, without a line for people.
func (t *task) drop() {
	if t.p.json {
		t.done("")
		return
	}
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.p.forget(t)
}

func (t *task) end(state, detail string) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if t.p.forget(t) {
		t.p.emit(t, state, clean(detail))
	}
}

// forget removes a task from the running ones and reports whether it was one of them.
func (p *progress) forget(t *task) bool {
	i := slices.Index(p.running, t)
	if i < 0 {
		return false
	}
	p.running = slices.Delete(p.running, i, i+1)
	return true
}

// emit shows a change of a task.
func (p *progress) emit(t *task, state, detail string) {
	now := p.clock()
	elapsed := now.Sub(t.started)
	if p.json {
		line, err := json.Marshal(struct {
			Time    time.Time `json:"time"`
			Task    string    `json:"task"`
			State   string    `json:"state"`
			Detail  string    `json:"detail,omitempty"`
			Seconds float64   `json:"seconds"`
		}{now.UTC(), t.name, state, detail, elapsed.Round(time.Millisecond).Seconds()})
		if err == nil {
			p.w.Write(append(line, '\n')) //nolint:errcheck // progress that cannot be shown stops nothing
		}
		return
	}
	if state == "running" {
		if p.stop == nil && detail != "" && now.Sub(t.said) >= repeatEvery {
			t.said = now
			fmt.Fprintf(p.w, "... %s: %s (%s)\n", t.name, detail, seconds(elapsed))
		}
		return
	}
	mark := p.look.green("ok ")
	if state == "failed" {
		mark = p.look.red("err")
	}
	line := fmt.Sprintf("%s %s", mark, t.name)
	if detail != "" {
		line += ": " + detail
	}
	p.erase()
	fmt.Fprintf(p.w, "%s %s\n", line, p.look.dim("("+seconds(elapsed)+")"))
	if p.stop != nil {
		p.draw()
	}
}

// draw replaces the block of running tasks at the end of the screen.
func (p *progress) draw() {
	columns, rows := p.look.size()
	show, hidden := p.running, 0
	if most := max(rows-2, 1); len(show) > most {
		hidden = len(show) - most
		show = show[:most]
	}
	var b strings.Builder
	p.eraseInto(&b)
	for _, t := range show {
		text := t.name
		if t.detail != "" {
			text += ": " + t.detail
		}
		elapsed := " " + seconds(p.clock().Sub(t.started))
		text = cut(text, max(columns-len(elapsed)-6, 10))
		fmt.Fprintf(&b, " %s  %s%s\n", p.look.yellow(string(spinner[p.frame%len(spinner)])), text, p.look.dim(elapsed))
	}
	p.drawn = len(show)
	if hidden > 0 {
		fmt.Fprintf(&b, "    and %d more\n", hidden)
		p.drawn++
	}
	io.WriteString(p.w, b.String()) //nolint:errcheck // progress that cannot be shown stops nothing
}

const spinner = `|/-\`

// erase removes the block of running tasks from the screen.
func (p *progress) erase() {
	var b strings.Builder
	p.eraseInto(&b)
	io.WriteString(p.w, b.String()) //nolint:errcheck // progress that cannot be shown stops nothing
}

func (p *progress) eraseInto(b *strings.Builder) {
	if p.drawn > 0 {
		fmt.Fprintf(b, "\x1b[%dA\x1b[J", p.drawn) // up to its first line; clear from there
		p.drawn = 0
	}
}

// seconds words a duration for people.
func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}
