package audit

import (
	"strings"
	"syscall"
	"testing"

	"kubernaut.ai/kubernaut/internal/incident"
)

// mount mounts a file system of the given size in memory. It skips the test where that is not allowed:
// the same faults are injected in TestDiskFaultsWhileRecording.
func mount(t *testing.T, flags uintptr, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, "size="+size); err != nil {
		t.Skipf("needs the right to mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestRealDiskFull(t *testing.T) {
	sink := &memorySink{fail: failing(errDown)}
	dir := mount(t, 0, "256k")
	c := openTest(t, Options{Dir: dir, Sink: sink, SegmentBytes: 32 << 10})
	recorded := 0
	for range 2000 {
		err := c.Record(background, testEvent("rem", recorded))
		if err == nil {
			recorded++
			continue
		}
		wantKind(t, err, incident.KindUnavailable, ErrDiskFull)
		if !strings.Contains(err.Error(), "free space") {
			t.Errorf("error %q does not say what to do", err)
		}
		break
	}
	if recorded < 100 || recorded == 2000 {
		t.Fatalf("%d events fit on 256 KiB", recorded)
	}
	// Delivery makes room again.
	sink.set(func(s *memorySink) { s.fail = nil })
	mustFlush(t, c)
	for range 100 {
		mustRecord(t, c, testEvent("rem", recorded))
		recorded++
	}
	mustFlush(t, c)
	if n := len(sink.ids()); n != recorded {
		t.Errorf("%d events stored, want all %d that were recorded", n, recorded)
	}
}

func TestRealReadOnlyDirectory(t *testing.T) {
	dir := mount(t, syscall.MS_RDONLY, "64k")
	_, err := Open(Options{Dir: dir, Sink: &memorySink{}, Service: "test"})
	wantKind(t, err, incident.KindForbidden, syscall.EROFS)
	if err != nil && (!strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "can write")) {
		t.Errorf("error %q does not say what is wrong where", err)
	}
}
