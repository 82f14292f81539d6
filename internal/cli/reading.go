package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/internal/observe/recorded"
)

// reading is what a command looks at: a snapshot, where it came from, and what is asked about it.
type reading struct {
	snapshot *diagnose.Snapshot
	incident incident.Incident
	body     []byte // the bundle
	digest   string
	origin   string              // for people
	took     time.Duration       // of reading a live cluster
	text     *recorded.Recording // set when it was pieced together from files
	stored   *collection         // set when it is one of ours
}

// standardInput stands for the name of a file.
const standardInput = "standard input"

// maxRecording bounds one file, or standard input.
const maxRecording = 1 << 30

// read reads what the flags and arguments of a command name.
func (c *command) read(ctx context.Context, f subjectFlags, args []string) (*reading, error) {
	s, err := parseSubject(args, f.cluster.namespace, f.all)
	if err != nil {
		return nil, &usageError{err: err}
	}
	var r *reading
	if f.bundle != "" {
		r, err = c.readRecording(f, s)
	} else {
		r, err = c.readCluster(ctx, f, s)
	}
	if err != nil {
		return nil, err
	}
	if err := r.seal(); err != nil {
		return nil, err
	}
	f.apply(&r.incident)
	if near := nearNames(r.snapshot, r.incident.Resource); len(near) > 0 {
		fmt.Fprintf(c.Err, "kubernaut: there is no %s; did you mean %s?\n", clean(r.incident.Resource.String()), clean(strings.Join(near, " or ")))
	}
	return r, nil
}

func (c *command) readCluster(ctx context.Context, f subjectFlags, s subject) (*reading, error) {
	if f.collectedAt != "" {
		return nil, &usageError{err: errors.New("--collected-at is for recordings: give --bundle as well")}
	}
	cl, err := c.cluster(f.cluster)
	if err != nil {
		return nil, err
	}
	p := newProgress(c.Err, c.err, false, c.clock)
	defer p.close()
	t := p.start("reading " + cl.name)
	ref, err := s.inCluster(ctx, cl.config, cl.namespace)
	if err != nil {
		t.drop()
		return nil, err
	}
	options := observe.Options{Config: cl.config, Cluster: cl.name, Clock: c.clock}
	if f.prometheus != "" {
		options.Prometheus = &observe.Prometheus{URL: f.prometheus}
	}
	live, err := observe.New(options)
	if err != nil {
		t.drop()
		return nil, err
	}
	t.update("%s", refName(ref))
	in := incident.Incident{Resource: ref}
	began := time.Now()
	snapshot, err := live.Observe(ctx, in)
	t.drop()
	if ctx.Err() != nil { // what was read so far decides nothing
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("cluster at %s: %w", cl.config.Host, err)
	}
	return &reading{snapshot: snapshot, incident: in, origin: "cluster " + cl.name, took: time.Since(began)}, nil
}

// readRecording reads what --bundle names, and finds in it what is asked about.
func (c *command) readRecording(f subjectFlags, s subject) (*reading, error) {
	r, err := c.readBundle(f)
	if err != nil {
		return nil, err
	}
	return r, r.ask(s)
}

// readBundle reads what --bundle names.
func (c *command) readBundle(f subjectFlags) (*reading, error) {
	if f.prometheus != "" {
		return nil, &usageError{err: errors.New("--prometheus is for clusters: leave it or --bundle out")}
	}
	o := recorded.Options{Namespace: f.cluster.namespace}
	if f.collectedAt != "" {
		at, err := time.Parse(time.RFC3339, f.collectedAt)
		if err != nil {
			return nil, &usageError{err: fmt.Errorf("--collected-at %q is no time such as 2026-03-02T12:00:00Z", f.collectedAt)}
		}
		o.CollectedAt = at
	}
	r, err := c.openRecording(f.bundle, o)
	if err != nil {
		return nil, err
	}
	return r, r.seal()
}

// ask sets what a recording is asked about.
func (r *reading) ask(s subject) (err error) {
	if r.stored != nil && s.everywhere() {
		r.incident = r.stored.manifest.Incident.incident()
		return nil
	}
	r.incident.Resource, err = s.inSnapshot(r.snapshot)
	return err
}

// seal makes the bundle of what was read, unless it was read from one.
func (r *reading) seal() (err error) {
	if r.body == nil {
		r.body, r.digest, err = observe.Encode(r.snapshot)
	}
	return err
}

// openRecording reads a collection, a bundle, or whatever else was kept of a cluster.
func (c *command) openRecording(path string, o recorded.Options) (*reading, error) {
	if path == "-" {
		body, err := io.ReadAll(io.LimitReader(c.In, maxRecording+1))
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return recording(standardInput, body, o)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		body, err := readFile(path)
		if err != nil {
			return nil, err
		}
		return recording(filepath.Base(path), body, o)
	}
	dir := os.DirFS(path)
	stored, err := openCollection(func(name string) ([]byte, error) { return fs.ReadFile(dir, name) })
	if err == nil {
		return stored.reading(path)
	}
	if !errors.Is(err, errNoCollection) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	text, err := recorded.ReadDir(dir, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &reading{snapshot: text.Snapshot, text: text, origin: path}, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxRecording+1))
	if err == nil && len(body) > maxRecording {
		err = fmt.Errorf("%s has more than %d bytes", path, maxRecording)
	}
	return body, err
}

// recording reads the bytes of one file.
func recording(name string, body []byte, o recorded.Options) (*reading, error) {
	stored, err := unpackCollection(body)
	if err == nil {
		return stored.reading(name)
	}
	if !errors.Is(err, errNoCollection) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if snapshot, err := observe.Decode(body); err == nil {
		return &reading{snapshot: snapshot, body: body, digest: observe.Digest(body), origin: name}, nil
	}
	text, err := recorded.ReadText(bytes.NewReader(body), name, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(text.Snapshot.Contents().Objects) == 0 && len(text.Snapshot.Contents().Events) == 0 && len(text.Snapshot.Contents().Logs) == 0 {
		return nil, fmt.Errorf("%s: nothing in it was understood; it takes what kubectl prints (get, describe, logs, events, -o yaml), must-gather, cluster-info dump, and what kubernaut collect writes", name)
	}
	return &reading{snapshot: text.Snapshot, text: text, origin: name}, nil
}

// refName names what is asked about, for people.
func refName(ref incident.Ref) string {
	if ref.Same(diagnose.WholeCluster) {
		return "the whole cluster"
	}
	return ref.String()
}
