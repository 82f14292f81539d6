package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// fakeCluster is an API server that knows AIAnalysis, and a Data Storage behind its Service proxy.
type fakeCluster struct {
	items  []v1alpha1.AIAnalysis
	broken string // correlation id whose chain is
	absent string // correlation id that has no events
	status int    // when set, every answer
}

func (f *fakeCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	const proxy = "/api/v1/namespaces/kubernaut-system/services/http:datastorage:8080/proxy"
	const root = "/apis/kubernaut.ai/v1alpha1"
	switch path, found := strings.CutPrefix(r.URL.Path, root); {
	case f.status != 0:
		fail(w, f.status, "")
	case strings.HasPrefix(r.URL.Path, proxy+"/api/v1/audit/verify"):
		id := r.FormValue("correlation_id")
		if id == f.absent {
			fail(w, http.StatusNotFound, "")
			return
		}
		answer := map[string]any{"correlation_id": id, "events": 9, "valid": id != f.broken, "head": strings.Repeat("ab", 32)}
		if id == f.broken {
			answer["broken_at"], answer["problem"] = 4, "the hash of the event does not match"
		}
		json.NewEncoder(w).Encode(answer)
	case !found:
		fail(w, http.StatusNotFound, "")
	default:
		f.serveAnalyses(w, path)
	}
}

func (f *fakeCluster) serveAnalyses(w http.ResponseWriter, path string) {
	namespace, name := "", ""
	if rest, ok := strings.CutPrefix(path, "/namespaces/"); ok {
		namespace, rest, _ = strings.Cut(rest, "/")
		name = strings.TrimPrefix(strings.TrimPrefix(rest, "aianalyses"), "/")
	}
	list := v1alpha1.AIAnalysisList{TypeMeta: metav1.TypeMeta{APIVersion: "kubernaut.ai/v1alpha1", Kind: "AIAnalysisList"}}
	for _, a := range f.items {
		if namespace != "" && a.Namespace != namespace {
			continue
		}
		if name == a.Name {
			a.APIVersion, a.Kind = "kubernaut.ai/v1alpha1", "AIAnalysis"
			json.NewEncoder(w).Encode(a)
			return
		}
		list.Items = append(list.Items, a)
	}
	if name != "" {
		fail(w, http.StatusNotFound, name)
		return
	}
	json.NewEncoder(w).Encode(list)
}

func fail(w http.ResponseWriter, code int, name string) {
	w.WriteHeader(code)
	reasons := map[int]metav1.StatusReason{404: metav1.StatusReasonNotFound, 403: metav1.StatusReasonForbidden}
	json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Reason: reasons[code],
		Message: "refused by the test", Details: &metav1.StatusDetails{Name: name},
	})
}

// start serves the cluster and returns an environment whose KUBECONFIG leads to it, with namespace
// shop.
func (f *fakeCluster) start(t *testing.T) map[string]string {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	env := emptyHome(t)
	env["KUBECONFIG"] = writeKubeconfig(t, server.URL)
	return env
}

func writeKubeconfig(t *testing.T, url string) string {
	t.Helper()
	k := clientcmdapi.NewConfig()
	k.Clusters["c"] = &clientcmdapi.Cluster{Server: url}
	k.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", Namespace: "shop"}
	k.CurrentContext = "c"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*k, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func sampleCluster() *fakeCluster {
	now := time.Now() // ages are relative to it
	done := *analysis("oom-kill", completed())
	waiting := *analysis("new", v1alpha1.AIAnalysisStatus{})
	review := completed()
	review.Phase, review.Reason, review.SubReason = v1alpha1.PhaseFailed, v1alpha1.ReasonWorkflowResolutionFailed, v1alpha1.SubReasonLowConfidence
	person := completed()
	person.ApprovalRequired = true
	resolved := v1alpha1.AIAnalysisStatus{Phase: v1alpha1.PhaseCompleted, Reason: v1alpha1.ReasonWorkflowNotNeeded, SubReason: v1alpha1.SubReasonProblemResolved}
	other := *analysis("resolved", resolved)
	other.Namespace = "mail"
	items := []v1alpha1.AIAnalysis{done, waiting, *analysis("review", review), *analysis("person", person), other}
	for i := range items {
		items[i].CreationTimestamp = metav1.Time{Time: now.Add(-90 * time.Second)}
	}
	return &fakeCluster{items: items}
}

func TestGet(t *testing.T) {
	for _, args := range []string{"get", "get -A", "get -o wide", "get oom-kill"} {
		t.Run(args, func(t *testing.T) {
			code, stdout, stderr := run(t, sampleCluster().start(t), strings.Fields(args)...)
			if code != exitOK || stderr != "" {
				t.Fatalf("got code %d, stderr %q; want 0 and nothing", code, stderr)
			}
			golden(t, strings.ReplaceAll(args, " ", "")+".golden", stdout)
		})
	}
	t.Run("json is the object", func(t *testing.T) {
		_, stdout, _ := run(t, sampleCluster().start(t), "get", "oom-kill", "-o", "json")
		var a v1alpha1.AIAnalysis
		if err := json.Unmarshal([]byte(stdout), &a); err != nil || a.Kind != "AIAnalysis" || a.Status.CauseClass != "oom-limit" {
			t.Errorf("got %v, kind %q, cause %q", err, a.Kind, a.Status.CauseClass)
		}
	})
	t.Run("yaml of a list", func(t *testing.T) {
		_, stdout, _ := run(t, sampleCluster().start(t), "get", "-o", "yaml")
		var l v1alpha1.AIAnalysisList
		if err := yaml.UnmarshalStrict([]byte(stdout), &l); err != nil || l.Kind != "AIAnalysisList" || len(l.Items) != 4 {
			t.Errorf("got %v, kind %q, %d items, want 4", err, l.Kind, len(l.Items))
		}
	})
	t.Run("empty namespace", func(t *testing.T) {
		code, stdout, stderr := run(t, sampleCluster().start(t), "get", "-n", "nowhere")
		if code != exitOK || stdout != "" || !strings.Contains(stderr, "-A looks in all") {
			t.Errorf("got code %d, stdout %q, stderr %q", code, stdout, stderr)
		}
	})
	t.Run("unknown name", func(t *testing.T) {
		code, _, stderr := run(t, sampleCluster().start(t), "get", "nope")
		if code != exitFailed || !strings.Contains(stderr, "no analysis nope in namespace shop") {
			t.Errorf("got code %d, stderr %q", code, stderr)
		}
	})
	t.Run("resource not installed", func(t *testing.T) {
		code, _, stderr := run(t, (&fakeCluster{status: 404}).start(t), "get")
		if code != exitFailed || !strings.Contains(stderr, "kubectl apply -k deploy/base") {
			t.Errorf("got code %d, stderr %q", code, stderr)
		}
	})
	t.Run("forbidden", func(t *testing.T) {
		code, _, stderr := run(t, (&fakeCluster{status: 403}).start(t), "explain", "x")
		if code != exitFailed || !strings.Contains(stderr, "refuses") {
			t.Errorf("got code %d, stderr %q", code, stderr)
		}
	})
}

func TestExplain(t *testing.T) {
	code, stdout, stderr := run(t, sampleCluster().start(t), "explain", "oom-kill")
	if code != exitOK || stderr != "" {
		t.Fatalf("got code %d, stderr %q; want 0 and nothing", code, stderr)
	}
	golden(t, "explain.golden", stdout)
}

func TestAuditVerify(t *testing.T) {
	for _, row := range []struct {
		name, args string
		broken     string
		absent     string
		code       int
		golden     string
	}{
		{name: "a namespace", args: "audit verify", golden: "audit-namespace.golden"},
		{name: "a name", args: "audit verify person", golden: "audit-name.golden"},
		{name: "a correlation id", args: "audit verify 3f2b8c1e-7a54-4c60-9a0b-0c9f6f0f7a11", golden: "audit-id.golden"},
		{name: "one is broken", args: "audit verify -A", broken: "rem-person", code: exitFailed, golden: "audit-broken.golden"},
		{name: "one is gone", args: "audit verify", absent: "rem-person", code: exitFailed, golden: "audit-missing.golden"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cluster := sampleCluster()
			cluster.broken, cluster.absent = row.broken, row.absent
			code, stdout, stderr := run(t, cluster.start(t), strings.Fields(row.args)...)
			if code != row.code || stderr != "" {
				t.Fatalf("got code %d, stderr %q; want %d and nothing", code, stderr, row.code)
			}
			golden(t, row.golden, stdout)
		})
	}
}

func TestClusterIsThatOfTheRunningSystem(t *testing.T) {
	env := sampleCluster().start(t)
	kubeconfig := env["KUBECONFIG"]
	delete(env, "KUBECONFIG")
	dir := filepath.Join(env["XDG_DATA_HOME"], "kubernaut")
	release, err := lockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeRunState(dir, runState{PID: os.Getpid(), Kubeconfig: kubeconfig}); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := run(t, env, "get"); code != exitOK || !strings.Contains(stdout, "oom-kill") {
		t.Errorf("while it runs: got code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if err := release(); err != nil { // as when the process dies
		t.Fatal(err)
	}
	if code, _, stderr := run(t, env, "get"); code != exitFailed || !strings.Contains(stderr, "no cluster") {
		t.Errorf("when it has died: got code %d, stderr %q", code, stderr)
	}
}

func TestDataDirHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	release, err := lockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockDataDir(dir)
	if err == nil || !strings.Contains(err.Error(), "process ") || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second lock: got %v, want an error that names the process and the directory", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if release, err = lockDataDir(dir); err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
}
