package audit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// model drives a spool the way the client does, and knows what may never be lost.
type model struct {
	t    *rapid.T
	disk *memoryDisk
	sp   *spool

	next      int
	attempted []string        // every record that was ever appended, in order
	confirmed map[string]bool // those whose append returned nil
	stored    []string        // what the sink has, in the order of first arrival
	has       map[string]bool
	items     []item
}

func (m *model) open() {
	var visited []string
	sp, found, err := openSpool(m.disk, 400, func(p []byte) { visited = append(visited, string(p)) })
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	if found.records != len(visited) {
		m.t.Fatalf("found %d records, visited %d", found.records, len(visited))
	}
	if found.damaged != 0 {
		m.t.Fatalf("%d damaged bytes between records, though only ends were torn", found.damaged)
	}
	m.sp, m.items = sp, nil
}

func (m *model) append() {
	n := rapid.IntRange(1, 4).Draw(m.t, "records")
	var buf []byte
	var records []string
	for range n {
		r := fmt.Sprintf(`{"n":%d,"pad":%q}`, m.next, strings.Repeat("x", rapid.IntRange(0, 150).Draw(m.t, "pad")))
		m.next++
		records = append(records, r)
		buf = appendFrame(buf, []byte(r))
	}
	m.attempted = append(m.attempted, records...)
	if m.sp.append(buf, n) == nil {
		for _, r := range records {
			m.confirmed[r] = true
		}
	}
}

// fail makes the next append meet broken hardware.
func (m *model) fail() {
	op := rapid.SampledFrom([]string{"open", "write", "sync", "truncate", "syncDir", "write+truncate", "sync+truncate"}).Draw(m.t, "fault")
	m.disk.failWith(func(o, _ string) error {
		if slices.Contains(strings.Split(op, "+"), o) {
			return errIO
		}
		return nil
	})
	m.append()
	m.disk.failWith(nil)
}

func (m *model) deliver() {
	if len(m.items) == 0 {
		items, lost, err := m.sp.take()
		if err != nil || lost != (tally{}) {
			m.t.Fatalf("take: lost %+v, error %v", lost, err)
		}
		m.items = items
	}
	n := min(rapid.IntRange(0, 6).Draw(m.t, "batch"), len(m.items))
	for _, it := range m.items[:n] {
		if r := string(it.payload); !m.has[r] {
			m.has[r] = true
			m.stored = append(m.stored, r)
		}
	}
	if n > 0 && rapid.Bool().Draw(m.t, "position stored") {
		if err := m.sp.deliveredTo(m.items[n-1].end); err != nil {
			m.t.Fatal(err)
		}
	}
	m.items = m.items[n:]
}

// kill ends the process: what it wrote is there, what it knew is not.
func (m *model) kill() { m.open() }

// emigrate ends the process, and has another adopt what it left, perhaps in several attempts.
func (m *model) emigrate() {
	left := m.disk
	m.disk = newMemoryDisk()
	m.open()
	for failures := rapid.IntRange(0, 2).Draw(m.t, "failures"); ; failures-- {
		calls := rapid.IntRange(0, 5).Draw(m.t, "calls")
		fault := func(op, _ string) error {
			if calls--; failures > 0 && calls < 0 && op != "names" {
				return errIO
			}
			return nil
		}
		m.disk.failWith(fault)
		left.failWith(fault)
		var visited int
		remains, err := survey(left, func([]byte) { visited++ })
		var moved []segment
		if err == nil {
			moved, err = m.sp.adopt(left, remains)
			m.sp.include(moved)
		}
		m.disk.failWith(nil)
		left.failWith(nil)
		if failures <= 0 {
			var sum tally
			for _, seg := range moved {
				sum.add(seg.tally)
			}
			if err != nil || remains.damaged != 0 || sum.records != visited {
				m.t.Fatalf("%d records visited, %d moved, %d bytes damaged: %v", visited, sum.records, remains.damaged, err)
			}
			return
		}
	}
}

func (m *model) powerCut() {
	m.disk = m.disk.powerCut(func(n int) int { return rapid.IntRange(0, n-1).Draw(m.t, "choice") })
	m.open()
}

func (m *model) check() {
	for {
		items, _, err := m.sp.take()
		if err != nil {
			m.t.Fatalf("take: %v", err)
		}
		m.items = append(m.items, items...)
		if len(items) == 0 {
			break
		}
	}
	for _, it := range m.items {
		if r := string(it.payload); !m.has[r] {
			m.has[r] = true
			m.stored = append(m.stored, r)
		}
	}
	for r := range m.confirmed {
		if !m.has[r] {
			m.t.Errorf("confirmed record is lost: %s", r)
		}
	}
	index := make(map[string]int)
	for i, r := range m.attempted {
		index[r] = i
	}
	last := -1
	for _, r := range m.stored {
		i, ok := index[r]
		if !ok {
			m.t.Fatalf("the sink got a record that nobody wrote: %s", r)
		}
		if !m.confirmed[r] {
			continue // it may come back from a disk that failed
		}
		if i < last {
			m.t.Errorf("record %s arrived after one that was written later", r)
		}
		last = i
	}
}

// Whatever happens in whatever order, each confirmed record reaches the sink, in order.
func TestSpoolSurvivesCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, disk: newMemoryDisk(), confirmed: map[string]bool{}, has: map[string]bool{}}
		m.open()
		t.Repeat(map[string]func(*rapid.T){
			"append":   func(t *rapid.T) { m.t = t; m.append() },
			"append2":  func(t *rapid.T) { m.t = t; m.append() },
			"fail":     func(t *rapid.T) { m.t = t; m.fail() },
			"deliver":  func(t *rapid.T) { m.t = t; m.deliver() },
			"deliver2": func(t *rapid.T) { m.t = t; m.deliver() },
			"kill":     func(t *rapid.T) { m.t = t; m.kill() },
			"emigrate": func(t *rapid.T) { m.t = t; m.emigrate() },
			"powerCut": func(t *rapid.T) { m.t = t; m.powerCut() },
		})
		m.t = t
		m.check()
	})
}

func fillSpool(t *testing.T, d disk, records ...string) *spool {
	t.Helper()
	sp, _, err := openSpool(d, 1<<20, func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := sp.append(framesOf(r), 1); err != nil {
			t.Fatal(err)
		}
	}
	return sp
}

func takeAll(t *testing.T, sp *spool) (records []string, lost int) {
	t.Helper()
	for {
		items, l, err := sp.take()
		if err != nil {
			t.Fatal(err)
		}
		lost += l.records
		if len(items) == 0 {
			return records, lost
		}
		for _, it := range items {
			records = append(records, string(it.payload))
		}
	}
}

// At every length to which a crash can cut the file, the records before the cut are there, the file
// is mended, and what is appended then is there too.
func TestSpoolCutAtEveryByte(t *testing.T) {
	whole := framesOf("one", "two", "three")
	for cut := range len(whole) + 1 {
		d := newMemoryDisk()
		sp := fillSpool(t, d, "one", "two", "three")
		name := segmentName(sp.number)
		d.files[name].data = bytes.Clone(whole[:cut])
		sp, found, err := openSpool(d, 1<<20, func([]byte) {})
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if err := sp.append(framesOf("four"), 1); err != nil {
			t.Fatalf("cut at %d: append: %v", cut, err)
		}
		got, _ := takeAll(t, sp)
		want := slices.Concat([]string{"one", "two", "three"}[:found.records], []string{"four"})
		if !slices.Equal(got, want) {
			t.Errorf("cut at %d: got %v, want %v", cut, got, want)
		}
		kept := 0
		for _, r := range want[:found.records] {
			kept += int(frameSize(len(r)))
		}
		if found.torn != int64(cut-kept) {
			t.Errorf("cut at %d: torn %d, want %d", cut, found.torn, cut-kept)
		}
	}
}

func TestSpoolPositions(t *testing.T) {
	for _, tt := range []struct {
		name     string
		position string // stored; "" for none
		want     []string
		bad      bool
	}{
		{name: "none", want: []string{"one", "two", "x"}},
		{name: "damaged", position: "0000000000000001 15 00000000\n", want: []string{"one", "two", "x"}, bad: true},
		{name: "empty file", position: " ", want: []string{"one", "two", "x"}, bad: true},
		{name: "half", position: signedPosition(t, 1, 15)[:12], want: []string{"one", "two", "x"}, bad: true},
		{name: "after the first", position: signedPosition(t, 1, 15), want: []string{"two", "x"}},
		{name: "at the end", position: signedPosition(t, 1, 30), want: []string{"x"}},
		{name: "beyond the end", position: signedPosition(t, 1, 500), want: []string{"x"}},
		{name: "in a later segment", position: signedPosition(t, 7, 99), want: []string{"x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newMemoryDisk()
			fillSpool(t, d, "one", "two")
			if tt.position != "" {
				if err := d.replace(positionName, []byte(tt.position)); err != nil {
					t.Fatal(err)
				}
			}
			for restart := range 2 { // what is appended must be there after the next start as well
				sp, found, err := openSpool(d, 1<<20, func([]byte) {})
				if err != nil {
					t.Fatal(err)
				}
				if (found.position != nil) != tt.bad {
					t.Errorf("position error %v, want one: %v", found.position, tt.bad)
				}
				if restart == 0 {
					if err := sp.append(framesOf("x"), 1); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if got, _ := takeAll(t, sp); !slices.Equal(got, tt.want) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			}
		})
	}
}

func signedPosition(t *testing.T, segment uint64, offset int64) string {
	d := newMemoryDisk()
	sp := &spool{disk: d}
	if err := sp.deliveredTo(position{segment, offset}); err != nil {
		t.Fatal(err)
	}
	text, _ := d.read(positionName)
	return string(text)
}

// What the disk confirmed and then forgets is counted as lost, exactly.
func TestSpoolCountsWhatTheDiskForgets(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(d *memoryDisk, name string)
		want   []string
		lost   int
	}{
		{"flipped bit", func(d *memoryDisk, name string) { d.files[name].data[20] ^= 1 }, []string{"one", "three"}, 1},
		{"cut", func(d *memoryDisk, name string) { d.files[name].data = d.files[name].data[:20] }, []string{"one"}, 2},
		{"gone", func(d *memoryDisk, name string) { delete(d.files, name) }, nil, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newMemoryDisk()
			sp := fillSpool(t, d, "one", "two", "three")
			tt.damage(d, segmentName(sp.number))
			got, lost, err := sp.take()
			if err != nil {
				t.Fatal(err)
			}
			var records []string
			for _, it := range got {
				records = append(records, string(it.payload))
			}
			if !slices.Equal(records, tt.want) || lost.records != tt.lost {
				t.Errorf("got %v, lost %d; want %v, lost %d", records, lost.records, tt.want, tt.lost)
			}
		})
	}
}

func TestSpoolRotatesAndRemoves(t *testing.T) {
	d := newMemoryDisk()
	sp, _, err := openSpool(d, 100, func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := sp.append(framesOf(fmt.Sprintf("record %02d", i)), 1); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := listSegments(d); len(n) != 5 { // 4 records of 21 bytes each
		t.Errorf("%d segments, want 5", len(n))
	}
	if got, _ := takeAll(t, sp); len(got) != 20 || got[19] != "record 19" {
		t.Errorf("took %v", got)
	}
	if n, _ := listSegments(d); len(n) != 1 {
		t.Errorf("%d segments after all were taken, want 1", len(n))
	}
}

// A disk that fails for long does not fill up with empty files.
func TestSpoolLeavesNoEmptyFiles(t *testing.T) {
	d := newMemoryDisk()
	sp := fillSpool(t, d, "one")
	d.failWith(func(op, _ string) error {
		if op == "sync" {
			return errIO
		}
		return nil
	})
	for range 10 {
		if sp.append(framesOf("two"), 1) == nil {
			t.Fatal("append succeeded without a sync")
		}
	}
	d.failWith(nil)
	if n, _ := listSegments(d); len(n) != 1 {
		t.Errorf("%d segments, want 1", len(n))
	}
	if err := sp.append(framesOf("three"), 1); err != nil {
		t.Fatal(err)
	}
	if got, _ := takeAll(t, sp); !slices.Equal(got, []string{"one", "three"}) {
		t.Errorf("took %v", got)
	}
}

func TestSpoolRefusesAnotherFormat(t *testing.T) {
	d := newMemoryDisk()
	if _, err := d.open("v2-0000000000000001.seg"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openSpool(d, 1<<20, func([]byte) {}); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("got %v, want an error about another version", err)
	}
}
