// Package recorded reads what people and tools have kept of a cluster into a snapshot for the engine: a bundle of
// `kubernaut collect`, a must-gather, a `kubectl cluster-info dump`, files of `kubectl get -o yaml|json`, and the text
// that is pasted into tickets (tables, descriptions, events, logs, journals, with or without command lines).
//
// # How text is read
//
// A text is cut into blocks by what its lines look like; a command line above a block, or the file's path, tells what the
// block cannot: kind, namespace, Pod, container, and whether all was asked for. So an absence is proven only by a command
// that asked for everything of a kind, by "No resources found", or by a NotFound; a table alone proves none.
//
// Each block gives sightings of objects. Those of one object are merged field by field: what a whole object says stands
// before what a description says, and that before a table; within one form the later reading. An object that was never
// seen whole is a part (diagnose.NewPart): the fields that its forms print are known, all others are not.
//
// Times in text are relative. They count from the time of the collection: the caller's, that of a printed date, or what
// the newest absolute time and the ages beside absolute times give.
//
// What is not understood is reported as leftover lines. Nothing that is read makes it fail, and everything that is kept
// has passed observe's redaction.
package recorded

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
)

// Options say what the recording itself may not. All may be zero.
type Options struct {
	// CollectedAt is when the recording was made; zero means that it is to be found out.
	CollectedAt time.Time
	// Cluster names the cluster in the snapshot.
	Cluster string
	// Namespace is that of text that names none.
	Namespace string
}

// Form is how a value was written, the weakest first.
type Form int

// Forms of text.
const (
	FormDerived     Form = iota // concluded from names
	FormTable                   // kubectl get
	FormDescription             // kubectl describe
	FormDocument                // YAML or JSON
	FormBundle                  // kubernaut collect
)

// String returns the form for people.
func (f Form) String() string {
	return [...]string{"derived from names", "kubectl get", "kubectl describe", "YAML or JSON", "bundle"}[f]
}

// MarshalText writes the form in a word.
func (f Form) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (f *Form) UnmarshalText(text []byte) error {
	for known := FormDerived; known <= FormBundle; known++ {
		if known.String() == string(text) {
			*f = known
			return nil
		}
	}
	return fmt.Errorf("%q is no form of text", text)
}

// Source is where a value was read.
type Source struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1; 0 when the form has no lines
	Form Form   `json:"form"`
}

// Leftover is a range of lines that were not understood.
type Leftover struct {
	File   string `json:"file"`
	From   int    `json:"from"`
	To     int    `json:"to"`
	Reason string `json:"reason"`
}

// Recording is what was read.
type Recording struct {
	Snapshot *diagnose.Snapshot
	Leftover []Leftover
	// Anchored says that the time of the collection is known, or bounded by an absolute time; otherwise all times are
	// relative to an arbitrary one.
	Anchored bool

	sources map[incident.Ref][]placed
}

// placed is the source of all that stands at and below a path.
type placed struct {
	path string
	src  Source
}

// SourceOf returns where the value at a JSON pointer of an object, or a line of a Pod's log, was read.
func (r *Recording) SourceOf(ref incident.Ref, path string) (Source, bool) {
	ref.UID, ref.APIVersion = "", ""
	best, found := placed{}, false
	for _, p := range r.sources[ref] {
		under := p.path == "" || path == p.path || strings.HasPrefix(path, p.path+"/")
		if under && (!found || len(p.path) > len(best.path)) {
			best, found = p, true
		}
	}
	return best.src, found
}

// Bounds of what is read.
const (
	maxFileBytes = 256 << 20
	maxBytes     = 1 << 30
	maxFiles     = 20000
	maxLogLines  = 5000
)

// ReadDir reads all files of a directory. The error is an *incident.Error: of KindNotFound when there is nothing to read,
// of KindTooLarge, or of KindMalformed when a bundle is damaged.
func ReadDir(fsys fs.FS, o Options) (*Recording, error) {
	r := newReader(o)
	var total int64
	files := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			r.leave(name, 0, 0, "cannot be read: "+err.Error())
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if files++; files > maxFiles {
			return incident.Errorf(incident.KindTooLarge, "read recording", "there are more than %d files", maxFiles)
		}
		f, err := fsys.Open(name)
		if err != nil {
			r.leave(name, 0, 0, "cannot be read: "+err.Error())
			return nil
		}
		defer f.Close()
		n, err := r.file(name, f)
		total += n
		if total > maxBytes {
			return incident.Errorf(incident.KindTooLarge, "read recording", "the files have more than %d bytes", int64(maxBytes))
		}
		return err
	})
	if err != nil {
		if known := new(incident.Error); errors.As(err, &known) {
			return nil, err
		}
		return nil, incident.Errorf(incident.KindMalformed, "read recording", "%w", err)
	}
	if files == 0 {
		return nil, incident.Errorf(incident.KindNotFound, "read recording", "the directory holds no file")
	}
	return r.finish(), nil
}

// ReadText reads one stream; name stands for it in sources. The error is an *incident.Error, as of ReadDir.
func ReadText(in io.Reader, name string, o Options) (*Recording, error) {
	r := newReader(o)
	if _, err := r.file(name, in); err != nil {
		return nil, err
	}
	return r.finish(), nil
}

// file reads one file, whatever it is.
func (r *reader) file(name string, in io.Reader) (int64, error) {
	body, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	if err != nil {
		r.leave(name, 0, 0, "cannot be read: "+err.Error())
		return 0, nil
	}
	size := int64(len(body))
	if size > maxFileBytes {
		return size, incident.Errorf(incident.KindTooLarge, "read recording", "%s has more than %d bytes", name, int64(maxFileBytes))
	}
	if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		snap, err := observe.Decode(body)
		if err == nil {
			r.bundle(name, snap)
			return size, nil
		}
		if path.Ext(name) == ".bundle" || strings.HasSuffix(name, ".json.gz") && strings.Contains(name, "bundle") {
			return size, err
		}
		zr, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, err = io.ReadAll(io.LimitReader(zr, maxFileBytes))
		}
		if err != nil {
			r.leave(name, 0, 0, "is compressed and damaged")
			return size, nil
		}
		name = strings.TrimSuffix(name, ".gz")
	}
	if isArchive(body) {
		return size, r.archive(name, body)
	}
	if i := bytes.IndexByte(body[:min(len(body), 8000)], 0); i >= 0 {
		r.leave(name, 0, 0, "is no text")
		return size, nil
	}
	r.text(name, string(body))
	return size, nil
}

// bundle takes over a snapshot that is complete and redacted.
func (r *reader) bundle(name string, snap *diagnose.Snapshot) {
	c := snap.Contents()
	for _, list := range [][]*diagnose.Object{c.Objects, c.Events} {
		for _, o := range list {
			p := &sighting{
				res: resource{apiVersion: o.Ref().APIVersion, kind: o.Ref().Kind, namespaced: o.Ref().Namespace != ""}, namespace: o.Ref().Namespace, known: true,
				name: o.Ref().Name, tree: cloneMap(o.Tree()), partial: o.Partial(), fields: o.Fields(), src: Source{name, 0, FormBundle},
			}
			r.see(p)
		}
	}
	for _, l := range c.Logs {
		r.logs = append(r.logs, &logPart{pod: l.Pod.Name, kind: l.Pod.Kind, namespace: l.Pod.Namespace, known: true, container: l.Container, previous: l.Previous, lines: slices.Clone(l.Lines), cut: l.Truncated, src: Source{name, 0, FormBundle}})
	}
	r.reads = append(r.reads, c.Reads...)
	r.gaps = append(r.gaps, c.Gaps...)
	r.redactions += c.Redactions
	if r.dated.Before(c.ObservedAt) {
		r.dated = c.ObservedAt
	}
}

func (r *reader) leave(file string, from, to int, reason string) {
	if n := len(r.leftover); n > 0 {
		last := &r.leftover[n-1]
		if last.File == file && last.Reason == reason && last.To+1 >= from && from > 0 {
			last.To = max(last.To, to)
			return
		}
	}
	r.leftover = append(r.leftover, Leftover{file, from, to, reason})
}

// reader gathers sightings.
type reader struct {
	o        Options
	files    []string
	objects  []*sighting
	events   []*sighting
	logs     []*logPart
	unowned  []looseEvents
	reads    []diagnose.Read
	pending  []*diagnose.Read // lists and gets in a namespace that is not known yet
	gaps     []diagnose.Gap
	hints    map[string]int // namespaces that were named, with how often
	leftover []Leftover
	nesting  int // of the archive that is being read

	dated      time.Time // a printed date, the latest
	newest     time.Time // the newest absolute time of a thing past
	redactions int
}

func newReader(o Options) *reader { return &reader{o: o, hints: map[string]int{}} }

// sighting is one object as one block of text shows it.
type sighting struct {
	res       resource
	namespace string
	known     bool // the namespace
	name      string
	tree      map[string]any
	partial   bool
	fields    []string // nil: the whole object
	age       time.Duration
	pod       *podRow // what a table says of a Pod's containers
	src       Source
	lines     map[string]int
}

func (r *reader) see(s *sighting) {
	if s.known && s.namespace != "" && s.src.Form != FormDerived {
		r.hints[s.namespace]++
	}
	if s.res.kind == "Event" {
		r.events = append(r.events, s)
		return
	}
	r.objects = append(r.objects, s)
}

// date notes an absolute time at which something had happened.
func (r *reader) date(t time.Time) {
	if t.After(r.newest) && t.Year() > 2014 && t.Year() < 2100 {
		r.newest = t
	}
}

func (s *sighting) String() string { return fmt.Sprintf("%s %s/%s", s.res.kind, s.namespace, s.name) }
