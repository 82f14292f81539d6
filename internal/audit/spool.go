package audit

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// spool is a queue of records on a disk: segments, each a file of frames, and the position up to
// which records were delivered. One goroutine appends and one takes; append and take may run at
// once.
type spool struct {
	disk         disk
	segmentBytes int64

	mu       sync.Mutex
	segments []segment // by number; take is at the first, append at the last

	// Of the appending goroutine.
	active file   // the last segment; nil when append has to begin a new one
	number uint64 // of the newest segment that ever was

	// Of the taking goroutine.
	offset int64 // in the first segment: what comes before was taken
	taken  tally // of its records
}

// segment is a file of the spool.
type segment struct {
	number uint64
	size   int64 // bytes that are durable; what may follow them was never confirmed
	tally        // of the records in these bytes, from where the spool was opened
}

// tally counts records, and their bytes as frames: what they count against the spool's bounds.
type tally struct {
	records int
	bytes   int64
}

func (t *tally) add(o tally) { t.records += o.records; t.bytes += o.bytes }
func (t *tally) sub(o tally) { t.records -= o.records; t.bytes -= o.bytes }

// Segment names begin with the version of the format, so that another version is not mistaken for
// damage.
const (
	segmentFormat = "v1-%016x.seg"
	positionName  = "delivered"
)

// position is a place between two records.
type position struct {
	segment uint64
	offset  int64
}

// item is one record that was taken from the spool.
type item struct {
	payload []byte
	end     position // just after it
}

func (i item) tally() tally { return tally{1, frameSize(len(i.payload))} }

// recovery is what openSpool found.
type recovery struct {
	tally
	torn     int64 // bytes cut off at the end: a write that a crash interrupted
	damaged  int64 // bytes between records that could not be read
	position error // why the delivered position was not used
}

// openSpool reads what is on the disk and calls visit for each undelivered record, in order.
func openSpool(d disk, segmentBytes int64, visit func(payload []byte)) (*spool, recovery, error) {
	s := &spool{disk: d, segmentBytes: segmentBytes}
	var found recovery
	numbers, err := segmentNumbers(d)
	if err != nil {
		return nil, found, err
	}
	start, err := readPosition(d)
	if err != nil {
		found.position = err
	}
	s.number = start.segment
	for i, number := range numbers {
		s.number = max(s.number, number)
		if number < start.segment {
			if err := d.remove(segmentName(number)); err != nil {
				return nil, found, fmt.Errorf("remove a delivered segment: %w", err)
			}
			continue
		}
		from := int64(0)
		if number == start.segment {
			from = start.offset
		}
		if err := s.recover(number, from, i == len(numbers)-1, &found, visit); err != nil {
			return nil, found, fmt.Errorf("read segment %s: %w", segmentName(number), err)
		}
	}
	if len(s.segments) > 0 && s.segments[0].number == start.segment {
		s.offset = min(start.offset, s.segments[0].size)
	}
	return s, found, nil
}

// recover reads one segment from the given offset. Of the last segment it cuts off what is no
// record, and makes it the one that append goes on with.
func (s *spool) recover(number uint64, from int64, last bool, found *recovery, visit func([]byte)) error {
	buf, err := s.disk.read(segmentName(number))
	if err != nil {
		return err
	}
	reader := frames{buf: buf, end: int(min(from, int64(len(buf))))}
	seg := segment{number: number}
	for p := reader.next(); p != nil; p = reader.next() {
		seg.add(tally{1, frameSize(len(p))})
		visit(p)
	}
	seg.size = int64(reader.end)
	found.add(seg.tally)
	found.damaged += int64(reader.damaged)
	torn := int64(len(buf)) - seg.size
	found.torn += torn
	s.segments = append(s.segments, seg)
	if !last || from > seg.size {
		return nil // a position beyond the end would hide what is appended here
	}
	f, err := s.disk.open(segmentName(number))
	if err != nil {
		return err
	}
	if torn > 0 {
		if err := errors.Join(f.Truncate(seg.size), f.Sync()); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	s.active = f
	return nil
}

func segmentName(number uint64) string { return fmt.Sprintf(segmentFormat, number) }

// segmentNumbers lists the segments on the disk, oldest first.
func segmentNumbers(d disk) ([]uint64, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		var version, number uint64
		if n, _ := fmt.Sscanf(name, "v%d-%x.seg", &version, &number); n != 2 {
			continue
		}
		if name != segmentName(number) {
			return nil, fmt.Errorf("%s was written by another version of this program; "+
				"run that version until it has delivered its events, or move the file away", name)
		}
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// append writes frames that hold the given number of records, durably. After an error the records
// are as good as not written, but may appear when the spool is next opened.
func (s *spool) append(frames []byte, records int) error {
	size := s.activeSize()
	if s.active == nil || size > 0 && size+int64(len(frames)) > s.segmentBytes {
		if err := s.rotate(); err != nil {
			return fmt.Errorf("begin a segment: %w", err)
		}
		size = 0
	}
	if err := writeAll(s.active, frames, size); err != nil {
		// Nothing was synced, so that cutting it off again leaves the file as it was.
		if s.active.Truncate(size) != nil {
			s.abandon()
		}
		return fmt.Errorf("write %s: %w", segmentName(s.number), err)
	}
	if err := s.active.Sync(); err != nil {
		// What is on the disk now is anybody's guess, and a second sync would not tell.
		_ = s.active.Truncate(size)
		s.abandon()
		return fmt.Errorf("sync %s: %w", segmentName(s.number), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := &s.segments[len(s.segments)-1]
	last.size += int64(len(frames))
	last.add(tally{records, int64(len(frames))})
	return nil
}

func (s *spool) activeSize() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil {
		return 0
	}
	return s.segments[len(s.segments)-1].size
}

// rotate makes a new segment the active one.
func (s *spool) rotate() error {
	name := segmentName(s.number + 1)
	f, err := s.disk.open(name)
	if err != nil {
		return err
	}
	// Without this the file could be missing after a power cut, with all that was synced to it.
	if err := s.disk.syncDir(); err != nil {
		return errors.Join(err, f.Close(), s.disk.remove(name))
	}
	s.retire()
	s.active = f
	s.number++
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = append(s.segments, segment{number: s.number})
	return nil
}

// retire closes the active segment; the next append begins another.
func (s *spool) retire() {
	if s.active != nil {
		_ = s.active.Close() // all that counts was synced
		s.active = nil
	}
}

// abandon is retire for a segment whose end is in doubt. One without records leaves no trace, so that
// a disk which fails for long does not fill with empty files.
func (s *spool) abandon() {
	s.retire()
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.segments) - 1; s.segments[last].size == 0 {
		if s.disk.remove(segmentName(s.segments[last].number)) == nil {
			s.segments = s.segments[:last]
		}
	}
}

// take returns the records that follow those it returned before, up to the end of a segment, and
// removes the segments that the caller is done with: all before the first that has more. It returns
// none when there are none. lost counts records that were once durable and can no longer be read;
// they follow the last item.
func (s *spool) take() (items []item, lost tally, err error) {
	seg, more := s.current()
	for more && seg.size == s.offset {
		if err := s.disk.remove(segmentName(seg.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, lost, err
		}
		s.mu.Lock()
		s.segments = slices.Delete(s.segments, 0, 1)
		s.mu.Unlock()
		s.offset, s.taken = 0, tally{}
		seg, more = s.current()
	}
	if seg.size == s.offset {
		return nil, lost, nil
	}
	buf, err := s.readRange(seg.number, s.offset, seg.size)
	if err != nil {
		return nil, lost, err
	}
	lost = seg.tally
	lost.sub(s.taken)
	items = make([]item, 0, lost.records)
	reader := frames{buf: buf}
	for p := reader.next(); p != nil; p = reader.next() {
		it := item{p, position{seg.number, s.offset + int64(reader.end)}}
		items = append(items, it)
		lost.sub(it.tally())
	}
	s.offset, s.taken = seg.size, seg.tally
	return items, lost, nil
}

// current returns the segment that take is at, and whether others follow it.
func (s *spool) current() (seg segment, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 {
		return segment{}, false
	}
	return s.segments[0], len(s.segments) > 1
}

// readRange reads part of a segment, or as much as is left of it when somebody cut or removed it.
func (s *spool) readRange(number uint64, from, to int64) ([]byte, error) {
	f, err := s.disk.open(segmentName(number))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, to-from)
	n, err := f.ReadAt(buf, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", segmentName(number), err)
	}
	return buf[:n], nil
}

// deliveredTo stores the position up to which records need not be taken again. It is not synced:
// an old position after a power cut is a correct one.
func (s *spool) deliveredTo(p position) error {
	text := fmt.Appendf(nil, "%016x %d", p.segment, p.offset)
	text = fmt.Appendf(text, " %08x\n", crc32.Checksum(text, castagnoli))
	return s.disk.replace(positionName, text)
}

// readPosition returns the stored position: the beginning when there is none, or with an error when
// it cannot be used.
func readPosition(d disk) (position, error) {
	text, err := d.read(positionName)
	if errors.Is(err, fs.ErrNotExist) {
		return position{}, nil
	}
	if err != nil {
		return position{}, err
	}
	var p position
	var sum uint32
	if n, _ := fmt.Sscanf(string(text), "%x %d %x\n", &p.segment, &p.offset, &sum); n == 3 {
		signed, _, _ := bytes.Cut(text, fmt.Appendf(nil, " %08x\n", sum))
		if crc32.Checksum(signed, castagnoli) == sum && p.offset >= 0 {
			return p, nil
		}
	}
	return position{}, errors.New("the file is damaged; events may be delivered again")
}

// bytes returns the size of all segments.
func (s *spool) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n int64
	for _, seg := range s.segments {
		n += seg.size
	}
	return n
}
