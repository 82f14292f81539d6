package infrastructure

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/test/infrastructure/cluster"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
	"kubernaut.ai/kubernaut/test/infrastructure/nodeimage"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
	"kubernaut.ai/kubernaut/test/infrastructure/preflight"
	"kubernaut.ai/kubernaut/test/infrastructure/rollout"
)

// The phases, in the order of the report.
const (
	phasePreflight = "preflight"
	phaseStatic    = "static"
	phaseNodeImage = "node-image"
	phaseBuild     = "build"
	phaseCluster   = "cluster"
	phaseLoad      = "load"
	phaseDeploy    = "deploy"
	phaseWait      = "wait"
	phaseHealth    = "health"
	phaseSpecs     = "specs"
	phaseCoverage  = "coverage"
	phaseGather    = "gather"
	phaseTeardown  = "teardown"
)

// Keys of facts.
const (
	factNodeImage = "nodeImage" // nodeimage.Image
	factImages    = "images"    // []cluster.Image, what is loaded
	factPassword  = "password"  // string, of the database in the cluster
)

// plan puts the phases together. locked is why the cluster's lock is not held, which the first phase then says.
func (h *Harness) plan(ctx context.Context, locked error) plan.Plan {
	overlap, reason := h.overlap(ctx, locked)
	clusterAfter := []string{phaseStatic, phaseNodeImage}
	if !overlap {
		clusterAfter = append(clusterAfter, phaseBuild)
	}
	all := []plan.Phase{
		{Name: phasePreflight, Deadline: 5 * time.Minute, Run: func(ctx context.Context, t *plan.Task) error { return h.preflight(ctx, t, locked) }},
		{Name: phaseStatic, After: []string{phasePreflight}, Deadline: 2 * time.Minute, Run: h.static},
		{Name: phaseNodeImage, After: []string{phaseStatic}, Deadline: 60 * time.Minute, Run: h.nodeImage},
		{Name: phaseBuild, After: []string{phaseStatic}, Deadline: 45 * time.Minute, Inputs: h.buildInputs, Verify: h.verifyBuilt, Run: h.build},
		{
			Name: phaseCluster, After: clusterAfter, Deadline: 15 * time.Minute, Stall: 6 * time.Minute,
			Inputs: h.clusterInputs, Verify: h.verifyCluster,
			Run: func(ctx context.Context, t *plan.Task) error {
				t.Note("%s", reason)
				return h.create(ctx, t)
			},
		},
		{Name: phaseLoad, After: []string{phaseBuild, phaseCluster}, Deadline: 20 * time.Minute, Inputs: h.buildInputs, Verify: h.verifyLoaded, Run: h.onCluster(h.load)},
		{Name: phaseDeploy, After: []string{phaseLoad}, Deadline: 15 * time.Minute, Run: h.onCluster(h.deploy, h.load)},
		{Name: phaseWait, After: []string{phaseDeploy}, Deadline: 20 * time.Minute, Run: h.onCluster(h.wait, h.load, h.deploy)},
		{Name: phaseHealth, After: []string{phaseWait}, Deadline: 3 * time.Minute, Run: h.health},
		{Name: phaseSpecs, After: []string{phaseHealth}, Deadline: 90 * time.Minute, Stall: 20 * time.Minute, Run: h.specs},
	}
	if h.coverage {
		all = append(all, plan.Phase{Name: phaseCoverage, After: []string{phaseSpecs}, Deadline: 10 * time.Minute, Run: h.collectCoverage})
	}
	all = append(all,
		plan.Phase{Name: phaseGather, Finally: true, Deadline: 5 * time.Minute, Run: h.gatherFailed},
		plan.Phase{Name: phaseTeardown, After: []string{phaseGather}, Finally: true, Deadline: 5 * time.Minute, Run: h.teardown},
	)
	if h.o.Faults != nil {
		for i, ph := range all {
			all[i].Run = func(ctx context.Context, t *plan.Task) error {
				h.o.Faults(ctx, ph.Name)
				return ph.Run(ctx, t)
			}
		}
	}
	return plan.Plan{Suite: h.Suite.Name, Cluster: h.Suite.Cluster, Phases: all}
}

// clusterMemory is what a cluster takes while it is created, as measured: half a gigabyte for the control plane's working
// set, a quarter for each worker, and as much again while kubeadm runs.
func clusterMemory(workers int) int64 { return int64(2+workers) * 2 * 256 << 20 }

// overlap decides whether images are built while the cluster is created.
func (h *Harness) overlap(ctx context.Context, locked error) (together bool, reason string) {
	if locked != nil {
		return false, ""
	}
	e, err := h.detect(ctx)
	if err != nil {
		return false, "" // the first phase says it
	}
	b := h.builder(e)
	targets, err := b.Targets(ctx, h.runner(nil), h.Suite.Images...)
	if err != nil {
		return false, fmt.Sprintf("images are built before the cluster is created: what they need is not known: %v", err)
	}
	need, err := b.Need(ctx, targets)
	if err != nil {
		return false, fmt.Sprintf("images are built before the cluster is created: what they need is not known: %v", err)
	}
	h.held = need == 0
	return image.Overlap(image.FreeMemory(), need, clusterMemory(h.Suite.Workers))
}

func (h *Harness) preflight(ctx context.Context, t *plan.Task, locked error) error {
	if locked != nil {
		return locked
	}
	e, err := h.detect(ctx)
	if err != nil {
		return err
	}
	for _, note := range e.Notes() {
		t.Note("%s", note)
	}
	host, err := h.hostOptions()
	if err != nil {
		return err
	}
	host.Engine = e.With(t.Log)
	notes, err := preflight.Check(ctx, host)
	for _, note := range notes {
		t.Note("%s", note)
	}
	return err
}

// imageRefs returns the references of the images of the overlay, by the names under which the manifests have them, as far as
// they are known before anything is built.
func (h *Harness) imageRefs(ctx context.Context, t *plan.Task, e *engine.Engine) (map[string]string, error) {
	targets, err := h.builder(e).Targets(ctx, t.Command(), h.Suite.Images...)
	if err != nil {
		return nil, err
	}
	refs := make(map[string]string)
	for _, target := range targets {
		if target.Counters { // a service
			refs[target.Repository()] = target.Ref.String()
		}
	}
	if h.Suite.Postgres != "" {
		refs[h.Suite.Postgres] = postgresPlanned
	}
	return refs, nil
}

// render renders the overlay with the images of this run, checks it, and returns it.
func (h *Harness) render(refs map[string]string) (*manifest.Set, error) {
	set, err := manifest.Render(os.DirFS(h.deployDir()), h.Suite.Overlay, refs)
	if err != nil {
		return nil, err
	}
	images := make([]string, 0, len(refs))
	for _, ref := range refs {
		images = append(images, ref)
	}
	return set, manifest.Check(set, manifest.Expect{
		Images: images, HostPorts: h.Suite.Ports, Reserved: h.Suite.Reserved, Provided: h.provided(),
		Dockerfiles: os.DirFS(filepath.Join(h.root, "docker")),
	})
}

func (h *Harness) static(ctx context.Context, t *plan.Task) error {
	e, err := h.detect(ctx)
	if err != nil {
		return err
	}
	refs, err := h.imageRefs(ctx, t, e)
	if err != nil {
		return err
	}
	set, err := h.render(refs)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.Log, "%d objects, all checks passed\n", len(set.Objects))
	return nil
}

func (h *Harness) nodeImage(ctx context.Context, t *plan.Task) error {
	e, err := h.detect(ctx)
	if err != nil {
		return err
	}
	var img nodeimage.Image
	err = t.Unit(ctx, "node image", plan.Unit{Do: func(ctx context.Context, _ int) error {
		img, err = nodeimage.Ensure(ctx, h.nodeImageOptions(e, t))
		return err
	}})
	if err != nil {
		return err
	}
	t.Note("node image %s, %s: %s", img.Ref, img.Origin, img.Why)
	return t.Facts.Set(factNodeImage, img)
}

func (h *Harness) nodeImageOptions(e *engine.Engine, t *plan.Task) nodeimage.Options {
	return nodeimage.Options{
		Runtime: string(e.Kind()), Command: h.runner(t), Env: h.o.Getenv, Source: h.root,
		Progress: nodeimage.NewDisplay(t.Log, false, h.o.Clock).Show, Now: h.o.Clock,
	}
}

func (h *Harness) buildInputs(ctx context.Context) (string, error) {
	e, err := h.detect(ctx)
	if err != nil {
		return "", err
	}
	targets, err := h.builder(e).Targets(ctx, h.runner(nil), h.Suite.Images...)
	if err != nil {
		return "", err
	}
	keys := []string{h.Suite.Postgres}
	for _, t := range targets {
		keys = append(keys, t.Ref.String())
	}
	return digest(keys)
}

func (h *Harness) build(ctx context.Context, t *plan.Task) error {
	e, err := h.detect(ctx)
	if err != nil {
		return err
	}
	compile := sync.OnceValue(func() error { return h.compileSpecs(ctx, t) })
	if h.held { // there is nothing to wait for, nor any memory to share
		var beside sync.WaitGroup
		beside.Go(func() { _ = compile() }) // which is asked again below
		defer beside.Wait()
	}
	built, err := h.builder(e).Build(ctx, t, h.Suite.Images...)
	if err != nil {
		return err
	}
	images := make([]cluster.Image, 0, len(built)+1)
	for _, b := range built {
		images = append(images, cluster.Image{Ref: b.Ref.String(), ID: b.ID})
	}
	if h.Suite.Postgres != "" {
		img, err := h.postgres(ctx, t, e)
		if err != nil {
			return err
		}
		images = append(images, img)
	}
	if err := compile(); err != nil {
		return err
	}
	return t.Facts.Set(factImages, images)
}

// verifyBuilt checks that the engine still holds the images.
func (h *Harness) verifyBuilt(ctx context.Context, f *plan.Facts) error {
	e, err := h.detect(ctx)
	if err != nil {
		return err
	}
	images, err := loaded(f)
	if err != nil {
		return err
	}
	for _, want := range images {
		got, ok, err := e.Image(ctx, want.Ref)
		if err != nil {
			return err
		}
		if !ok || got.ID != want.ID {
			return fmt.Errorf("%s does not hold image %s any more", e.Kind(), want.Ref)
		}
	}
	return h.specsCompiled()
}

// loaded are the images of the build phase.
func loaded(f *plan.Facts) ([]cluster.Image, error) {
	var images []cluster.Image
	ok, err := f.Get(factImages, &images)
	if err == nil && !ok {
		err = errors.New("no images are recorded")
	}
	return images, err
}

// open returns the cluster as it is configured.
func (h *Harness) open(ctx context.Context, f *plan.Facts) (*cluster.Cluster, error) {
	e, err := h.detect(ctx)
	if err != nil {
		return nil, err
	}
	return h.cluster(e, f)
}

func (h *Harness) cluster(e *engine.Engine, f *plan.Facts) (*cluster.Cluster, error) {
	var img nodeimage.Image
	if f != nil {
		if _, err := f.Get(factNodeImage, &img); err != nil {
			return nil, err
		}
	}
	kubeconfig, err := h.Kubeconfig()
	if err != nil {
		return nil, err
	}
	return cluster.New(e, cluster.Config{
		Name: h.Suite.Cluster, Image: img.Ref, Kubeconfig: kubeconfig, Workers: h.Suite.Workers, Ports: h.Suite.Ports,
	})
}

func (h *Harness) clusterInputs(context.Context) (string, error) {
	return digest([]any{h.Suite.Cluster, h.Suite.Workers, h.Suite.Ports, h.o.Getenv(nodeimage.EnvNodeImage)})
}

func (h *Harness) verifyCluster(ctx context.Context, f *plan.Facts) error {
	c, err := h.open(ctx, f)
	if err != nil {
		return err
	}
	return c.Check(ctx)
}

func (h *Harness) create(ctx context.Context, t *plan.Task) error {
	return h.createCluster(ctx, t, h.o.Getenv(envFresh) == "true" || h.o.Getenv("CI") == "true")
}

// createCluster makes the cluster; one that is there is used again unless a fresh one is wanted.
func (h *Harness) createCluster(ctx context.Context, t *plan.Task, fresh bool) error {
	c, err := h.open(ctx, t.Facts)
	if err != nil {
		return err
	}
	sysctls, err := h.sysctls()
	if err != nil {
		return err
	}
	if err := nodeimage.SaveSysctls(sysctls); err != nil {
		return err
	}
	return c.Create(ctx, t, fresh)
}

// sysctls is where the settings of this machine are kept that nodes change. All clusters share it, those on other state
// directories too: a second record would be one of settings that the first's nodes have changed.
func (h *Harness) sysctls() (string, error) {
	usual, err := engine.StateDir(func(string) string { return "" })
	return filepath.Join(usual, "sysctls.json"), err
}

func (h *Harness) load(ctx context.Context, t *plan.Task) error {
	c, err := h.open(ctx, t.Facts)
	if err != nil {
		return err
	}
	images, err := loaded(t.Facts)
	if err != nil {
		return err
	}
	refs := make([]string, len(images))
	for i, img := range images {
		refs[i] = img.Ref
	}
	h.remember(refs)
	return c.Load(ctx, t, images)
}

func (h *Harness) verifyLoaded(ctx context.Context, f *plan.Facts) error {
	c, err := h.open(ctx, f)
	if err != nil {
		return err
	}
	images, err := loaded(f)
	if err != nil {
		return err
	}
	return c.Loaded(ctx, images)
}

// restConfig is how to reach the cluster's API server.
func (h *Harness) restConfig() (*rest.Config, error) {
	kubeconfig, err := h.Kubeconfig()
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, failure.With(err, failure.Finding{
			Class: failure.Stale, Summary: fmt.Sprintf("kubeconfig %s cannot be used: %v", kubeconfig, err), Fix: "`e2e down " + h.Suite.Name + "`, then run again",
		})
	}
	config.QPS = -1 // the API server has limits of its own
	return config, nil
}

// connect returns the cluster as a place to deploy to.
func (h *Harness) connect() (*rollout.Cluster, error) {
	config, err := h.restConfig()
	if err != nil {
		return nil, err
	}
	return rollout.Connect(config)
}

func (h *Harness) health(ctx context.Context, t *plan.Task) error {
	if err := rollout.Health(ctx, h.Suite.Endpoints, rollout.HealthOptions{Log: t.Log, Patience: h.Suite.Patience}); err != nil {
		return err
	}
	return h.writeTarget(t.Facts, filepath.Join(h.dir, targetFile))
}

// digest is a hash over any value with a JSON form.
func digest(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
