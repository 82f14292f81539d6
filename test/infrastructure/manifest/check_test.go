package manifest

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

const key = "0123456789ab"

// images are what the harness puts for the names in the manifests.
func images() map[string]string {
	return map[string]string{
		"localhost/kubernaut-aianalysis":    "localhost/kubernaut-aianalysis:" + key,
		"localhost/kubernaut-holmesgpt-api": "localhost/kubernaut-holmesgpt-api:" + key,
		"localhost/kubernaut-datastorage":   "localhost/kubernaut-datastorage:" + key,
	}
}

// plant is a shipped set and what it has to agree with, before a fault is put in.
type plant struct {
	tree   fstest.MapFS // of deploy
	docker fstest.MapFS
	dir    string
	images map[string]string
	Expect
}

func shipped(t *testing.T) *plant {
	t.Helper()
	p := &plant{tree: fstest.MapFS{}, docker: fstest.MapFS{}, dir: "overlays/e2e", images: images()}
	for at, into := range map[string]fstest.MapFS{"../../../deploy": p.tree, "../../../docker": p.docker} {
		root := os.DirFS(at)
		err := fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := fs.ReadFile(root, name)
			into[name] = &fstest.MapFile{Data: text}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p.Expect = Expect{
		HostPorts:   map[int32]int32{8184: 30284, 9184: 30184, 8088: 30088, 8091: 30081, 8084: 30084},
		Reserved:    []int32{30084},
		Dockerfiles: p.docker,
	}
	for _, ref := range []string{"aianalysis", "holmesgpt-api", "datastorage"} {
		p.Images = append(p.Images, "localhost/kubernaut-"+ref+":"+key)
	}
	return p
}

// postgres turns to the second suite.
func (p *plant) postgres() {
	p.dir = "overlays/e2e-postgres"
	p.HostPorts, p.Reserved = map[int32]int32{28091: 30081}, nil
	p.images["docker.io/library/postgres"] = "localhost/kubernaut-e2e-postgres:" + key
	p.Images = append(p.Images, "localhost/kubernaut-e2e-postgres:"+key)
	p.Provided = []client.Object{&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kubernaut-system", Name: "datastorage-secret"},
		StringData: map[string]string{"password": "example", "secrets.yaml": "password: example\n"},
	}}
}

// replace edits a file of the manifests.
func (p *plant) replace(t *testing.T, file, from, to string) {
	t.Helper()
	edit(t, p.tree, file, from, to)
}

func edit(t *testing.T, tree fstest.MapFS, file, from, to string) {
	t.Helper()
	f, ok := tree[file]
	if !ok || !strings.Contains(string(f.Data), from) {
		t.Fatalf("%s does not have %q: the fault cannot be planted", file, from)
	}
	tree[file] = &fstest.MapFile{Data: []byte(strings.Replace(string(f.Data), from, to, 1))}
}

func (p *plant) check(t *testing.T) []failure.Finding {
	t.Helper()
	s, err := Render(p.tree, p.dir, p.images)
	if err != nil {
		t.Fatal(err)
	}
	err = Check(s, p.Expect)
	list := failure.ClassifyAll(t.Context(), "static", err, nil)
	for _, f := range list {
		if f.Class != failure.Permanent || f.Fix == "" || f.Retries != 0 {
			t.Errorf("%s: class %s, %d retries, fix %q: want a permanent one that says what to do", f.Summary, f.Class, f.Retries, f.Fix)
		}
	}
	return list
}

func TestWhatShipsIsClean(t *testing.T) {
	for _, row := range []struct {
		name string
		turn func(*plant)
	}{
		{"e2e", func(*plant) {}},
		{"e2e-postgres", (*plant).postgres},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := shipped(t)
			row.turn(p)
			for _, f := range p.check(t) {
				t.Errorf("%s\n  fix: %s\n  %s", f.Summary, f.Fix, strings.Join(f.Lines, "\n  "))
			}
		})
	}
}
