package nodeimage

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDisplay(t *testing.T) {
	steps := []struct {
		after time.Duration
		p     Progress
	}{
		{0, Progress{Step: "compile", Unit: "packages"}},
		{20 * time.Millisecond, Progress{Step: "compile", Done: 1, Total: 4, Unit: "packages"}},
		{0, Progress{Step: "fetch", Done: 3, Unit: "MB"}},
		{12 * time.Second, Progress{Step: "compile", Done: 2, Total: 4, Unit: "packages", Elapsed: 12 * time.Second}},
		{0, Progress{Step: "compile", Elapsed: 12 * time.Second, Ended: true}},
	}
	for name, test := range map[string]struct {
		terminal bool
		want     string
	}{
		"lines":    {false, "compile\nfetch: 3 MB\ncompile: 2 of 4 packages (50 %), 12s\ncompile: 12s\n"},
		"terminal": {true, "<compile<fetch: 3 MB<compile: 2 of 4 packages (50 %), 12s<compile: 12s\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			now := time.Unix(0, 0)
			d := NewDisplay(&out, test.terminal, func() time.Time { return now })
			for _, s := range steps {
				now = now.Add(s.after)
				d.Show(s.p)
			}
			d.Close()
			if got := strings.ReplaceAll(out.String(), "\r\x1b[K", "<"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDisplayClose(t *testing.T) {
	var out strings.Builder
	d := NewDisplay(&out, true, time.Now)
	d.Show(Progress{Step: "compile"})
	d.Close()
	d.Close()
	if got, want := out.String(), "\r\x1b[Kcompile\r\x1b[K"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A step in which nothing happens for long still tells that it is alive.
func TestMeterTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Progress
		b := &builder{now: time.Now, progress: func(p Progress) { told = append(told, p) }}
		m := b.meter("link", "")
		time.Sleep(2500 * time.Millisecond)
		m.end()
		synctest.Wait()
		if len(told) != 4 || told[2].Elapsed != 2*time.Second || !told[3].Ended {
			t.Errorf("got %v", told)
		}
	})
}
