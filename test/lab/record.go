package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/diagnose"
	domain "kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/test/scenarios/recorded"
)

// record records incidents that are staged, but for those that stand alone.
func record(ctx context.Context, l *lab, names []string) error {
	all, err := l.incidents(names)
	if err != nil {
		return err
	}
	if err := pause(ctx, l.settle); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(l.parallel)
	wrong := make([]error, len(all))
	for n, i := range all {
		if i.Alone && len(names) == 0 {
			continue
		}
		g.Go(func() error {
			wrong[n] = l.recordOne(ctx, i)
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(wrong...)
}

// recordOne records an incident in every form, once it has lasted long enough.
func (l *lab) recordOne(ctx context.Context, i *incident) error {
	s, drop, err := l.shell(i.namespace())
	if err != nil {
		return err
	}
	defer drop()
	fail := func(what string, err error) error {
		fmt.Fprintf(l.err, "%s: %s: %v\n", i.name, what, err)
		return fmt.Errorf("%s: %s: %w", i.name, what, err)
	}
	if err := l.ripen(ctx, s, i); err != nil {
		return fail("ripen", err)
	}
	bundle, at, err := l.observe(ctx, s, i)
	if err != nil {
		return fail("observe", err)
	}
	objects, err := l.objects(ctx, s, i)
	if err != nil {
		return fail("objects", err)
	}
	text, err := l.text(ctx, s, i)
	if err != nil {
		return fail("text", err)
	}
	header := i.Header
	header.At = at.UTC().Format(time.RFC3339)
	expect, err := yaml.Marshal(header)
	if err != nil {
		return err
	}
	dir := filepath.Join(l.recordings, i.name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for file, body := range map[string][]byte{"expect.yaml": expect, "bundle.gz": bundle, "objects.yaml.gz": zip(objects), "text.txt.gz": zip(text)} {
		if err := os.WriteFile(filepath.Join(dir, file), body, 0o600); err != nil {
			return err
		}
	}
	c, err := recorded.Read(os.DirFS(l.recordings), i.name)
	if err != nil {
		return err
	}
	l.tell(c)
	return nil
}

// ripen waits until the incident is old enough.
func (l *lab) ripen(ctx context.Context, s *shell, i *incident) error {
	age, err := i.age()
	if err != nil || i.Alone {
		return err
	}
	out, err := s.kubectl(ctx, "", "get", "namespace", i.namespace(), "-o", "jsonpath={.metadata.creationTimestamp}")
	if err != nil {
		return err
	}
	since, err := time.Parse(time.RFC3339, out)
	if err != nil {
		return err
	}
	return pause(ctx, age-time.Since(since))
}

// observe analyses live, as the product does, and returns what it read and when.
func (l *lab) observe(ctx context.Context, s *shell, i *incident) ([]byte, time.Time, error) {
	var config string
	for _, e := range s.env {
		if file, ok := strings.CutPrefix(e, "KUBECONFIG="); ok {
			config = file
		}
	}
	rest, err := clientcmd.BuildConfigFromFlags("", config)
	if err != nil {
		return nil, time.Time{}, err
	}
	live, err := observe.New(observe.Options{Config: rest, Cluster: "recorded"})
	if err != nil {
		return nil, time.Time{}, err
	}
	in := i.Incident
	snap, err := live.Observe(ctx, domain.Incident{
		ID: i.name, SignalType: in.Signal, Environment: in.Environment,
		Resource: domain.Ref{Kind: in.Kind, Namespace: in.Namespace, Name: in.Name},
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	body, _, err := observe.Encode(snap)
	if err != nil {
		return nil, time.Time{}, err
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, time.Time{}, err
	}
	text, err := io.ReadAll(z)
	return zip(l.scrub(string(text))), snap.Contents().ObservedAt, err
}

func zip(text string) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = z.Write([]byte(text))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(fmt.Sprintf("lab: gzip to memory: %v", err)) // which cannot fail
	}
	return out.Bytes()
}

// check diagnoses what is recorded.
func check(_ context.Context, l *lab, names []string) error {
	all, err := recorded.Load(os.DirFS(l.recordings), ".")
	if err != nil {
		return err
	}
	wrong := 0
	for _, c := range all {
		if len(names) > 0 && !strings.Contains(" "+strings.Join(names, " ")+" ", " "+c.Name+" ") {
			continue
		}
		wrong += l.tell(c)
	}
	if wrong > 0 {
		return fmt.Errorf("%d verdicts are not the expected ones", wrong)
	}
	return nil
}

// tell writes what a recording comes to, and returns how many forms of it come to something else than was expected.
func (l *lab) tell(c *recorded.Case) int {
	var lines []string
	wrong := 0
	for _, f := range recorded.Forms() {
		o, err := c.Diagnose(f)
		switch {
		case err != nil:
			wrong++
			lines = append(lines, fmt.Sprintf("  %-13s %v", f, err))
		case o.Wrong != "":
			wrong++
			lines = append(lines, fmt.Sprintf("  %-13s %s; got %s", f, o.Wrong, o.Got()))
			if f == recorded.Live || len(lines) == 1 {
				lines = append(lines, "                "+o.Result.Summary)
			}
		}
	}
	want := string(c.Expect.Verdict)
	if c.Expect.Verdict == diagnose.VerdictCause {
		want = c.Expect.Class + " of " + c.Expect.Target
	}
	fmt.Fprintf(l.out, "%-34s %d of %d forms: %s\n", c.Name, len(recorded.Forms())-wrong, len(recorded.Forms()), want)
	for _, line := range lines {
		fmt.Fprintln(l.out, line)
	}
	return wrong
}
