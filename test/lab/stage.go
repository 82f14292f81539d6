package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"
)

const youngest = 3 * time.Minute

// common brings what incidents share: the registry that has nothing.
func (l *lab) common(ctx context.Context) error {
	s, drop, err := l.shell("default")
	if err != nil {
		return err
	}
	defer drop()
	_, err = s.kubectl(ctx, registryObjects, "apply", "-f", "-")
	return err
}

const registryObjects = `apiVersion: apps/v1
kind: DaemonSet
metadata: {name: registry-cache, namespace: kube-system, labels: {app: registry-cache}}
spec:
  selector: {matchLabels: {app: registry-cache}}
  template:
    metadata: {labels: {app: registry-cache}}
    spec:
      hostNetwork: true
      tolerations: [{operator: Exists}]
      containers:
      - name: registry
        image: registry.example.com/platform/tools:2.0.1
        args: ["registry=127.0.0.1:30500"]
        resources: {requests: {cpu: 5m, memory: 16Mi}}
`

// stage stages incidents, and records those that stand alone.
func stage(ctx context.Context, l *lab, names []string) error {
	all, err := l.incidents(names)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(l.parallel)
	wrong := make([]error, len(all))
	for n, i := range all {
		if i.Alone {
			continue
		}
		g.Go(func() error {
			wrong[n] = l.stageOne(ctx, i)
			return nil
		})
	}
	_ = g.Wait()
	for n, i := range all {
		if i.Alone && ctx.Err() == nil {
			wrong[n] = l.standAlone(ctx, i)
		}
	}
	return errors.Join(wrong...)
}

// stageOne brings an incident about.
func (l *lab) stageOne(ctx context.Context, i *incident) error {
	s, drop, err := l.shell(i.namespace())
	if err != nil {
		return err
	}
	defer drop()
	began := time.Now()
	fail := func(step string, err error) error {
		fmt.Fprintf(l.err, "%s: %s: %v\n", i.name, step, err)
		return fmt.Errorf("%s: %s: %w", i.name, step, err)
	}
	spaces := map[string]map[string]string{i.namespace(): nil}
	maps.Copy(spaces, i.Namespaces)
	for space, labels := range spaces {
		text, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": space, "labels": labels}})
		if err != nil {
			return err
		}
		if _, err := s.kubectl(ctx, string(text), "apply", "-f", "-"); err != nil {
			return fail("namespace", err)
		}
	}
	if i.Before != "" {
		if _, err := s.run(ctx, i.Before); err != nil {
			return fail("before", err)
		}
	}
	var docs []string
	for _, o := range i.objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			return err
		}
		docs = append(docs, string(text))
	}
	if len(docs) > 0 {
		if _, err := s.kubectl(ctx, strings.Join(docs, "---\n"), "apply", "-f", "-"); err != nil {
			return fail("apply", err)
		}
	}
	if i.After != "" {
		if _, err := s.run(ctx, i.After); err != nil {
			return fail("after", err)
		}
	}
	fmt.Fprintf(l.out, "%s: staged in %s\n", i.name, time.Since(began).Round(time.Second))
	return nil
}

// standAlone stages an incident, records it, and takes it away again.
func (l *lab) standAlone(ctx context.Context, i *incident) error {
	if err := l.stageOne(ctx, i); err != nil {
		return errors.Join(err, l.unstageOne(ctx, i))
	}
	age, err := i.age()
	if err != nil {
		return err
	}
	if err := pause(ctx, age); err != nil {
		return errors.Join(err, l.unstageOne(context.WithoutCancel(ctx), i))
	}
	err = l.recordOne(ctx, i)
	if l.keep {
		return err
	}
	return errors.Join(err, l.unstageOne(ctx, i))
}

// age is how long the incident must last.
func (i *incident) age() (time.Duration, error) {
	if i.Age != "" {
		return time.ParseDuration(i.Age)
	}
	if i.Alone {
		return 0, nil
	}
	return youngest, nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unstage removes what was staged.
func unstage(ctx context.Context, l *lab, names []string) error {
	all, err := l.incidents(names)
	if err != nil {
		return err
	}
	for _, i := range all {
		err = errors.Join(err, l.unstageOne(ctx, i))
	}
	return err
}

func (l *lab) unstageOne(ctx context.Context, i *incident) error {
	s, drop, err := l.shell(i.namespace())
	if err != nil {
		return err
	}
	defer drop()
	if i.Undo != "" {
		if _, err := s.run(ctx, i.Undo); err != nil {
			return fmt.Errorf("%s: undo: %w", i.name, err)
		}
	}
	spaces := []string{i.namespace()}
	for space := range i.Namespaces {
		if space != i.namespace() {
			spaces = append(spaces, space)
		}
	}
	_, err = s.kubectl(ctx, "", append([]string{"delete", "namespace", "--ignore-not-found", "--wait=false"}, spaces...)...)
	return err
}
