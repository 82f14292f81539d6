package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// testTime is before the time at which synctest's clock begins.
var testTime = time.Date(1999, 12, 1, 12, 0, 0, 123456000, time.UTC)

func testEvent(trail string, n int) incident.AuditEvent {
	return New(Subject{Actor: ActorController, ResourceType: "AIAnalysis", ResourceID: "a", CorrelationID: trail, Key: trail},
		testTime.Add(time.Duration(n)*time.Millisecond), PhaseTransition{Old: "Pending", New: fmt.Sprintf("Phase%d", n)})
}

func testEvents(trail string, from, to int) []incident.AuditEvent {
	var out []incident.AuditEvent
	for i := from; i < to; i++ {
		out = append(out, testEvent(trail, i))
	}
	return out
}

// memorySink is a store: all or nothing, idempotent by id, refusing what it is told to refuse.
type memorySink struct {
	mu     sync.Mutex
	order  []string // ids, as first stored
	events map[string]incident.AuditEvent
	writes []int // sizes of the batches, also of those that failed
	at     []time.Time

	fail   func(ctx context.Context, events []incident.AuditEvent) error // before storing
	refuse func(e incident.AuditEvent) error
}

func (s *memorySink) WriteEvents(ctx context.Context, events []incident.AuditEvent) error {
	s.mu.Lock()
	s.writes = append(s.writes, len(events))
	s.at = append(s.at, time.Now())
	fail, refuse := s.fail, s.refuse
	s.mu.Unlock()
	if fail != nil {
		if err := fail(ctx, events); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refuse != nil {
		for _, e := range events {
			if err := refuse(e); err != nil {
				return err
			}
		}
	}
	if s.events == nil {
		s.events = make(map[string]incident.AuditEvent)
	}
	for _, e := range events {
		if _, ok := s.events[e.ID]; !ok {
			s.order = append(s.order, e.ID)
			s.events[e.ID] = e
		}
	}
	return nil
}

func (s *memorySink) set(change func(*memorySink)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *memorySink) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

func (s *memorySink) sizes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

func ids(events []incident.AuditEvent) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.ID
	}
	return out
}

// memoryDisk is a disk that knows what of it would survive a power cut.
type memoryDisk struct {
	mu      sync.Mutex
	files   map[string]*memoryFile
	durable map[string]*memoryFile // the directory as it was last synced

	// fault is asked before every operation ("open", "write", "truncate", "sync", "syncDir",
	// "remove", "read", "replace", "adopt", "extend"). An error is returned; a write is then half done.
	fault    atomic.Pointer[func(op, name string) error]
	released bool
}

func newMemoryDisk() *memoryDisk {
	return &memoryDisk{files: map[string]*memoryFile{}, durable: map[string]*memoryFile{}}
}

func segmentName(number uint64) string { return segment{number: number}.name() }

func (d *memoryDisk) failWith(f func(op, name string) error) {
	if f == nil {
		d.fault.Store(nil)
		return
	}
	d.fault.Store(&f)
}

func (d *memoryDisk) failure(op, name string) error {
	if f := d.fault.Load(); f != nil {
		return (*f)(op, name)
	}
	return nil
}

// memoryFile has the content that a process sees, the content that was synced, and the changes made
// since, in order.
type memoryFile struct {
	disk    *memoryDisk
	name    string
	data    []byte
	synced  []byte
	changes []func([]byte) []byte
}

func (d *memoryDisk) names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.files)), d.failure("names", "")
}

func (d *memoryDisk) open(name string) (file, error) {
	if err := d.failure("open", name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		f = &memoryFile{disk: d, name: name}
		d.files[name] = f
	}
	return f, nil
}

func (d *memoryDisk) read(name string) ([]byte, error) {
	if err := d.failure("read", name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(f.data), nil
}

func (d *memoryDisk) remove(name string) error {
	if err := d.failure("remove", name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.files, name)
	return nil
}

func (d *memoryDisk) replace(name string, content []byte) error {
	if err := d.failure("replace", name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &memoryFile{disk: d, name: name}
	f.change(func([]byte) []byte { return bytes.Clone(content) })
	d.files[name] = f
	return nil
}

// adopt is atomic, as on a file system with a journal.
func (d *memoryDisk) adopt(from disk, name, as string) error {
	if err := d.failure("adopt", name); err != nil {
		return err
	}
	source := from.(*memoryDisk)
	source.mu.Lock()
	f, durable := source.files[name], source.durable[name]
	delete(source.files, name)
	delete(source.durable, name)
	source.mu.Unlock()
	if f == nil {
		return fs.ErrNotExist
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f.disk, f.name = d, as
	d.files[as] = f
	if durable == f {
		d.durable[as] = f
	}
	return nil
}

func (d *memoryDisk) extend(name string, line []byte, limit int64) error {
	if err := d.failure("extend", name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		f = &memoryFile{disk: d, name: name}
		d.files[name] = f
	}
	if int64(len(f.data)+len(line)) > limit {
		return errOverBound
	}
	f.data = append(f.data, line...)
	f.synced = bytes.Clone(f.data)
	d.durable[name] = f
	return nil
}

func (d *memoryDisk) syncDir() error {
	if err := d.failure("syncDir", ""); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable = maps.Clone(d.files)
	return nil
}

func (d *memoryDisk) release() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.released = true
	return nil
}

func (d *memoryDisk) discard() error { return d.release() }

// powerCut returns the disk as it may be found after a power cut: what was synced is there; of what
// was not, choose(n) decides, which returns a number from 0 to n-1.
func (d *memoryDisk) powerCut(choose func(n int) int) *memoryDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newMemoryDisk()
	names := slices.Sorted(maps.Keys(d.files))
	for name := range d.durable {
		if d.files[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		before, now := d.durable[name], d.files[name]
		f := now
		if before != now && choose(2) == 0 { // created, removed or replaced, and not synced
			f = before
		}
		if f == nil {
			continue
		}
		data := bytes.Clone(f.synced)
		reached := choose(len(f.changes) + 1)
		for i, change := range f.changes[:reached] {
			whole := change(bytes.Clone(data))
			if i == reached-1 && len(whole) > len(data) && choose(2) == 0 {
				torn := whole[:len(data)+choose(len(whole)-len(data)+1)]
				if choose(2) == 0 { // the file grew, and its blocks were not written
					clear(torn[len(data):])
				}
				whole = torn
			}
			data = whole
		}
		after.files[name] = &memoryFile{disk: after, name: name, data: data, synced: bytes.Clone(data)}
	}
	after.durable = maps.Clone(after.files)
	return after
}

func (f *memoryFile) change(c func([]byte) []byte) {
	f.data = c(f.data)
	f.changes = append(f.changes, c)
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.disk.failure("read", f.name); err != nil {
		return 0, err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.disk.failure("write", f.name)
	if err != nil {
		p = p[:len(p)/2]
	}
	p = bytes.Clone(p)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.change(func(data []byte) []byte {
		if grow := int(off) + len(p) - len(data); grow > 0 {
			data = append(data, make([]byte, grow)...)
		}
		copy(data[off:], p)
		return data
	})
	return len(p), err
}

func (f *memoryFile) Truncate(size int64) error {
	if err := f.disk.failure("truncate", f.name); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.change(func(data []byte) []byte { return data[:min(int(size), len(data))] })
	return nil
}

func (f *memoryFile) Sync() error {
	if err := f.disk.failure("sync", f.name); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.synced, f.changes = bytes.Clone(f.data), nil
	return nil
}

func (f *memoryFile) Close() error { return nil }

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

var (
	errIO        = syscall.EIO
	errDown      = incident.Errorf(incident.KindNetwork, "write", "connection refused")
	errMalformed = incident.Errorf(incident.KindMalformed, "write", "the answer is no JSON")
)

// openTest opens a client on a real directory and closes it when the test ends.
func openTest(t testing.TB, opts Options) *Client {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	opts.Service = "test"
	c, err := Open(opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { closeNow(t, c) })
	return c
}

// closeNow closes without waiting for delivery.
func closeNow(t testing.TB, c *Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// openMemory opens a client on a memory disk and closes it when the test ends.
func openMemory(t testing.TB, d *memoryDisk, opts Options) *Client {
	t.Helper()
	opts.Dir, opts.Service = "unused", "test"
	opts, err := opts.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c, err := open(opts, d)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { closeNow(t, c) })
	return c
}

func mustRecord(t testing.TB, c *Client, events ...incident.AuditEvent) {
	t.Helper()
	if err := c.RecordAll(context.Background(), events...); err != nil {
		t.Fatalf("record: %v", err)
	}
}

func mustFlush(t testing.TB, c *Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

func wantKind(t testing.TB, err error, kind incident.ErrorKind, is error) {
	t.Helper()
	if incident.KindOf(err) != kind || is != nil && !errors.Is(err, is) {
		t.Errorf("got error %v of kind %q, want kind %q and %v", err, incident.KindOf(err), kind, is)
	}
}
