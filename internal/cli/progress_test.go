package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProgressInPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := newProgress(&b, plain(), false, time.Now)
		slow := p.start("control plane")
		slow.update("compiling 1 of 9")
		time.Sleep(repeatEvery)
		slow.update("compiling 5 of 9")
		slow.update("compiling 6 of 9")
		fast := p.start("Data Storage")
		fast.done("http://127.0.0.1:8091")
		slow.fail(errors.New("no space\nleft"))
		slow.done("a task ends once")
		quiet := p.start("stopping")
		quiet.drop()
		p.close()
		want := `... control plane: compiling 5 of 9 (5.0s)
ok  Data Storage: http://127.0.0.1:8091 (0ms)
err control plane: no space left (5.0s)
`
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestProgressAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		terminal := look{tty: true, size: func() (int, int) { return 80, 24 }}
		p := newProgress(&b, terminal, true, time.Now)
		task := p.start("oom-kill")
		time.Sleep(1500 * time.Millisecond)
		task.update("investigating")
		task.update("investigating") // nothing new
		task.done("oom-limit")
		p.close()
		var got []string
		for line := range strings.Lines(b.String()) {
			var event struct {
				Task, State, Detail string
				Seconds             float64
			}
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			if event.Task != "oom-kill" {
				t.Errorf("task %q, want oom-kill", event.Task)
			}
			got = append(got, strings.Join([]string{event.State, event.Detail}, " "))
		}
		if diff := cmp.Diff([]string{"running ", "running investigating", "done oom-limit"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestProgressOnTerminal plays what was written into a screen, and looks at that.
func TestProgressOnTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{}
		p := newProgress(s, look{tty: true, size: func() (int, int) { return 40, 4 }}, false, time.Now)
		first := p.start("first")
		p.start("second").update("a detail that is much too long for forty columns")
		p.start("third")
		time.Sleep(2 * redrawEvery)
		synctest.Wait()
		if diff := cmp.Diff([]string{" -  first 240ms", " -  second: a detail that is mu… 240ms", "    and 1 more"}, s.lines); diff != "" {
			t.Errorf("while running (-want +got):\n%s", diff)
		}
		first.done("well")
		if diff := cmp.Diff([]string{"ok  first: well (240ms)", " -  second: a detail that is mu… 240ms", " -  third 240ms"}, s.lines); diff != "" {
			t.Errorf("after the first ended (-want +got):\n%s", diff)
		}
		p.close()
		if diff := cmp.Diff([]string{"ok  first: well (240ms)"}, s.lines); diff != "" {
			t.Errorf("after close (-want +got):\n%s", diff)
		}
	})
}

// screen understands what progress writes: lines, "up n" and "clear to the end".
type screen struct {
	lines []string
}

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		if up, rest, ok := strings.Cut(text, "A\x1b[J"); ok && strings.HasPrefix(up, "\x1b[") {
			n := 0
			for _, r := range up[2:] {
				n = 10*n + int(r-'0')
			}
			s.lines, text = s.lines[:len(s.lines)-n], rest
			continue
		}
		line, rest, _ := strings.Cut(text, "\n")
		s.lines, text = append(s.lines, line), rest
	}
	return len(p), nil
}

func TestNoEscapesWithoutTerminal(t *testing.T) {
	var b bytes.Buffer
	l := lookOf(&b, func(name string) string { return map[string]string{"TERM": "xterm", "COLUMNS": "60"}[name] })
	if l.tty || l.color || l.width() != 60 {
		t.Errorf("a buffer with COLUMNS=60: got tty %v, color %v, width %d; want false, false, 60", l.tty, l.color, l.width())
	}
	if got := l.red("x"); got != "x" {
		t.Errorf("red without color = %q, want x", got)
	}
}
