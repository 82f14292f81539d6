package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/incident"
)

// A store that is away for minutes, in every way of being away, costs time and no event.
func TestOutage(t *testing.T) {
	hang := func(ctx context.Context, _ []incident.AuditEvent) error {
		<-ctx.Done()
		return incident.Errorf(incident.KindTimeout, "write", "%w", ctx.Err())
	}
	for _, tt := range []struct {
		name string
		fail func(context.Context, []incident.AuditEvent) error
		says string
	}{
		{"refused", failing(errDown), "connection refused"},
		{"hanging", hang, "deadline exceeded"},
		{"garbage", failing(errMalformed), "no JSON"},
		{"500", failing(&incident.Error{Kind: incident.KindUnavailable, Op: "write", Status: 500, Err: errors.New("internal error")}), "HTTP 500"},
		{"401", failing(&incident.Error{Kind: incident.KindUnauthorized, Op: "write", Status: 401, Err: errors.New("who?")}), "HTTP 401"},
		{"wrong URL", failing(&incident.Error{Kind: incident.KindNotFound, Op: "write", Status: 404, Err: errors.New("no page")}), "HTTP 404"},
		{"untyped", failing(io.ErrUnexpectedEOF), "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newMemoryDisk()
				sink := &memorySink{fail: tt.fail}
				c := openMemory(t, d, Options{Sink: sink, SegmentBytes: 2000})
				for i := range 50 {
					mustRecord(t, c, testEvent("rem", i))
					time.Sleep(6 * time.Second)
				}
				ctx, cancel := context.WithTimeout(background, 45*time.Second)
				defer cancel()
				err := c.Delivered(ctx, "rem")
				wantKind(t, err, incident.KindTimeout, context.DeadlineExceeded)
				if err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %q does not say %q", err, tt.says)
				}
				if n := c.Pending(); n != 50 {
					t.Errorf("%d events pending, want 50", n)
				}
				sink.set(func(s *memorySink) { s.fail = nil })
				if err := c.Delivered(background, "rem"); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(ids(testEvents("rem", 0, 50)), sink.ids()); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
				if n, _ := listSegments(d); len(n) != 1 {
					t.Errorf("%d segments are left, want 1", len(n))
				}
				if rejected, _ := rejectedEvents(t, d); len(rejected) != 0 {
					t.Errorf("%d events were set aside for the fault of the store", len(rejected))
				}
			})
		})
	}
}

// A slow store slows delivery and not recording.
func TestSlowStoreDoesNotSlowRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{fail: func(context.Context, []incident.AuditEvent) error {
			time.Sleep(10 * time.Second)
			return nil
		}}
		c := openMemory(t, newMemoryDisk(), Options{Sink: sink})
		start := time.Now()
		for i := range 1000 {
			mustRecord(t, c, testEvent("rem", i))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("recording waited %v for the store", took)
		}
		if err := c.Flush(background); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("1000 events took %v, want at most 4 writes of 10 s", took)
		}
	})
}

func TestDiskFaultsWhileRecording(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   string
		err  error
		kind incident.ErrorKind
		is   error
	}{
		{"full at write", "write", syscall.ENOSPC, incident.KindUnavailable, ErrDiskFull},
		{"full at sync", "sync", syscall.ENOSPC, incident.KindUnavailable, ErrDiskFull},
		{"over quota", "write", syscall.EDQUOT, incident.KindUnavailable, ErrDiskFull},
		{"read-only", "write", syscall.EROFS, incident.KindForbidden, nil},
		{"broken at write", "write", errIO, incident.KindInternal, errIO},
		{"broken at sync", "sync", errIO, incident.KindInternal, errIO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newMemoryDisk()
			sink := &memorySink{}
			c := openMemory(t, d, Options{Sink: sink})
			mustRecord(t, c, testEvent("rem", 0))
			d.failWith(func(op, name string) error {
				if op == tt.op {
					return fmt.Errorf("%s %s: %w", op, name, tt.err)
				}
				return nil
			})
			for range 3 {
				wantKind(t, c.Record(background, testEvent("rem", 1)), tt.kind, tt.is)
			}
			d.failWith(nil)
			mustRecord(t, c, testEvent("rem", 2))
			mustFlush(t, c)
			if diff := cmp.Diff(ids([]incident.AuditEvent{testEvent("rem", 0), testEvent("rem", 2)}), sink.ids()); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			if c.usedEvents != 0 || c.usedBytes != 0 {
				t.Errorf("%d events and %d bytes are still counted", c.usedEvents, c.usedBytes)
			}
			closeNow(t, c)
			c = openMemory(t, d, Options{Sink: sink}) // what failed left nothing that hinders
			if n := c.Pending(); n != 0 {
				t.Errorf("%d events pending after a restart, want 0", n)
			}
		})
	}
}

// When the disk is so full that not even the position can be stored, what was recorded is delivered.
func TestDiskFullDoesNotStopDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemoryDisk()
		sink := &memorySink{fail: failing(errDown)}
		c := openMemory(t, d, Options{Sink: sink, SegmentBytes: 1000})
		mustRecord(t, c, testEvents("rem", 0, 20)...)
		d.failWith(func(op, name string) error {
			if op == "read" || op == "remove" || op == "open" && name != segmentName(99) {
				return nil
			}
			return syscall.ENOSPC
		})
		sink.set(func(s *memorySink) { s.fail = nil })
		mustFlush(t, c)
		if n := len(sink.ids()); n != 20 {
			t.Errorf("%d events stored, want 20", n)
		}
	})
}

// A disk that cannot be read for a while delays delivery.
func TestDiskCannotBeReadForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemoryDisk()
		sink := &memorySink{}
		c := openMemory(t, d, Options{Sink: sink})
		d.failWith(func(op, _ string) error {
			if op == "read" {
				return errIO
			}
			return nil
		})
		mustRecord(t, c, testEvent("rem", 0))
		ctx, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		wantKind(t, c.Flush(ctx), incident.KindTimeout, errIO)
		d.failWith(nil)
		mustFlush(t, c)
		if n := len(sink.ids()); n != 1 {
			t.Errorf("%d events stored, want 1", n)
		}
	})
}

func TestOpenOnAWrongPlace(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{Dir: occupied, Sink: &memorySink{}, Service: "test"})
	wantKind(t, err, incident.KindInternal, syscall.ENOTDIR)
	if err != nil && !strings.Contains(err.Error(), occupied) {
		t.Errorf("error %q does not name %s", err, occupied)
	}
}

func TestSpoolFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	sink := &memorySink{refuse: func(incident.AuditEvent) error { return incident.Errorf(incident.KindInvalid, "write", "no") }}
	c := openTest(t, Options{Dir: dir, Sink: sink})
	mustRecord(t, c, testEvent("rem", 0))
	mustFlush(t, c)
	closeNow(t, c)
	got := make(map[string]fs.FileMode)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		got[strings.TrimPrefix(path, dir)] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const directory = fs.ModeDir | 0o700
	want := map[string]fs.FileMode{
		"": directory, "/guard": 0o600, "/rejected.jsonl": 0o600, "/process-1": directory,
		"/process-1/lock": 0o600, "/process-1/delivered": 0o600, "/process-1/v1-0000000000000001.seg": 0o600,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files and modes (-want +got):\n%s", diff)
	}
}

// Half a line, left by a crash, does not spoil the next.
func TestRejectedFileAfterACrash(t *testing.T) {
	path := t.TempDir()
	d := takeProcess(t, path, 1)
	if err := os.WriteFile(filepath.Join(path, rejectedName), []byte("{\"a\":1}\n{\"b\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"{\"c\":1}\n", "{\"d\":1}\n"} {
		if err := d.extend(rejectedName, []byte(line), 1000); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.extend(rejectedName, make([]byte, 1000), 1000); !errors.Is(err, errOverBound) {
		t.Errorf("over the bound: got %v", err)
	}
	got, err := os.ReadFile(filepath.Join(path, rejectedName))
	if want := "{\"a\":1}\n{\"b\":\n{\"c\":1}\n{\"d\":1}\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// child starts this binary in a role. It is killed when the test ends.
func child(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	t.Cleanup(func() {
		if cmd.Process != nil && cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}
