// Package recorded holds incidents that happened on a real cluster, each recorded in every form in which an engineer may meet
// it, with the verdict that was expected before any was given. Command lab stages and records them.
//
// A recording is a directory:
//
//	expect.yaml      what was asked and what is expected: a Header
//	bundle.gz        what a live analysis read
//	objects.yaml.gz  kubectl get -o yaml
//	text.txt.gz      what an engineer pastes, each output below its command line
//
// The package serves tests only.
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
	"testing/fstest"
	"time"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/internal/observe/recorded"
)

// Header is what was asked and what is expected.
type Header struct {
	Title string `json:"scenario"`
	// At is when it was recorded.
	At       string            `json:"at,omitempty"`
	Incident scenario.Incident `json:"incident"`
	Expect   Expect            `json:"expect"`
	// Lacks says of a form why it does not carry the evidence. Of such a form it is asked only that nothing else is blamed but
	// what the expectation names for it.
	Lacks map[Form]string `json:"lacks,omitempty"`
	// Note says what is peculiar about how it was brought about.
	Note string `json:"note,omitempty"`
}

// Expect is the expected verdict.
type Expect struct {
	Verdict diagnose.Verdict `json:"verdict,omitempty"` // default cause
	Class   string           `json:"class,omitempty"`
	// Target is as Ref.String has it.
	Target string `json:"target,omitempty"`
	// Others are classes of further causes that the verdict must name beside the first, which may be any of them: several faults
	// that have nothing to do with each other have no order.
	Others []string `json:"others,omitempty"`
	// Else are classes that may be blamed instead in a form that lacks the evidence: they are what the rest of it says.
	Else []string `json:"else,omitempty"`
	// MustNot are classes that must appear nowhere.
	MustNot []string `json:"mustNot,omitempty"`
}

// Validate errs when something is missing or contradicts itself.
func (h *Header) Validate() error {
	if h.Expect.Verdict == "" {
		h.Expect.Verdict = diagnose.VerdictCause
	}
	cause := h.Expect.Verdict == diagnose.VerdictCause
	switch {
	case h.Title == "":
		return errors.New("no title")
	case h.Incident.Kind == "" || h.Incident.Name == "":
		return errors.New("no resource is asked about")
	case cause != (h.Expect.Class != "") || cause != (h.Expect.Target != ""):
		return fmt.Errorf("verdict %s with class %q of target %q", h.Expect.Verdict, h.Expect.Class, h.Expect.Target)
	}
	for form := range h.Lacks {
		if !known(form) {
			return fmt.Errorf("lacks: form %q is not one of %v", form, Forms())
		}
	}
	return nil
}

// Form is a way to meet an incident.
type Form string

// The forms. Those without events are what is left of the incident an hour later.
const (
	Live         Form = "live"         // from the API
	LiveExpired  Form = "live-expired" // the same, when its events have expired
	YAML         Form = "yaml"         // objects as YAML, and logs
	YAMLExpired  Form = "yaml-expired" // the same without events
	Text         Form = "text"         // tables, descriptions, events and logs in one stream, with the command lines
	Bare         Form = "text-bare"    // the same without the command lines
	Folder       Form = "text-folder"  // the same, each output in a file that is named for what it is
	commandStart      = "$ "
)

// Forms lists the forms.
func Forms() []Form { return []Form{Live, LiveExpired, YAML, YAMLExpired, Text, Bare, Folder} }

func known(f Form) bool {
	return slices.Contains(Forms(), f)
}

// Case is one recording.
type Case struct {
	Header
	Name                  string
	bundle, objects, text []byte
}

// Load reads every recording of a directory, ordered by name.
func Load(fsys fs.FS, dir string) ([]*Case, error) {
	files, err := fs.Glob(fsys, path.Join(dir, "*", "expect.yaml"))
	if err != nil {
		return nil, err
	}
	var out []*Case
	for _, file := range files {
		c, err := Read(fsys, path.Dir(file))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Dir(file), err)
		}
		out = append(out, c)
	}
	return out, nil
}

// Read reads one recording.
func Read(fsys fs.FS, dir string) (*Case, error) {
	c := &Case{Name: path.Base(dir)}
	header, err := fs.ReadFile(fsys, path.Join(dir, "expect.yaml"))
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(header, &c.Header); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.bundle, err = fs.ReadFile(fsys, path.Join(dir, "bundle.gz")); err != nil {
		return nil, err
	}
	if c.objects, err = unzip(fsys, path.Join(dir, "objects.yaml.gz")); err != nil {
		return nil, err
	}
	c.text, err = unzip(fsys, path.Join(dir, "text.txt.gz"))
	return c, err
}

// largest bounds what a file may hold.
const largest = 64 << 20

func unzip(fsys fs.FS, name string) ([]byte, error) {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return io.ReadAll(io.LimitReader(z, largest))
}

// Input is the incident that was recorded.
func (c *Case) Input() incident.Incident {
	in := c.Incident
	return incident.Incident{
		ID: c.Name, RemediationID: c.Name, SignalType: in.Signal, Environment: in.Environment,
		Resource: incident.Ref{Kind: in.Kind, Namespace: in.Namespace, Name: in.Name},
	}
}

// Snapshot is what there is to know in a form.
func (c *Case) Snapshot(f Form) (*diagnose.Snapshot, error) {
	options := recorded.Options{Cluster: "recorded", Namespace: c.Incident.Namespace}
	var err error
	if f == YAML || f == YAMLExpired { // files have a date, as text with ages in it has not
		if options.CollectedAt, err = time.Parse(time.RFC3339, c.At); err != nil {
			return nil, err
		}
	}
	switch f {
	case Live, LiveExpired:
		snap, err := observe.Decode(c.bundle)
		if err != nil || f == Live {
			return snap, err
		}
		contents := snap.Contents()
		contents.Events = nil
		contents.Gaps = append(contents.Gaps, diagnose.Gap{Kind: incident.GapExpired, Subject: incident.Ref{Kind: "Event"}, What: "events", Reason: "no longer kept"})
		return diagnose.NewSnapshot(contents), nil
	case YAML, YAMLExpired:
		return fromFiles(c.files(f == YAMLExpired), options)
	case Folder:
		files := fstest.MapFS{}
		for n, b := range c.blocks() {
			files[b.file(n)] = &fstest.MapFile{Data: []byte(b.output)}
		}
		return fromFiles(files, options)
	case Text:
		return fromText(string(c.text), options)
	case Bare:
		var out strings.Builder
		for _, b := range c.blocks() {
			out.WriteString(b.output + "\n")
		}
		return fromText(out.String(), options)
	}
	return nil, fmt.Errorf("no form %q", f)
}

func fromFiles(files fstest.MapFS, o recorded.Options) (*diagnose.Snapshot, error) {
	r, err := recorded.ReadDir(files, o)
	if err != nil {
		return nil, err
	}
	return r.Snapshot, nil
}

func fromText(text string, o recorded.Options) (*diagnose.Snapshot, error) {
	r, err := recorded.ReadText(strings.NewReader(text), "ticket.txt", o)
	if err != nil {
		return nil, err
	}
	return r.Snapshot, nil
}
