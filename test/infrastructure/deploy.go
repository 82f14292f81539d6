package infrastructure

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/test/infrastructure/cluster"
	"kubernaut.ai/kubernaut/test/infrastructure/coverage"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
	"kubernaut.ai/kubernaut/test/infrastructure/nodeimage"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
	"kubernaut.ai/kubernaut/test/infrastructure/rollout"
)

const (
	namespace = "kubernaut-system"
	// postgresPlanned stands for PostgreSQL's image until it is there.
	postgresPlanned = "localhost/kubernaut-e2e-postgres:planned"
)

// databaseSecret is what the PostgreSQL overlay leaves to whom applies it.
func databaseSecret(password string) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "datastorage-secret"},
		StringData: map[string]string{"password": password, "secrets.yaml": "password: " + password + "\n"},
	}
}

// provided are the objects that are made when the overlay is applied.
func (h *Harness) provided() []client.Object {
	if h.Suite.Postgres == "" {
		return nil
	}
	secret := databaseSecret("chosen-when-deployed")
	secret.Data = map[string][]byte{}
	for key, value := range secret.StringData {
		secret.Data[key] = []byte(value)
	}
	return []client.Object{secret}
}

// postgres makes sure that there is an image of PostgreSQL.
func (h *Harness) postgres(ctx context.Context, t *plan.Task, e *engine.Engine) (cluster.Image, error) {
	official, err := h.officialPostgres()
	if err != nil {
		return cluster.Image{}, err
	}
	var img nodeimage.Image
	err = t.Unit(ctx, "postgres image", plan.Unit{Do: func(ctx context.Context, _ int) error {
		img, err = nodeimage.EnsurePostgres(ctx, official, h.nodeImageOptions(e, t))
		return err
	}})
	if err != nil {
		return cluster.Image{}, err
	}
	t.Note("PostgreSQL image %s, %s: %s", img.Ref, img.Origin, img.Why)
	held, ok, err := e.Image(ctx, img.Ref)
	if err != nil {
		return cluster.Image{}, err
	}
	if !ok {
		return cluster.Image{}, fmt.Errorf("%s does not hold image %s, which was just made", e.Kind(), img.Ref)
	}
	return cluster.Image{Ref: img.Ref, ID: held.ID}, nil
}

// officialPostgres is the image that the manifests name.
func (h *Harness) officialPostgres() (string, error) {
	set, err := manifest.Render(os.DirFS(h.deployDir()), h.Suite.Overlay, nil)
	if err != nil {
		return "", err
	}
	for _, w := range set.Workloads() {
		for _, c := range w.Template.Spec.Containers {
			if strings.HasPrefix(c.Image, h.Suite.Postgres+":") {
				return c.Image, nil
			}
		}
	}
	return "", fmt.Errorf("overlay %s runs no image %s", h.Suite.Overlay, h.Suite.Postgres)
}

// objects renders what is deployed, with the images that were loaded.
func (h *Harness) objects(f *plan.Facts) ([]*unstructured.Unstructured, []string, error) {
	images, err := loaded(f)
	if err != nil {
		return nil, nil, err
	}
	refs, all := make(map[string]string), make([]string, len(images))
	for i, img := range images {
		all[i] = img.Ref
		ref, err := image.ParseRef(img.Ref)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case ref.Name == image.Workload().Repository():
		case h.Suite.Postgres != "" && i == len(images)-1:
			refs[h.Suite.Postgres] = img.Ref
		default:
			refs[ref.Name] = img.Ref
		}
	}
	set, err := h.render(refs)
	if err != nil {
		return nil, nil, err
	}
	objects := set.Raw()
	if h.coverage {
		if objects, err = coverage.Instrument(objects); err != nil {
			return nil, nil, err
		}
	}
	return objects, all, nil
}

func (h *Harness) deploy(ctx context.Context, t *plan.Task) error {
	c, err := h.connect()
	if err != nil {
		return err
	}
	objects, _, err := h.objects(t.Facts)
	if err != nil {
		return err
	}
	if h.Suite.Postgres != "" {
		var password string
		if ok, err := t.Facts.Get(factPassword, &password); err != nil {
			return err
		} else if !ok {
			password = rand.Text()
			if err := t.Facts.Set(factPassword, password); err != nil {
				return err
			}
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(databaseSecret(password))
		if err != nil {
			return err
		}
		objects = append(objects, &unstructured.Unstructured{Object: content})
	}
	return c.Apply(ctx, t, objects)
}

func (h *Harness) wait(ctx context.Context, t *plan.Task) error {
	c, err := h.connect()
	if err != nil {
		return err
	}
	objects, images, err := h.objects(t.Facts)
	if err != nil {
		return err
	}
	h.remember(images)
	return t.Unit(ctx, "workloads", plan.Unit{
		Do: func(ctx context.Context, _ int) error {
			return c.Wait(ctx, objects, rollout.WaitOptions{Log: t.Log, Loaded: images})
		},
		Evidence: func(ctx context.Context, dir string) {
			if err := c.Dump(ctx, dir, namespace); err != nil {
				fmt.Fprintf(t.Log, "not all of the evidence could be had: %v\n", err)
			}
		},
		Cleanup: h.reload(t), Deadline: 10 * time.Minute,
	})
}

// writeTarget writes where the cluster is, for the specifications.
func (h *Harness) writeTarget(f *plan.Facts, file string) error {
	target, err := h.target(f)
	if err != nil {
		return err
	}
	content, err := json.MarshalIndent(target, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(content, '\n'), 0o600)
}

// reload loads images again that a node lost.
func (h *Harness) reload(t *plan.Task) func(context.Context, failure.Finding) (bool, error) {
	return func(ctx context.Context, f failure.Finding) (bool, error) {
		if f.Remedy != "reload-image" {
			return false, nil
		}
		return true, h.load(ctx, t)
	}
}
