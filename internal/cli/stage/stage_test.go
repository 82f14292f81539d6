package stage

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
)

func TestScenariosThatShip(t *testing.T) {
	all, err := Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	causes, healthy, approval := map[string]bool{}, 0, map[bool]int{}
	namespaces, nodes := map[string]string{}, map[string]string{}
	for _, s := range all {
		if other, taken := namespaces[s.Namespace]; taken {
			t.Errorf("%s and %s share namespace %s", s.Name, other, s.Namespace)
		}
		namespaces[s.Namespace] = s.Name
		for _, n := range s.Nodes {
			if other, taken := nodes[n.Name]; taken {
				t.Errorf("%s and %s share node %s", s.Name, other, n.Name)
			}
			nodes[n.Name] = s.Name
		}
		if s.Title == "" || s.Signal.Type == "" || s.Target.Name == "" || len(s.Steps) == 0 {
			t.Errorf("%s lacks a title, signal, target or steps", s.Name)
		}
		if s.Expect.Cause == "" {
			healthy++
			continue
		}
		causes[s.Expect.Cause] = true
		approval[s.Expect.Approval]++
	}
	if len(causes) < 8 || healthy == 0 {
		t.Errorf("got %d causes and %d healthy scenarios, want 8 and 1 at least", len(causes), healthy)
	}
	if approval[true] == 0 || approval[false] == 0 {
		t.Errorf("decisions expected: %v; want some of either kind", approval)
	}
}

func TestMistakesInScenariosAreFound(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"unknown key", "titel: x\n", `unknown field "titel"`},
		{"repeated key", "title: x\ntitle: y\n", `already set`},
		{"step of no kind", "steps: [{}]\n", "step 0: has 0 of"},
		{"step of two kinds", "steps: [{apply: [], await: {}}]\n", "step 0: has 2 of"},
		{"object without a name", "steps: [{apply: [{apiVersion: v1, kind: Pod}]}]\n", "step 0: object 0: "},
		{"unknown reference", "steps: [{apply: [{apiVersion: v1, kind: Pod, metadata: {name: '${who}'}}]}]\n", "${who} is unknown"},
		{"reference out of place", "steps: [{apply: [{apiVersion: v1, kind: Pod, metadata: {name: '${pod}'}}]}]\n", ""},
		{"time that is none", "steps: [{pods: {select: {}, events: [{reason: '${ago soon}'}]}}]\n", "${ago soon}"},
		{"unknown key in a pods step", "steps: [{pods: {selector: {}}}]\n", `unknown field "selector"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := load(fstest.MapFS{"s/01-x.yaml": {Data: []byte(row.text)}}, "s")
			if row.want == "" {
				return // found when it is staged: which Pods there are is known only then
			}
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "01-x.yaml") {
				t.Errorf("got %v, want an error about 01-x.yaml with %q", err, row.want)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	v := values{namespace: "shop", now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC), pod: "cart-1", uid: "u", node: "n", ip: "10.1.2.3"}
	got, err := v.expand([]byte(`{"a":["${pod}_${ns}(${uid})"],"b":{"c":"${ago 90s}"},"d":5,"e":"costs 5$ or $(X)","f":"${ip} ${node}"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":["cart-1_shop(u)"],"b":{"c":"2026-03-02T11:58:30Z"},"d":5,"e":"costs 5$ or $(X)","f":"10.1.2.3 n"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := (values{namespace: "shop"}).expand([]byte(`"${pod}"`)); err == nil {
		t.Error("${pod} outside of a pods step: got no error")
	}
}

// TestStatusIsTheKubelets checks the parts of a Pod's status that follow from its containers.
func TestStatusIsTheKubelets(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	backoff := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	died := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}
	type verdict struct {
		Phase   corev1.PodPhase
		Ready   corev1.ConditionStatus
		Reason  string
		Started bool
		Image   bool
	}
	for _, row := range []struct {
		name string
		in   corev1.ContainerStatus
		want verdict
	}{
		{"running and ready", corev1.ContainerStatus{Ready: true, State: running}, verdict{corev1.PodRunning, corev1.ConditionTrue, "", true, true}},
		{"running, not ready", corev1.ContainerStatus{State: running}, verdict{corev1.PodRunning, corev1.ConditionFalse, "ContainersNotReady", true, true}},
		{"waits to restart", corev1.ContainerStatus{State: backoff, LastTerminationState: died, RestartCount: 3}, verdict{corev1.PodRunning, corev1.ConditionFalse, "ContainersNotReady", false, true}},
		{"never started", corev1.ContainerStatus{State: backoff}, verdict{corev1.PodPending, corev1.ConditionFalse, "ContainersNotReady", false, false}},
	} {
		t.Run(row.name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "app", Image: "registry.example.com/app:1"}}}}
			row.in.Name = "app"
			s, err := (&kubelet{}).status(pod, "10.1.2.3", []corev1.ContainerStatus{row.in}, now)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(s.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
			got := verdict{s.Phase, s.Conditions[i].Status, s.Conditions[i].Reason, *s.ContainerStatuses[0].Started, s.ContainerStatuses[0].ImageID != ""}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("pod on no node", func(t *testing.T) {
		if _, err := (&kubelet{}).status(&corev1.Pod{}, "", nil, now); err == nil {
			t.Error("got no error")
		}
	})
}

func TestContainerLogs(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	k, err := startKubelet(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-1"}}
	k.setLog(pod, containerLog{Container: "app", Current: "one\ntwo\nthree\n"})
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer hc.CloseIdleConnections()
	for _, row := range []struct {
		path string
		code int
		want string
	}{
		{"/containerLogs/shop/cart-1/app", 200, "one\ntwo\nthree\n"},
		{"/containerLogs/shop/cart-1/app?tailLines=2", 200, "two\nthree\n"},
		{"/containerLogs/shop/cart-1/app?tailLines=9", 200, "one\ntwo\nthree\n"},
		{"/containerLogs/shop/cart-1/app?limitBytes=5", 200, "one\nt"},
		{"/containerLogs/shop/cart-1/app?previous=true", 400, "previous terminated container \"app\" in pod \"cart-1\" not found\n"},
		{"/containerLogs/shop/other/app", 200, ""},
	} {
		resp, err := hc.Get("https://127.0.0.1:" + strconv.Itoa(int(k.port)) + row.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != row.code || string(body) != row.want {
			t.Errorf("GET %s: got %d %q, %v; want %d %q", row.path, resp.StatusCode, body, err, row.code, row.want)
		}
	}
}

// TestStageOnRealAPIServer stages one scenario of each technique and looks at what a client sees.
func TestStageOnRealAPIServer(t *testing.T) {
	cfg := controlplanetest.Config(t)
	c, err := New(cfg, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all, err := Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stage := func(name string) Scenario {
		t.Helper()
		i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
		if i < 0 {
			t.Fatalf("there is no scenario %s", name)
		}
		if err := c.Stage(ctx, all[i]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // nodes are in nobody's namespace
			for _, n := range all[i].Nodes {
				_ = c.client.Delete(context.Background(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name}})
			}
			_ = c.client.Delete(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: all[i].Namespace}})
		})
		return all[i]
	}
	onePod := func(namespace string) corev1.Pod {
		t.Helper()
		var pods corev1.PodList
		if err := c.client.List(ctx, &pods, client.InNamespace(namespace)); err != nil || len(pods.Items) == 0 {
			t.Fatalf("pods in %s: got %d, %v", namespace, len(pods.Items), err)
		}
		return pods.Items[0]
	}

	t.Run("oom-kill", func(t *testing.T) {
		s := stage("oom-kill")
		pod := onePod(s.Namespace)
		last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated
		if last == nil || last.Reason != "OOMKilled" || last.ExitCode != 137 {
			t.Errorf("last state: got %+v", last)
		}
		typed, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		text, err := typed.CoreV1().Pods(s.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Previous: true}).DoRaw(ctx)
		if err != nil || !strings.Contains(string(text), "session cache warmed") {
			t.Errorf("previous log through the API server: got %q, %v", text, err)
		}
	})
	t.Run("quota-exceeded", func(t *testing.T) {
		s := stage("quota-exceeded")
		var events corev1.EventList
		if err := c.client.List(ctx, &events, client.InNamespace(s.Namespace)); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
			return e.Reason == "FailedCreate" && strings.Contains(e.Message, "exceeded quota: team")
		}) {
			t.Error("admission has not refused a Pod")
		}
	})
	t.Run("node-not-ready", func(t *testing.T) {
		s := stage("node-not-ready")
		pod := onePod(s.Namespace)
		i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
		if pod.Status.Conditions[i].Status != corev1.ConditionFalse {
			t.Errorf("a Pod on a lost node: Ready is %s", pod.Status.Conditions[i].Status)
		}
		renewed := func() time.Time {
			var l coordinationv1.Lease
			if err := c.client.Get(ctx, client.ObjectKey{Namespace: leaseNamespace, Name: s.Nodes[0].Name}, &l); err != nil {
				t.Fatal(err)
			}
			return l.Spec.RenewTime.Time
		}
		before := renewed()
		if err := c.renewLeases(ctx); err != nil {
			t.Fatal(err)
		}
		if after := renewed(); !after.Equal(before) || time.Since(after) < time.Minute {
			t.Errorf("the Lease of a lost node was renewed: %s, then %s", before, after)
		}
	})
}
