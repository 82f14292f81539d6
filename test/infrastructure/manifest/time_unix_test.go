//go:build unix

package manifest

import (
	"syscall"
	"testing"
	"time"
)

// TestCheckIsQuick bounds the time of the processor, which a busy machine does not change.
func TestCheckIsQuick(t *testing.T) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	p := shipped(t)
	began := used()
	p.check(t)
	took := used() - began
	t.Logf("%s", took)
	if took > 2*time.Second {
		t.Errorf("rendering and checking took %s of the processor, want less than two seconds", took)
	}
}
