package rollout

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

const grace = 300 * time.Millisecond // in tests: what it is does not matter, only that it passes

// TestWaitEndsEarly wants a wait to end, with what is wrong and what proves it, as soon as a kubelet or a controller
// has said that a pod cannot start.
func TestWaitEndsEarly(t *testing.T) {
	exited := &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error"}
	for _, row := range []struct {
		name    string
		options WaitOptions
		status  corev1.PodStatus
		event   []string // reason, message
		want    failure.Finding
		lines   []string
	}{
		{
			"crash loop",
			WaitOptions{},
			waits("web", "CrashLoopBackOff", "back-off 20s restarting failed container", 2, exited),
			nil,
			failure.Finding{Row: "F40", Class: failure.Permanent, Product: true, Summary: "Deployment web: pod POD, container web: CrashLoopBackOff after 2 restarts, the last with exit code 1 (Error)"},
			[]string{"previous log:", "  no such file: /etc/web.yaml", "container web ended with exit code 1 (Error)"},
		},
		{
			"crash loop of an init container",
			WaitOptions{},
			waits("first", "CrashLoopBackOff", "", 2, exited),
			nil,
			failure.Finding{Row: "F40", Class: failure.Permanent, Product: true, Summary: "container first: CrashLoopBackOff after 2 restarts"},
			[]string{"  first failed"},
		},
		{
			"out of memory",
			WaitOptions{},
			waits("web", "CrashLoopBackOff", "", 3, &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}),
			nil,
			failure.Finding{Row: "F40", Class: failure.Permanent, Product: true, Summary: "exit code 137 (OOMKilled)", Fix: "raise the container's memory limit"},
			nil,
		},
		{
			"other architecture, in the message",
			WaitOptions{},
			waits("web", "RunContainerError", "", 0, &corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: `exec: "/usr/local/bin/web": exec format error`}),
			nil,
			failure.Finding{Row: "F46", Class: failure.Permanent, Summary: "its binary is for another architecture"},
			[]string{"exec format error"},
		},
		{
			"other architecture, in the log",
			WaitOptions{},
			waits("emulated", "CrashLoopBackOff", "", 2, &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error"}),
			nil,
			failure.Finding{Row: "F46", Class: failure.Permanent, Summary: "container emulated: CrashLoopBackOff"},
			[]string{"runtime: taggedPointerPack"},
		},
		{
			"image is not there",
			WaitOptions{Loaded: []string{"localhost/web:abc"}},
			waits("web", "ErrImageNeverPull", `Container image "localhost/web:1" is not present with pull policy of Never`, 0, nil),
			nil,
			failure.Finding{Row: "F38", Class: failure.Permanent, Product: true, Summary: "image localhost/web:1 is not on its node"},
			[]string{"expected: localhost/web:1", "has: localhost/web:abc", "loaded: localhost/web:abc"},
		},
		{
			"image was lost",
			WaitOptions{Loaded: []string{"localhost/web:1"}},
			waits("web", "ImagePullBackOff", "Back-off pulling image", 0, nil),
			nil,
			failure.Finding{Row: "F38", Class: failure.Transient, Retries: 1, Remedy: "reload-image", Summary: "although it was loaded"},
			[]string{"expected: localhost/web:1"},
		},
		{
			"key of a ConfigMap is not there",
			WaitOptions{Grace: grace},
			waits("web", "CreateContainerConfigError", "couldn't find key port in ConfigMap x/web", 0, nil),
			nil,
			failure.Finding{Row: "F39", Class: failure.Permanent, Product: true, Summary: "container web: what it refers to does not exist"},
			[]string{"couldn't find key port"},
		},
		{
			"ConfigMap is not there",
			WaitOptions{Grace: grace},
			waits("web", "ContainerCreating", "", 0, nil),
			[]string{"FailedMount", `MountVolume.SetUp failed for volume "config" : configmap "web-config" not found`},
			failure.Finding{Row: "F39", Class: failure.Permanent, Product: true, Summary: "what it mounts does not exist"},
			[]string{`configmap "web-config" not found`, "event FailedMount (3 times)"},
		},
		{
			"no node has what it selects",
			WaitOptions{Grace: grace},
			unschedulable("0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."),
			nil,
			failure.Finding{Class: failure.Permanent, Product: true, Summary: "no node can take it"},
			[]string{"0/2 nodes are available"},
		},
		{
			"claim is not there",
			WaitOptions{Grace: grace},
			unschedulable(`0/2 nodes are available: persistentvolumeclaim "web-data" not found. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.`),
			nil,
			failure.Finding{Row: "F39", Class: failure.Permanent, Product: true, Summary: "what it refers to does not exist"},
			[]string{`persistentvolumeclaim "web-data" not found`},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			manifest := deployment
			if len(row.status.ContainerStatuses) > 0 && row.status.ContainerStatuses[0].Name == "emulated" {
				manifest = strings.Replace(deployment, "{name: web, image", "{name: emulated, image", 1)
			}
			w.kubelet(map[string]string{
				"web previous": "starting\nno such file: /etc/web.yaml\n", "first previous": "first failed\n", "emulated previous": "runtime: taggedPointerPack invalid packing\n",
			}, "localhost/web:abc", "docker.io/library/other:1")
			d := w.deploy(manifest)
			done := w.waiting(row.options, d)
			p := w.pod(anyPod)
			w.report(p, row.status)
			if row.event != nil {
				w.happen(p, row.event[0], row.event[1])
			}
			got := failure.ClassifyAll(t.Context(), "wait", <-done, nil)
			if len(got) != 1 {
				t.Fatalf("got %d findings, want one: %+v", len(got), got)
			}
			f := got[0]
			summary := strings.ReplaceAll(row.want.Summary, "POD", p.Name)
			if f.Row != row.want.Row || f.Class != row.want.Class || f.Product != row.want.Product || f.Retries != row.want.Retries ||
				!strings.Contains(f.Summary, summary) || !strings.Contains(f.Fix, row.want.Fix) || f.Fix == "" || row.want.Remedy != "" && f.Remedy != row.want.Remedy {
				t.Errorf("got %+v\nwant %+v", f, row.want)
			}
			for _, want := range row.lines {
				if !slices.ContainsFunc(f.Lines, func(l string) bool { return strings.Contains(l, want) }) {
					t.Errorf("lines: got %q, want %q among them", f.Lines, want)
				}
			}
		})
	}
}

func unschedulable(message string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message},
	}}
}

// TestWaitBears wants a wait not to end while what is wrong may pass, and to end well when it has.
func TestWaitBears(t *testing.T) {
	for _, row := range []struct {
		name   string
		before func(w *world, p *corev1.Pod)
	}{
		{"one crash", func(w *world, p *corev1.Pod) {
			w.report(p, waits("web", "CrashLoopBackOff", "", 1, &corev1.ContainerStateTerminated{ExitCode: 1}))
		}},
		{"node that is not ready yet", func(w *world, p *corev1.Pod) {
			w.report(p, unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."))
		}},
		{"claim that is not bound yet", func(w *world, p *corev1.Pod) {
			w.report(p, unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."))
		}},
		{"ConfigMap that came late", func(w *world, p *corev1.Pod) {
			w.deploy("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}\n")
			w.report(p, waits("web", "CreateContainerConfigError", `configmap "late" not found`, 0, nil))
		}},
		{"mount that timed out", func(w *world, p *corev1.Pod) {
			w.happen(p, "FailedMount", `MountVolume.SetUp failed for volume "config" : failed to sync configmap cache: timed out waiting for the condition`)
		}},
		{"pull of a foreign image", func(w *world, p *corev1.Pod) {
			s := waits("foreign", "ErrImagePull", "dial tcp: i/o timeout", 0, nil)
			s.ContainerStatuses[0].Image = "docker.io/library/foreign:1"
			w.report(p, s)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			done := w.waiting(WaitOptions{Grace: grace}, w.deploy(deployment))
			p := w.pod(anyPod)
			row.before(w, p)
			select {
			case err := <-done:
				t.Fatalf("the wait ended: %v", err)
			case <-time.After(3 * grace):
			}
			w.report(p, ready())
			if err := <-done; err != nil {
				t.Errorf("got %v, want success after all", err)
			}
		})
	}
}

// TestWaitIsForTheCurrentGeneration wants what is available of an older template not to count, nor what was wrong with it.
func TestWaitIsForTheCurrentGeneration(t *testing.T) {
	w := newWorld(t)
	old := w.deploy(deployment)
	done := w.waiting(WaitOptions{}, old)
	first := w.pod(anyPod)
	w.report(first, ready())
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	second := w.deploy(strings.ReplaceAll(deployment, "localhost/web:1", "localhost/web:2"))
	done = w.waiting(WaitOptions{}, second)
	next := w.pod(func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image == "localhost/web:2" })
	w.report(first, waits("web", "CrashLoopBackOff", "", 9, &corev1.ContainerStateTerminated{ExitCode: 1}))
	select {
	case err := <-done:
		t.Fatalf("the wait ended with the old pod: %v", err)
	case <-time.After(grace):
	}
	w.report(next, ready())
	if err := w.kube.CoreV1().Pods(w.namespace).Delete(w.ctx(), first.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil && !strings.Contains(err.Error(), "not found") {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("got %v, want success with the new pod", err)
	}
	if d := newDeployment(t, w); d.Status.ObservedGeneration != 2 || d.Status.AvailableReplicas != 1 {
		t.Errorf("the wait ended at %+v", d.Status)
	}
}

// TestWaitSaysWhyNoPodCame wants the refusal of Pod Security, which only the ReplicaSet hears.
func TestWaitSaysWhyNoPodCame(t *testing.T) {
	w := newWorld(t)
	ns, err := w.kube.CoreV1().Namespaces().Get(w.ctx(), w.namespace, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ns.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	if _, err := w.kube.CoreV1().Namespaces().Update(w.ctx(), ns, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got := failure.Classify(t.Context(), "wait", <-w.waiting(WaitOptions{Grace: grace}, w.deploy(deployment)), nil)
	if got.Class != failure.Permanent || !strings.Contains(got.Summary, "Deployment web: its pods are refused") || !strings.Contains(strings.Join(got.Lines, "\n"), "violates PodSecurity") {
		t.Errorf("got %+v", got)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	d := w.deploy(deployment)
	cause := errors.New("the phase has a deadline")
	ctx, cancel := context.WithTimeoutCause(t.Context(), grace, cause)
	defer cancel()
	err := w.Wait(ctx, append(targetless(w), d), WaitOptions{Log: &w.log})
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "Deployment web: 0 of 1 pods are ") && !strings.Contains(err.Error(), "Deployment web: generation 1") {
		t.Errorf("got %v, want the cause and what was missing", err)
	}
	if !strings.Contains(w.log.String(), "waiting: Deployment web: ") {
		t.Errorf("log: got %q", w.log.String())
	}
}

// TestWaitResumesItsWatches cuts every connection of the wait and wants it to see what happens afterwards.
func TestWaitResumesItsWatches(t *testing.T) {
	cfg := controlplanetest.Config(t)
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1,
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) },
	})
	defer proxy.Close()
	through := newWorldBy(t, &rest.Config{Host: proxy.URL})
	direct := &world{Cluster: newWorld(t).Cluster, t: t, namespace: through.namespace}
	done := through.waiting(WaitOptions{}, direct.deploy(deployment))
	p := direct.pod(anyPod)
	for range 3 {
		proxy.CloseClientConnections()
	}
	direct.report(p, ready())
	if err := <-done; err != nil {
		t.Errorf("got %v, want the wait to have seen the pod become ready", err)
	}
}
