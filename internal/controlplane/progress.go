package controlplane

import (
	"fmt"
	"io"
	"time"
)

// Phase is a part of a build.
type Phase string

// The phases of a build, in their order. Waiting is for another process that builds the same.
const (
	Waiting   Phase = "waiting for another build"
	Loading   Phase = "loading modules"
	Compiling Phase = "compiling"
	Linking   Phase = "linking"
)

// Progress is how far a phase is.
type Progress struct {
	Phase   Phase
	Done    int           // modules downloaded, or packages compiled, so far
	Total   int           // packages to compile; 0: not known
	Elapsed time.Duration // since the phase began
}

// String is one line without an end.
func (p Progress) String() string {
	s := "building the control plane (once): " + string(p.Phase)
	switch {
	case p.Total > 0:
		s += fmt.Sprintf(" %d of %d packages (%d %%)", p.Done, p.Total, 100*p.Done/p.Total)
	case p.Done > 0:
		s += fmt.Sprintf(" (%d downloaded)", p.Done)
	}
	if p.Elapsed >= time.Second {
		s += ", " + p.Elapsed.Round(time.Second).String()
	}
	return s
}

const (
	redrawEvery = 100 * time.Millisecond
	lineEvery   = 10 * time.Second
)

// ShowProgress returns a function that writes a build's progress to w: on a terminal one line that is drawn anew, else a
// line at the start of each phase and one every ten seconds. end must be called when the build is over. Both are for one
// goroutine.
func ShowProgress(w io.Writer, terminal bool, now func() time.Time) (show func(Progress), end func()) {
	var (
		phase Phase
		last  time.Time
		drawn bool
	)
	every := lineEvery
	if terminal {
		every = redrawEvery
	}
	show = func(p Progress) {
		t := now()
		if p.Phase == phase && t.Sub(last) < every {
			return
		}
		phase, last = p.Phase, t
		if terminal {
			fmt.Fprintf(w, "\r\x1b[K%s", p)
			drawn = true
			return
		}
		fmt.Fprintln(w, p)
	}
	end = func() {
		if drawn {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
	return show, end
}
