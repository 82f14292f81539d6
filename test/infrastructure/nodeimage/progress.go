package nodeimage

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress is how far a step is.
type Progress struct {
	Step    string        // what is done
	Done    int           // how much of it, in Unit
	Total   int           // of how much; 0: not known
	Unit    string        // "packages", "MB"
	Elapsed time.Duration // since the step began
	Ended   bool          // the step is over, well or not
}

// String is one line without an end.
func (p Progress) String() string {
	s := p.Step
	switch {
	case p.Ended:
		return s + ": " + p.Elapsed.Round(100*time.Millisecond).String()
	case p.Total > 0:
		s += fmt.Sprintf(": %d of %d %s (%d %%)", p.Done, p.Total, p.Unit, 100*p.Done/p.Total)
	case p.Done > 0:
		s += fmt.Sprintf(": %d %s", p.Done, p.Unit)
	}
	if p.Elapsed >= time.Second {
		s += ", " + p.Elapsed.Round(time.Second).String()
	}
	return s
}

const (
	redrawEvery = 100 * time.Millisecond
	lineEvery   = 10 * time.Second
	tickEvery   = time.Second
)

// Display shows progress: on a terminal one line that is drawn anew, else a line at the start and the end of each step and
// one every ten seconds. Its methods may be called by several goroutines at once.
type Display struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	mu    sync.Mutex
	last  map[string]time.Time
	drawn bool
}

// NewDisplay returns a display on w.
func NewDisplay(w io.Writer, terminal bool, now func() time.Time) *Display {
	return &Display{w: w, terminal: terminal, now: now, last: make(map[string]time.Time)}
}

// Show shows p, unless something of its step was shown a moment ago.
func (d *Display) Show(p Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.now()
	every := lineEvery
	if d.terminal {
		every = redrawEvery
	}
	if last, ok := d.last[p.Step]; ok && !p.Ended && t.Sub(last) < every {
		return
	}
	d.last[p.Step] = t
	if !d.terminal {
		fmt.Fprintln(d.w, p)
		return
	}
	d.drawn = !p.Ended
	fmt.Fprintf(d.w, "\r\x1b[K%s", p)
	if p.Ended { // it stays
		fmt.Fprintln(d.w)
	}
}

// Close removes what was drawn last. Later calls of Show draw again.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drawn {
		fmt.Fprint(d.w, "\r\x1b[K")
		d.drawn = false
	}
}

// meter counts one step and tells about it, until its end, which must come. Its other methods may be called by several goroutines at once.
type meter struct {
	tell  func(Progress)
	now   func() time.Time
	start time.Time

	mu   sync.Mutex
	p    Progress
	over chan struct{}
}

func (b *builder) meter(step, unit string) *meter {
	m := &meter{tell: b.progress, now: b.now, start: b.now(), p: Progress{Step: step, Unit: unit}, over: make(chan struct{})}
	m.add(0)
	go m.tick()
	return m
}

// tick tells how long the step takes while nothing else happens in it.
func (m *meter) tick() {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			m.add(0)
		case <-m.over:
			return
		}
	}
}

func (m *meter) set(done, total int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Done, m.p.Total, m.p.Elapsed = done, total, m.now().Sub(m.start)
	m.tell(m.p)
}

func (m *meter) add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p.Ended {
		return
	}
	m.p.Done += n
	m.p.Elapsed = m.now().Sub(m.start)
	m.tell(m.p)
}

func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.over)
	m.p.Ended, m.p.Elapsed = true, m.now().Sub(m.start)
	m.tell(m.p)
}
