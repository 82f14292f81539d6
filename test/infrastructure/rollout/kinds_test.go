package rollout

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

const (
	statefulSet = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: web, image: "localhost/db:1"}]}
`
	job = `
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    spec: {restartPolicy: Never, containers: [{name: web, image: "localhost/job:1"}]}
`
	barePod = `
apiVersion: v1
kind: Pod
metadata: {name: bare}
spec: {restartPolicy: Never, containers: [{name: web, image: "localhost/pod:1"}]}
`
)

func finished(code int32) corev1.PodStatus {
	s := corev1.PodStatus{Phase: corev1.PodSucceeded}
	if code != 0 {
		s.Phase = corev1.PodFailed
	}
	s.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error", FinishedAt: metav1.Now()}}}}
	return s
}

func TestWaitForAStatefulSet(t *testing.T) {
	w := newWorld(t)
	done := w.waiting(WaitOptions{}, w.deploy(statefulSet))
	for _, name := range []string{"db-0", "db-1"} { // the second comes when the first is ready
		w.report(w.pod(func(p *corev1.Pod) bool { return p.Name == name }), ready())
	}
	if err := <-done; err != nil {
		t.Errorf("got %v, want success", err)
	}
	if text := w.log.String(); !strings.Contains(text, "StatefulSet db: ") || !strings.Contains(text, "all workloads are available") {
		t.Errorf("log: got %q", text)
	}
}

func TestWaitForWhatEnds(t *testing.T) {
	for _, row := range []struct {
		name, manifest string
		status         corev1.PodStatus
		want           string // of the summary; empty: success
	}{
		{"job", job, finished(0), ""},
		{"job that fails", job, finished(1), "Job once: the job failed"},
		{"pod", barePod, ready(), ""},
		{"pod that ends", barePod, finished(0), ""},
		{"pod that fails", barePod, finished(3), "Pod bare: pod bare failed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			done := w.waiting(WaitOptions{}, w.deploy(row.manifest))
			w.report(w.pod(anyPod), row.status)
			err := <-done
			if row.want == "" {
				if err != nil {
					t.Errorf("got %v, want success", err)
				}
				return
			}
			if f := failure.Classify(t.Context(), "wait", err, nil); f.Class != failure.Permanent || !f.Product || !strings.Contains(f.Summary, row.want) {
				t.Errorf("got %+v, want %s", f, row.want)
			}
		})
	}
}

func TestWaitForNothing(t *testing.T) {
	w := newWorld(t)
	if err := w.Wait(w.ctx(), targetless(w), WaitOptions{}); err != nil {
		t.Errorf("got %v", err)
	}
}
