package manifest

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

func TestRenderRefuses(t *testing.T) {
	for _, row := range []struct {
		name  string
		plant func(t *testing.T, p *plant)
		want  []string
	}{
		{
			"field that no type has",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/aianalysis/deployment.yaml", "containerPort: 8081", "containerport: 8081")
			},
			[]string{"Deployment aianalysis-controller", "containerport"},
		},
		{
			"resource that is not there",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/kustomization.yaml", "- node-leases.yaml", "- leases.yaml")
			},
			[]string{"leases.yaml"},
		},
		{
			"resource of elsewhere",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/kustomization.yaml", "- node-leases.yaml", "- ../../../etc/leases.yaml")
			},
			[]string{"leases.yaml"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := shipped(t)
			row.plant(t, p)
			_, err := Render(p.tree, p.dir, p.images)
			var typed failure.Typed
			if !errors.As(err, &typed) || typed.Finding().Class != failure.Permanent {
				t.Fatalf("got %v, want a permanent failure", err)
			}
			text := strings.Join(typed.Finding().Lines, "\n")
			for _, want := range row.want {
				if !strings.Contains(text, want) {
					t.Errorf("got lines %q, want %q among them", text, want)
				}
			}
			if strings.Contains(text, top+"/") {
				t.Errorf("the lines show where the tree lies in memory: %q", text)
			}
		})
	}
	t.Run("image without a tag", func(t *testing.T) {
		p := shipped(t)
		p.images["localhost/kubernaut-aianalysis"] = "localhost/kubernaut-aianalysis"
		if _, err := Render(p.tree, p.dir, p.images); err == nil || !strings.Contains(err.Error(), "want a name and a tag") {
			t.Errorf("got %v, want an error that says what is missing", err)
		}
	})
}

func TestRenderReplacesImages(t *testing.T) {
	p := shipped(t)
	p.postgres()
	p.images["localhost/kubernaut-datastorage"] = "registry.example.com:5000/team/kubernaut-datastorage:1"
	s, err := Render(p.tree, p.dir, p.images)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := Named[*appsv1.Deployment](s, "kubernaut-system", "datastorage")
	if got, want := d.Spec.Template.Spec.Containers[0].Image, p.images["localhost/kubernaut-datastorage"]; got != want {
		t.Errorf("Data Storage runs %s, want %s", got, want)
	}
	st, _ := Named[*appsv1.StatefulSet](s, "kubernaut-system", "postgres")
	if got, want := st.Spec.Template.Spec.Containers[0].Image, p.images["docker.io/library/postgres"]; got != want {
		t.Errorf("PostgreSQL runs %s, want %s", got, want)
	}
}

// TestRawIsInOrder wants each stage before the next, and nothing lost.
func TestRawIsInOrder(t *testing.T) {
	p := shipped(t)
	p.replace(t, "overlays/e2e/kustomization.yaml", "patches:", "sortOptions: {order: fifo}\npatches:")
	s, err := Render(p.tree, p.dir, p.images)
	if err != nil {
		t.Fatal(err)
	}
	raw := s.Raw()
	if len(raw) != len(s.Objects) {
		t.Errorf("got %d objects, want %d", len(raw), len(s.Objects))
	}
	for i := 1; i < len(raw); i++ {
		if StageOf(raw[i-1].GetKind()) > StageOf(raw[i].GetKind()) {
			t.Errorf("%s %s comes before %s %s", raw[i-1].GetKind(), raw[i-1].GetName(), raw[i].GetKind(), raw[i].GetName())
		}
	}
	if raw[0].GetKind() != "CustomResourceDefinition" || raw[1].GetKind() != "Namespace" {
		t.Errorf("the first two are %s and %s", raw[0].GetKind(), raw[1].GetKind())
	}
}
