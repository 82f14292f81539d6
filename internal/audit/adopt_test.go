package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/incident"
)

// takeProcess makes and takes a directory as a process of that number does, until the test ends.
func takeProcess(t *testing.T, path string, n int) *directory {
	t.Helper()
	r := &root{path: path}
	if err := os.MkdirAll(r.process(n), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := r.take(r.process(n))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.release() })
	return d
}

// leave writes events as a process does that is killed before it delivers: the first of them were
// delivered.
func leave(t *testing.T, d disk, delivered int, events ...incident.AuditEvent) {
	t.Helper()
	sp, _, err := openSpool(d, 1500, func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		_, payload, err := prepare(e, testTime.Add(time.Hour))
		if err == nil {
			err = sp.append(framesOf(string(payload)), 1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for taken := 0; taken < delivered; {
		items, _, err := sp.take()
		if err != nil || len(items) == 0 {
			t.Fatalf("took %d items, %v", len(items), err)
		}
		last := min(len(items), delivered-taken)
		if err := sp.deliveredTo(items[last-1].end); err != nil {
			t.Fatal(err)
		}
		taken += last
	}
	sp.retire()
	if err := d.release(); err != nil {
		t.Fatal(err)
	}
}

// tree lists the files of a directory but for those of the one process that lives there, number n.
func tree(t *testing.T, dir string, n int) (names []string) {
	t.Helper()
	own := fmt.Sprintf(processFormat, n)
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if name, ok := strings.CutPrefix(path, dir+"/"); ok && !strings.HasPrefix(name, own) {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// What a process finds at its start is delivered before what it records, without what was delivered.
func TestAdoptionAtStart(t *testing.T) {
	for _, tt := range []struct {
		name string
		left func(t *testing.T, dir string)
		want []incident.AuditEvent // delivered
		own  int                   // number of the process
		tree []string
	}{
		{name: "nothing", left: func(*testing.T, string) {}, own: 1},
		{
			name: "one process",
			left: func(t *testing.T, dir string) { leave(t, takeProcess(t, dir, 4), 7, testEvents("a", 0, 20)...) },
			want: testEvents("a", 7, 20), own: 4,
		},
		{
			name: "three processes",
			left: func(t *testing.T, dir string) {
				leave(t, takeProcess(t, dir, 10), 1, testEvents("c", 0, 5)...)
				leave(t, takeProcess(t, dir, 2), 0, testEvents("a", 0, 3)...)
				leave(t, takeProcess(t, dir, 9), 8, testEvents("b", 0, 13)...)
			},
			want: slices.Concat(testEvents("a", 0, 3), testEvents("b", 8, 13), testEvents("c", 1, 5)), own: 2,
		},
		{
			name: "a process that is alone in its directory",
			left: func(t *testing.T, dir string) {
				d, err := (&root{path: dir}).take(dir)
				if err != nil {
					t.Fatal(err)
				}
				leave(t, d, 9, testEvents("a", 0, 20)...)
			},
			want: testEvents("a", 9, 20), own: 1, tree: []string{lockName},
		},
		{
			name: "all delivered",
			left: func(t *testing.T, dir string) {
				leave(t, takeProcess(t, dir, 1), 2, testEvents("a", 0, 2)...)
				leave(t, takeProcess(t, dir, 2), 9, testEvents("b", 0, 9)...)
			},
			own: 1,
		},
		{
			name: "cut short while a directory was made",
			left: func(t *testing.T, dir string) {
				for _, name := range []string{"process-1", "process-2"} {
					if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.WriteFile(filepath.Join(dir, "process-2", positionName+newSuffix), []byte("0"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			own: 1,
		},
		{
			name: "files of others",
			left: func(t *testing.T, dir string) {
				for _, name := range []string{"process-", "process-x", "process-01", "lost+found"} {
					if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
						t.Fatal(err)
					}
				}
			},
			own: 1, tree: []string{"lost+found", "process-", "process-01", "process-x"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, sink := t.TempDir(), &memorySink{}
			tt.left(t, dir)
			c := openTest(t, Options{Dir: dir, Sink: sink})
			mustRecord(t, c, testEvent("new", 0))
			mustFlush(t, c)
			if diff := cmp.Diff(ids(append(tt.want, testEvent("new", 0))), sink.ids()); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			want := slices.Sorted(slices.Values(append([]string{guardName}, tt.tree...)))
			if diff := cmp.Diff(want, tree(t, dir, tt.own)); diff != "" {
				t.Errorf("files beside those of the process (-want +got):\n%s", diff)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.usedEvents != 0 || c.usedBytes != 0 || len(c.trails) != 0 {
				t.Errorf("%d events, %d bytes and %d trails are still counted", c.usedEvents, c.usedBytes, len(c.trails))
			}
		})
	}
}

// A process that ends while another lives leaves its events to that, in time, also when they went
// through several hands with some delivered in each.
func TestAdoptionWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		refuse := func(from int) *memorySink { // takes the events before that number
			return &memorySink{fail: func(_ context.Context, events []incident.AuditEvent) error {
				if slices.ContainsFunc(events, func(e incident.AuditEvent) bool { return e.ID == testEvent("rem", from).ID }) {
					return errDown
				}
				return nil
			}}
		}
		few := func(sink Sink) Options { return Options{Dir: dir, Sink: sink, BatchEvents: 5} }
		sinks := []*memorySink{refuse(10), refuse(25), {}}
		a, b, c := openTest(t, few(sinks[0])), openTest(t, few(sinks[1])), openTest(t, few(sinks[2]))
		mustRecord(t, a, testEvents("rem", 0, 30)...)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := a.Pending(); n != 20 {
			t.Fatalf("the first process has %d events, want 20: others must not touch what it holds", n)
		}
		closeNow(t, a)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := b.Pending() + c.Pending(); n != 5 && n != 0 {
			t.Errorf("%d events pending, want 5 or none, as one or the other adopts them", n)
		}
		closeNow(t, b)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := c.Delivered(background, "rem"); err != nil {
			t.Error(err)
		}
		var got []string
		for _, s := range sinks {
			got = append(got, s.ids()...)
		}
		if diff := cmp.Diff(ids(testEvents("rem", 0, 30)), got); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{guardName}, tree(t, dir, 3)); diff != "" {
			t.Errorf("files beside those of the process (-want +got):\n%s", diff)
		}
	})
}

// What is adopted is counted, and what a living process holds is too.
func TestBoundsHoldOverAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, sink := t.TempDir(), &memorySink{fail: failing(errDown)}
		full := Options{Dir: dir, Sink: sink, MaxBytes: frameSize(maxFrame)}
		a := openTest(t, full)
		big := testEvent("big", 0)
		big.Data = []byte(`{"text":"` + strings.Repeat("x", 60_000) + `"}`)
		for range 3 {
			big.ID = ""
			mustRecord(t, a, big)
		}
		b := openTest(t, full)
		tryRecord := func(c *Client, want error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(background, time.Second)
			defer cancel()
			big.ID = ""
			if err := c.Record(ctx, big); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		tryRecord(b, nil)     // three and one are within the bound
		tryRecord(b, ErrFull) // the fifth is not
		time.Sleep(10 * time.Second)
		synctest.Wait()
		tryRecord(a, ErrFull) // the first process knows too
		closeNow(t, a)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := b.Pending(); n != 4 {
			t.Errorf("%d events pending, want 4", n)
		}
		b.mu.Lock()
		if b.others != 0 {
			t.Errorf("%d bytes of others, who are gone", b.others)
		}
		b.mu.Unlock()
		tryRecord(b, ErrFull)
		sink.set(func(s *memorySink) { s.fail = nil })
		mustFlush(t, b)
		tryRecord(b, nil)
	})
}

// The bound of events holds for what is adopted, whatever its number.
func TestAdoptedEventsTakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, sink := t.TempDir(), &memorySink{fail: failing(errDown)}
		leave(t, takeProcess(t, dir, 1), 0, testEvents("a", 0, 20)...)
		leave(t, takeProcess(t, dir, 2), 0, testEvents("b", 0, 20)...)
		c := openTest(t, Options{Dir: dir, Sink: sink, MaxEvents: 10})
		recorded := make(chan error, 1)
		go func() { recorded <- c.Record(background, testEvent("new", 0)) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := c.Pending(); n != 40 {
			t.Errorf("%d events pending, want the 40 that were left", n)
		}
		sink.set(func(s *memorySink) { s.fail = nil })
		if err := <-recorded; err != nil {
			t.Error(err)
		}
		mustFlush(t, c)
		if n := len(sink.ids()); n != 41 {
			t.Errorf("%d events stored, want 41", n)
		}
	})
}

// An event that the store refuses is set aside in the one file of all processes.
func TestAdoptedEventIsRejected(t *testing.T) {
	dir, sink := t.TempDir(), &memorySink{refuse: func(e incident.AuditEvent) error {
		if e.CorrelationID == "bad" {
			return incident.Errorf(incident.KindInvalid, "write", "no")
		}
		return nil
	}}
	leave(t, takeProcess(t, dir, 1), 0, testEvents("good", 0, 2)...)
	leave(t, takeProcess(t, dir, 2), 0, testEvents("bad", 0, 2)...)
	c := openTest(t, Options{Dir: dir, Sink: sink})
	wantKind(t, c.Delivered(background, "bad"), incident.KindInvalid, ErrRejected)
	mustFlush(t, c)
	text, err := os.ReadFile(filepath.Join(dir, rejectedName))
	if n := bytes.Count(text, []byte{'\n'}); err != nil || n != 2 {
		t.Errorf("%d events in %s, %v; want 2", n, rejectedName, err)
	}
}

// Damage costs what is damaged, and is told, wherever the spool comes from.
func TestAdoptedSpoolIsDamaged(t *testing.T) {
	dir, sink := t.TempDir(), &memorySink{}
	leave(t, takeProcess(t, dir, 1), 0, testEvent("a", 0))
	d := takeProcess(t, dir, 2)
	leave(t, d, 0, testEvents("b", 0, 3)...)
	path := filepath.Join(d.path, segmentName(1))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[bytes.Index(text, []byte("Phase1"))] ^= 1
	if err := os.WriteFile(path, append(text, frameMagic...), 0o600); err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	c := openTest(t, Options{Dir: dir, Sink: sink, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	mustFlush(t, c)
	want := ids([]incident.AuditEvent{testEvent("a", 0), testEvent("b", 0), testEvent("b", 2)})
	if diff := cmp.Diff(want, sink.ids()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if counter(t, c.metrics.damagedBytes) == 0 || !strings.Contains(log.String(), "damaged") || !strings.Contains(log.String(), d.path) {
		t.Errorf("damage is not told; the log says:\n%s", &log)
	}
	if n := counter(t, c.metrics.adopted); n != 3 {
		t.Errorf("%v events adopted, want 3", n)
	}
}

// What cannot be adopted is told, once, stays where it is, and holds nobody up.
func TestDiskFaultsWhileAdopting(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(t *testing.T, d *directory) (mend func())
		says  string
	}{
		{"another version", func(t *testing.T, d *directory) func() {
			path := filepath.Join(d.path, "v2-0000000000000009.seg")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Remove(path) }
		}, "another version"},
		{"segment that cannot be read", func(t *testing.T, d *directory) func() {
			path := filepath.Join(d.path, segmentName(99))
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Remove(path) }
		}, "is a directory"},
		{"lock that cannot be opened", func(t *testing.T, d *directory) func() {
			path := filepath.Join(d.path, lockName)
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Remove(path) }
		}, "is a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, sink := t.TempDir(), &memorySink{}
				d := takeProcess(t, dir, 1)
				leave(t, d, 0, testEvents("left", 0, 5)...)
				mend := tt.fault(t, d)
				var log logBuffer
				c := openTest(t, Options{Dir: dir, Sink: sink, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				mustRecord(t, c, testEvent("new", 0))
				mustFlush(t, c)
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), tt.says) || !strings.Contains(log.String(), d.path) {
					t.Errorf("the log does not say once that %s is %q:\n%s", d.path, tt.says, &log)
				}
				mend()
				time.Sleep(time.Minute)
				synctest.Wait()
				mustFlush(t, c)
				if n := len(sink.ids()); n != 6 {
					t.Errorf("%d events stored after the repair, want 6", n)
				}
			})
		})
	}
}

// A disk that fails in the middle of an adoption loses nothing of either side.
func TestDiskFaultsInTheMiddle(t *testing.T) {
	for _, op := range []string{"read", "remove", "adopt", "syncDir"} {
		for after := range 4 {
			t.Run(fmt.Sprint(op, " ", after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sink := &memorySink{}
					c, gone := openMemory(t, newMemoryDisk(), Options{Sink: sink}), newMemoryDisk()
					leave(t, gone, 13, testEvents("left", 0, 20)...)
					mustRecord(t, c, testEvent("before", 0))
					mustFlush(t, c)
					var calls atomic.Int32
					fail := func(o, _ string) error {
						if o == op && int(calls.Add(1)) > after {
							return errIO
						}
						return nil
					}
					gone.failWith(fail)
					c.spool.disk.(*memoryDisk).failWith(fail)
					err := c.adoptFrom(gone)
					if err != nil && !errors.Is(err, syscall.EIO) {
						t.Errorf("got %v, want %v", err, syscall.EIO)
					}
					gone.failWith(nil)
					c.spool.disk.(*memoryDisk).failWith(nil)
					mustRecord(t, c, testEvent("after", 0))
					if err := c.adoptFrom(gone); err != nil {
						t.Errorf("after the repair: %v", err)
					}
					mustFlush(t, c)
					var left []string
					for _, id := range sink.ids() {
						if id != testEvent("before", 0).ID && id != testEvent("after", 0).ID {
							left = append(left, id)
						}
					}
					if diff := cmp.Diff(ids(testEvents("left", 13, 20)), left); diff != "" {
						t.Errorf("stored of what was left (-want +got):\n%s", diff)
					}
					if n := len(sink.ids()); n != 9 || c.usedEvents != 0 || c.usedBytes != 0 {
						t.Errorf("%d events stored, want 9; %d events of %d bytes are still counted", n, c.usedEvents, c.usedBytes)
					}
				})
			})
		}
	}
}
