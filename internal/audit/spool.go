package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
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
	start  int64 // where its records begin; what comes before was delivered by another spool
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
// damage. One that was moved here with its first records delivered has its start in the name.
const (
	segmentFormat = "v1-%016x.seg"
	movedFormat   = "v1-%016x-%x.seg"
	positionName  = "delivered"
)

func (s segment) name() string {
	if s.start > 0 {
		return fmt.Sprintf(movedFormat, s.number, s.start)
	}
	return fmt.Sprintf(segmentFormat, s.number)
}

// position is a place between two records.
type position struct {
	segment uint64
	offset  int64
}

// in returns the offset from which records of a segment are not delivered, if it is not before p.
func (p position) in(s segment) int64 {
	if s.number == p.segment {
		return max(s.start, p.offset)
	}
	return s.start
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

// remains are what a spool has on its disk.
type remains struct {
	recovery
	delivered position
	segments  []segment // oldest first; those that were delivered before are removed
	torn      []int64   // of each segment, the bytes after its last record
}

// survey reads what is on the disk and calls visit for each undelivered record, in order.
func survey(d disk, visit func(payload []byte)) (remains, error) {
	var r remains
	segments, err := listSegments(d)
	if err != nil {
		return r, err
	}
	if r.delivered, err = readPosition(d); err != nil {
		r.position = err
	}
	for _, seg := range segments {
		if seg.number < r.delivered.segment {
			if err := d.remove(seg.name()); err != nil {
				return r, fmt.Errorf("remove a delivered segment: %w", err)
			}
			continue
		}
		if err := r.read(d, seg, visit); err != nil {
			return r, fmt.Errorf("read segment %s: %w", seg.name(), err)
		}
	}
	return r, nil
}

// read reads the undelivered records of one segment.
func (r *remains) read(d disk, seg segment, visit func([]byte)) error {
	buf, err := d.read(seg.name())
	if err != nil {
		return err
	}
	reader := frames{buf: buf, end: int(min(r.delivered.in(seg), int64(len(buf))))}
	for p := reader.next(); p != nil; p = reader.next() {
		seg.add(tally{1, frameSize(len(p))})
		visit(p)
	}
	seg.size = int64(reader.end)
	torn := int64(len(buf)) - seg.size
	r.add(seg.tally)
	r.damaged += int64(reader.damaged)
	r.recovery.torn += torn
	r.segments, r.torn = append(r.segments, seg), append(r.torn, torn)
	return nil
}

// openSpool goes on with what is on the disk, and calls visit for each undelivered record, in order.
func openSpool(d disk, segmentBytes int64, visit func(payload []byte)) (*spool, recovery, error) {
	left, err := survey(d, visit)
	if err != nil {
		return nil, left.recovery, err
	}
	s := &spool{disk: d, segmentBytes: segmentBytes, segments: left.segments, number: left.delivered.segment}
	if len(s.segments) == 0 {
		return s, left.recovery, nil
	}
	first, last := s.segments[0], s.segments[len(s.segments)-1]
	s.offset = min(left.delivered.in(first), first.size)
	s.number = last.number
	if left.delivered.in(last) > last.size {
		return s, left.recovery, nil // a position beyond the end would hide what is appended here
	}
	if err := s.resume(last, left.torn[len(left.torn)-1]); err != nil {
		return nil, left.recovery, fmt.Errorf("read segment %s: %w", last.name(), err)
	}
	return s, left.recovery, nil
}

// resume makes a segment the active one, and cuts off what is no record at its end.
func (s *spool) resume(seg segment, torn int64) error {
	f, err := s.disk.open(seg.name())
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

// adopt moves what a spool of a process that is gone left on its disk to the end of this one. It
// returns the segments that were moved, of which the records are taken after include, and beside an
// error those that were moved before it. It excludes append.
func (s *spool) adopt(from disk, left remains) (moved []segment, err error) {
	for _, seg := range left.segments {
		if seg.records == 0 {
			if err := from.remove(seg.name()); err != nil {
				return moved, fmt.Errorf("remove a delivered segment: %w", err)
			}
			continue
		}
		s.retire()
		to := seg
		to.number, to.start = s.number+1, min(left.delivered.in(seg), seg.size)
		if err := s.disk.adopt(from, seg.name(), to.name()); err != nil {
			return moved, fmt.Errorf("move segment %s: %w", seg.name(), err)
		}
		s.number++
		moved = append(moved, to)
	}
	if len(moved) == 0 {
		return nil, nil
	}
	return moved, errors.Join(s.disk.syncDir(), from.syncDir())
}

// include makes moved segments part of the spool, after all others. It excludes append.
func (s *spool) include(moved []segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = append(s.segments, moved...)
}

var errFormat = errors.New("written by another version of this program")

// isSegment reports whether a file is a segment, of whatever version.
func isSegment(name string) bool {
	var version uint64
	n, _ := fmt.Sscanf(name, "v%d-", &version)
	return n == 1 && strings.HasSuffix(name, ".seg")
}

// listSegments lists the segments on the disk, oldest first, with number and start.
func listSegments(d disk) ([]segment, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	var segments []segment
	for _, name := range names {
		if !isSegment(name) {
			continue
		}
		var seg segment
		if n, _ := fmt.Sscanf(name, movedFormat, &seg.number, &seg.start); n < 2 {
			seg.start = 0
		}
		if name != seg.name() {
			return nil, fmt.Errorf("%s was %w; run that version until it has delivered its events, or move the file away", name, errFormat)
		}
		segments = append(segments, seg)
	}
	slices.SortFunc(segments, func(a, b segment) int { return cmp.Compare(a.number, b.number) })
	return segments, nil
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
		return fmt.Errorf("write segment %d: %w", s.number, err)
	}
	if err := s.active.Sync(); err != nil {
		// What is on the disk now is anybody's guess, and a second sync would not tell.
		_ = s.active.Truncate(size)
		s.abandon()
		return fmt.Errorf("sync segment %d: %w", s.number, err)
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
	name := segment{number: s.number + 1}.name()
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
		if s.disk.remove(s.segments[last].name()) == nil {
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
	for more && seg.size == max(s.offset, seg.start) {
		if err := s.disk.remove(seg.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, lost, err
		}
		s.mu.Lock()
		s.segments = slices.Delete(s.segments, 0, 1)
		s.mu.Unlock()
		s.offset, s.taken = 0, tally{}
		seg, more = s.current()
	}
	offset := max(s.offset, seg.start)
	if seg.size == offset {
		return nil, lost, nil
	}
	buf, err := s.readRange(seg.name(), offset, seg.size)
	if err != nil {
		return nil, lost, err
	}
	lost = seg.tally
	lost.sub(s.taken)
	items = make([]item, 0, lost.records)
	reader := frames{buf: buf}
	for p := reader.next(); p != nil; p = reader.next() {
		it := item{p, position{seg.number, offset + int64(reader.end)}}
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
func (s *spool) readRange(name string, from, to int64) ([]byte, error) {
	f, err := s.disk.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, to-from)
	n, err := f.ReadAt(buf, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", name, err)
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
