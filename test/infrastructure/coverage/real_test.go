package coverage

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/test/infrastructure/cluster"
	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
	"kubernaut.ai/kubernaut/test/infrastructure/rollout"
)

// TestCollect deploys what ships, with counters, on a cluster, and collects them.
func TestCollect(t *testing.T) {
	node := os.Getenv("E2E_NODE_IMAGE")
	if testing.Short() || node == "" {
		t.Skip("makes a cluster: wants E2E_NODE_IMAGE, and no -short")
	}
	state := t.TempDir()
	e, err := engine.Detect(t.Context(), command.Runner{}, engine.Host{StateDir: state, Network: engine.OwnNetwork(state), Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range e.Env() { // creating a cluster sets these; they must not outlive the state directory
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
	root := filepath.Join("..", "..", "..")
	config := cluster.Config{Name: "try-images", Image: node, Kubeconfig: filepath.Join(t.TempDir(), "config"), Workers: 1}
	c, err := cluster.New(e, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if _, err := e.RemoveNetwork(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})

	var objects []*unstructured.Unstructured
	var images []cluster.Image
	var client kubernetes.Interface
	var deployed *rollout.Cluster
	var summary Summary
	out := t.TempDir()
	phases := []plan.Phase{
		{Name: "build", Run: func(ctx context.Context, task *plan.Task) error {
			b := &image.Builder{Root: root, StateDir: t.TempDir(), Engine: e, Coverage: true}
			built, err := b.Build(ctx, task, image.Services()...)
			if err != nil {
				return err
			}
			refs := make(map[string]string)
			for _, i := range built {
				images = append(images, cluster.Image{Ref: i.Ref.String(), ID: i.ID})
				refs[i.Repository()] = i.Ref.String()
			}
			set, err := manifest.Render(os.DirFS(filepath.Join(root, "deploy")), "overlays/e2e", refs)
			if err != nil {
				return err
			}
			objects, err = Instrument(set.Raw())
			return err
		}},
		{Name: "cluster", After: []string{"build"}, Run: func(ctx context.Context, task *plan.Task) error { return c.Create(ctx, task, false) }},
		{Name: "load", After: []string{"cluster"}, Run: func(ctx context.Context, task *plan.Task) error { return c.Load(ctx, task, images) }},
		{Name: "deploy", After: []string{"load"}, Run: func(ctx context.Context, task *plan.Task) error {
			rest, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
			if err != nil {
				return err
			}
			if client, err = kubernetes.NewForConfig(rest); err != nil {
				return err
			}
			if deployed, err = rollout.Connect(rest); err != nil {
				return err
			}
			return deployed.Apply(ctx, task, objects)
		}},
		{Name: "wait", After: []string{"deploy"}, Run: func(ctx context.Context, task *plan.Task) error {
			return deployed.Wait(ctx, objects, rollout.WaitOptions{Log: task.Log})
		}},
		{Name: "coverage", After: []string{"wait"}, Run: func(ctx context.Context, task *plan.Task) error {
			services, err := Services(objects)
			if err != nil {
				return err
			}
			summary, err = Collect(ctx, task, Options{Engine: e, Client: client, Cluster: config.Name, Services: services, Root: root, Out: out})
			return err
		}},
	}
	result, err := plan.Run(t.Context(), plan.Plan{Suite: "coverage", Cluster: config.Name, Phases: phases}, plan.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range result.Phases {
		t.Logf("%s %s in %s: %s", p.Name, p.Status, p.Duration, strings.Join(p.Notes, "; "))
		if p.Status != plan.Passed {
			log, _ := os.ReadFile(filepath.Join(p.Dir, "log.txt"))
			t.Fatalf("%+v\n%s", p.Findings, log[max(0, len(log)-8000):])
		}
	}
	table, err := os.ReadFile(summary.Table)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s", &summary, table)
	if len(summary.Services) != len(image.Services()) {
		t.Errorf("got services %v, want all %d", summary.Services, len(image.Services()))
	}
	for _, pkg := range []string{"cmd/aianalysis", "cmd/holmesgpt-api", "cmd/datastorage", "internal/controller", "internal/store"} {
		if got := summary.Packages[module+"/"+pkg][endToEnd]; got.Covered == 0 {
			t.Errorf("%s: got %v, want what starting and ending executes", pkg, got)
		}
	}
	list, err := client.AppsV1().Deployments("kubernaut-system").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list.Items {
		if *d.Spec.Replicas == 0 {
			t.Errorf("Deployment %s is not started again", d.Name)
		}
	}
}
