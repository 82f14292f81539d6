package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// Image is an image that the engine holds and the nodes need.
type Image struct {
	// Ref is its name with a tag, as manifests have it.
	Ref string
	// ID is the engine's, in hex. Empty: not known, and then it is loaded in any case.
	ID string
}

// name is the image's name without registry and tag, for people.
func (i Image) name() string {
	name, _, _ := strings.Cut(i.Ref[strings.LastIndexByte(i.Ref, '/')+1:], ":")
	return name
}

// Load brings images to all nodes: each is saved once and streamed to the nodes that do not have it under its name with
// its id; then the node is asked for that id. The units of t are one for each archive, and one for each image on each node.
func (c *Cluster) Load(ctx context.Context, t *plan.Task, images []Image) error {
	c, k := c.with(t.Log)
	begin := time.Now()
	nodes, have, err := c.loaded(ctx, images)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "kubernaut-e2e-load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var saves, loads []plan.NamedUnit
	for i, img := range images {
		l := &loading{cluster: c, kind: k, task: t, image: img, file: filepath.Join(work, fmt.Sprintf("%d.tar", i))}
		if l.ref, err = image.ParseRef(img.Ref); err != nil {
			return err
		}
		before := len(loads)
		for j, node := range nodes {
			if img.ID == "" || have[j][l.ref.String()] != img.ID {
				loads = append(loads, l.onto(node))
			}
		}
		if len(loads) > before {
			saves = append(saves, plan.NamedUnit{Name: "save " + img.name(), Unit: plan.Unit{Do: func(ctx context.Context, _ int) error { return l.save(ctx) }, Cleanup: c.freeDisk}})
		}
	}
	if len(loads) == 0 {
		t.Note("nothing to load: all %d nodes have all %d images, by id", len(nodes), len(images))
		return nil
	}
	if err := t.All(ctx, len(nodes), saves...); err != nil {
		return err
	}
	if err := t.All(ctx, len(nodes), loads...); err != nil {
		return err
	}
	t.Note("%d images saved, %d of %d loads onto %d nodes done and verified by id in %s", len(saves), len(loads), len(images)*len(nodes), len(nodes), tenths(time.Since(begin)))
	return nil
}

// freeDisk removes old images of ours where a disk is full.
func (c *Cluster) freeDisk(ctx context.Context, f failure.Finding) (bool, error) {
	if f.Remedy != "remove-own-images" {
		return false, nil
	}
	removed, err := c.engine.Collect(ctx, engine.Keep{Images: 1, Refs: []string{c.c.Image}})
	return len(removed) > 0, err
}

// Loaded errs if a node lacks one of the images, or has another one under its name.
func (c *Cluster) Loaded(ctx context.Context, images []Image) error {
	nodes, have, err := c.loaded(ctx, images)
	if err != nil {
		return err
	}
	var wrong []error
	for _, img := range images {
		ref, err := image.ParseRef(img.Ref)
		if err != nil {
			return err
		}
		for j, node := range nodes {
			switch id := have[j][ref.String()]; {
			case id == "":
				wrong = append(wrong, fmt.Errorf("node %s does not have image %s", node, ref))
			case img.ID != "" && id != img.ID:
				wrong = append(wrong, fmt.Errorf("node %s has another image as %s: %s, not %s", node, ref, short(id), short(img.ID)))
			}
		}
	}
	return errors.Join(wrong...)
}

// short is the beginning of an id, for people.
func short(id string) string { return id[:min(len(id), 12)] }

// loaded asks every node what it has of images.
func (c *Cluster) loaded(ctx context.Context, images []Image) (nodes []string, have []onNode, err error) {
	if nodes, err = c.Nodes(ctx); err != nil {
		return nil, nil, err
	}
	if len(nodes) == 0 {
		return nil, nil, fmt.Errorf("no nodes found for cluster %q", c.c.Name)
	}
	refs := make([]string, len(images))
	for i, img := range images {
		ref, err := image.ParseRef(img.Ref)
		if err != nil {
			return nil, nil, err
		}
		refs[i] = ref.String()
	}
	have = make([]onNode, len(nodes))
	var asking errgroup.Group
	for i, node := range nodes {
		asking.Go(func() (err error) {
			have[i], err = c.onNode(ctx, node, refs)
			return err
		})
	}
	return nodes, have, asking.Wait()
}

// loading brings one image to nodes.
type loading struct {
	cluster *Cluster
	kind    kind
	task    *plan.Task
	image   Image
	ref     image.Ref
	file    string

	mu sync.Mutex
	id string // that the archive says
}

// save writes the archive, and reads it back. A load that reads an earlier one goes on doing so.
func (l *loading) save(ctx context.Context) (err error) {
	made := l.file + ".new"
	f, err := os.Create(made)
	if err != nil {
		return err
	}
	err = l.cluster.engine.Save(ctx, f, l.image.Ref)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	found, err := readArchive(made)
	if err != nil {
		return err
	}
	if !found.named(l.ref) {
		return failure.New(failure.Permanent, "F12", fmt.Sprintf("the archive of %s calls it %s", l.ref, strings.Join(found.names, ", ")), "")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = found.id
	return os.Rename(made, l.file)
}

// archive opens the archive and says which id the image has in it.
func (l *loading) archive() (*os.File, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.Open(l.file)
	return f, l.id, err
}

// onto is the unit that loads the image onto a node.
func (l *loading) onto(node string) plan.NamedUnit {
	return plan.NamedUnit{Name: l.image.name() + " on " + node, Unit: plan.Unit{
		Do:       func(ctx context.Context, attempt int) error { return l.load(ctx, node, attempt) },
		Evidence: func(ctx context.Context, dir string) { l.cluster.nodeEvidence(ctx, node, dir) },
		Cleanup: func(ctx context.Context, f failure.Finding) (bool, error) {
			switch f.Remedy {
			case "remove-own-images":
				return l.cluster.freeDisk(ctx, f)
			case "wait-for-runtime":
				return false, l.cluster.awaitEngine(ctx)
			}
			return l.again(ctx)
		},
	}}
}

// load is one attempt. What an earlier one was told to have failed may be there all the same.
func (l *loading) load(ctx context.Context, node string, attempt int) error {
	f, id, err := l.archive()
	if err != nil {
		return err
	}
	defer f.Close()
	if attempt > 1 {
		if have, err := l.cluster.onNode(ctx, node, []string{l.ref.String()}); err == nil && have[l.ref.String()] == id {
			fmt.Fprintf(l.task.Log, "%s has %s after all\n", node, l.ref)
			return nil
		}
	}
	if err := l.kind.importArchive(ctx, node, f); err != nil {
		return err
	}
	have, err := l.cluster.onNode(ctx, node, []string{l.ref.String()})
	if err != nil {
		return err
	}
	if have[l.ref.String()] != id {
		return fmt.Errorf("image %s was loaded but absent on %s: it has %q there, not %s", l.ref, node, short(have[l.ref.String()]), short(id))
	}
	return nil
}

// again saves the archive once more if it is not what it was.
func (l *loading) again(ctx context.Context) (changed bool, err error) {
	found, err := readArchive(l.file)
	l.mu.Lock()
	same := err == nil && found.id == l.id
	l.mu.Unlock()
	if same {
		return false, nil
	}
	return true, l.save(ctx)
}

// nodeEvidence saves what may explain a failed load: the images and the disks of the node, and the state of its container.
func (c *Cluster) nodeEvidence(ctx context.Context, node, dir string) {
	save := func(name string, write func(w io.Writer) error) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return
		}
		defer f.Close()
		if err := write(f); err != nil {
			fmt.Fprintln(f, err)
		}
	}
	run := func(args ...string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := c.engine.Exec(ctx, engine.Exec{Container: node, Args: args, Stdout: w, Deadline: 20 * time.Second, Quiet: true})
			return err
		}
	}
	save("images.txt", run("ctr", "--namespace=k8s.io", "images", "list"))
	save("disks.txt", run("df", "-h"))
	save("containerd.log", run("journalctl", "--no-pager", "--lines=200", "--unit=containerd.service"))
	save("container.json", func(w io.Writer) error {
		found, ok, err := c.engine.Container(ctx, node)
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("container %s found: %v", node, ok))
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(found)
	})
}
