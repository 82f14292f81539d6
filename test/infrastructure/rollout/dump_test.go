package rollout

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func TestDump(t *testing.T) {
	w := newWorld(t)
	w.kubelet(map[string]string{"web": "this run\n", "web previous": "the run before\n"}, "localhost/web:1")
	w.deploy(deployment)
	w.deploy("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: do-not-show}\n")
	p := w.pod(anyPod)
	w.report(p, waits("web", "CrashLoopBackOff", "back-off", 2, &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error", Message: "last words"}))
	w.happen(p, "BackOff", "Back-off restarting failed container")
	dir := t.TempDir()
	if err := w.Dump(w.ctx(), dir, w.namespace); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{
		"nodes.txt":                            {w.node, "image localhost/web:1"},
		"pods.txt":                             {"pod " + p.Name, "now: waiting, CrashLoopBackOff: back-off", "before: container web ended with exit code 3 (Error): last words", "restarts 2"},
		"events.txt":                           {"Warning  Pod " + p.Name + "  BackOff (3 times): Back-off restarting failed container"},
		"conditions.txt":                       {"Deployment web, generation 1", "Available=False"},
		"logs/" + p.Name + "_web.log":          {"this run"},
		"logs/" + p.Name + "_web.previous.log": {"the run before"},
		"objects/deployments.apps.yaml":        {"name: web"},
		"objects/pods.yaml":                    {"name: " + p.Name},
	} {
		at := filepath.Join(dir, w.namespace, file)
		if file == "nodes.txt" {
			at = filepath.Join(dir, file)
		}
		text, err := os.ReadFile(at)
		if err != nil {
			t.Error(err)
		}
		for _, line := range want {
			if !strings.Contains(string(text), line) {
				t.Errorf("%s: got %q, want %q in it", file, text, line)
			}
		}
	}
	err := filepath.WalkDir(dir, func(file string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		if strings.Contains(string(text), "do-not-show") || strings.Contains(string(text), "ZG8tbm90LXNob3c") {
			t.Errorf("%s shows a Secret's value", file)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDumpOfADeadCluster wants the dump to say what it could not read, in its error and in its place.
func TestDumpOfADeadCluster(t *testing.T) {
	c, err := Connect(&rest.Config{Host: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := c.Dump(t.Context(), dir, metav1.NamespaceDefault); err == nil || !strings.Contains(err.Error(), "dump pods of default: ") {
		t.Errorf("got %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, metav1.NamespaceDefault, "pods.txt"))
	if err != nil || !strings.Contains(string(text), "connection refused") {
		t.Errorf("pods.txt: got %q, %v", text, err)
	}
}
