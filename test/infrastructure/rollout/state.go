package rollout

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

const revision = "deployment.kubernetes.io/revision"

// target is a workload to wait for.
type target struct {
	kind, namespace, name string
}

func (t target) String() string { return t.kind + " " + t.name }

func targetsOf(objects []*unstructured.Unstructured) []target {
	var list []target
	for _, o := range objects {
		switch o.GetKind() {
		case "Deployment", "StatefulSet", "DaemonSet", "Job", "Pod":
			list = append(list, target{o.GetKind(), o.GetNamespace(), o.GetName()})
		}
	}
	return list
}

// state is what is known of a target at one moment.
type state struct {
	target  target
	object  any // nil: it does not exist
	sets    []*appsv1.ReplicaSet
	members []*corev1.Pod // of the current generation
	events  []*corev1.Event
}

func (s *state) addReplicaSet(o any) {
	d, ok := s.object.(*appsv1.Deployment)
	rs, isSet := o.(*appsv1.ReplicaSet)
	if ok && isSet && metav1.IsControlledBy(rs, d) && rs.Annotations[revision] == d.Annotations[revision] {
		s.sets = append(s.sets, rs)
	}
}

// pods returns how to know the pods of the target's current generation; nil when there are none yet.
func (s *state) pods() (labels.Selector, func(*corev1.Pod) bool) {
	owned := func(by ...metav1.Object) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			return slices.ContainsFunc(by, func(o metav1.Object) bool { return metav1.IsControlledBy(p, o) })
		}
	}
	switch o := s.object.(type) {
	case *appsv1.Deployment:
		if o.Status.ObservedGeneration < o.Generation {
			return nil, nil // the pods that are there are of an older generation
		}
		var sets []metav1.Object
		for _, rs := range s.sets {
			sets = append(sets, rs)
		}
		return labels.Everything(), owned(sets...)
	case *appsv1.StatefulSet:
		if o.Status.ObservedGeneration < o.Generation {
			return nil, nil
		}
		return labels.SelectorFromSet(labels.Set{appsv1.ControllerRevisionHashLabelKey: o.Status.UpdateRevision}), owned(o)
	case *appsv1.DaemonSet:
		return labels.Everything(), owned(o)
	case *batchv1.Job:
		return labels.Everything(), owned(o)
	case *corev1.Pod:
		return labels.Everything(), func(p *corev1.Pod) bool { return p.UID == o.UID }
	}
	return nil, nil
}

// missing says what the target lacks to be available at its current generation; empty: nothing.
func (s *state) missing() string {
	switch o := s.object.(type) {
	case *appsv1.Deployment:
		want := replicas(o.Spec.Replicas)
		if o.Status.ObservedGeneration < o.Generation {
			return fmt.Sprintf("generation %d is not observed yet", o.Generation)
		}
		return counts(want, o.Status.UpdatedReplicas, o.Status.AvailableReplicas, o.Status.Replicas)
	case *appsv1.StatefulSet:
		want := replicas(o.Spec.Replicas)
		if o.Status.ObservedGeneration < o.Generation {
			return fmt.Sprintf("generation %d is not observed yet", o.Generation)
		}
		return counts(want, o.Status.UpdatedReplicas, o.Status.AvailableReplicas, o.Status.Replicas)
	case *appsv1.DaemonSet:
		if o.Status.ObservedGeneration < o.Generation {
			return fmt.Sprintf("generation %d is not observed yet", o.Generation)
		}
		return counts(o.Status.DesiredNumberScheduled, o.Status.UpdatedNumberScheduled, o.Status.NumberAvailable, o.Status.UpdatedNumberScheduled)
	case *batchv1.Job:
		if jobIs(o, batchv1.JobComplete) {
			return ""
		}
		return fmt.Sprintf("%d of its pods succeeded", o.Status.Succeeded)
	case *corev1.Pod:
		if podIs(o, corev1.PodReady) || o.Status.Phase == corev1.PodSucceeded {
			return ""
		}
		return "its phase is " + string(o.Status.Phase)
	}
	return "does not exist"
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func counts(want, updated, available, all int32) string {
	switch {
	case updated < want:
		return fmt.Sprintf("%d of %d pods are of the current generation", updated, want)
	case available < want:
		return fmt.Sprintf("%d of %d pods are available", available, want)
	case all > updated:
		return fmt.Sprintf("%d pods of older generations are left", all-updated)
	}
	return ""
}

func jobIs(j *batchv1.Job, t batchv1.JobConditionType) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == t && c.Status == corev1.ConditionTrue })
}

func podIs(p *corev1.Pod, t corev1.PodConditionType) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == t && c.Status == corev1.ConditionTrue })
}

// doubt is why a target might never be available. It counts once it has lasted for its grace.
type doubt struct {
	key     string
	grace   time.Duration
	finding failure.Finding
	pod     *corev1.Pod // whose logs and events are evidence; may be nil
	// container is that whose previous log is evidence; empty: none.
	container string
	// image is one that a node lacks, missing an object that a pod refers to: both are looked up first.
	image   string
	missing reference
}

// doubts returns what is wrong with a target.
func (s *state) doubts(o WaitOptions) []doubt {
	var list []doubt
	add := func(grace time.Duration, fix, summary string, lines ...string) {
		list = append(list, doubt{
			key: s.target.String() + "/" + summary, grace: grace,
			finding: failure.Finding{Class: failure.Permanent, Product: true, Summary: s.target.String() + ": " + summary, Lines: lines, Fix: fix},
		})
	}
	switch object := s.object.(type) {
	case *appsv1.Deployment:
		for _, c := range object.Status.Conditions {
			if object.Status.ObservedGeneration < object.Generation {
				break
			}
			switch {
			case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue:
				add(o.Grace, "correct the pod template as the message says", "its pods are refused", c.Reason+": "+c.Message)
			case c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && c.Reason == "ProgressDeadlineExceeded":
				add(0, "look at its pods", "it did not progress within its own deadline", c.Message)
			}
		}
	case *batchv1.Job:
		for _, c := range object.Status.Conditions {
			if c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue {
				add(0, "look at the logs of its pods", "the job failed", c.Reason+": "+c.Message)
			}
		}
	}
	for _, kind := range []string{"StatefulSet", "DaemonSet", "Job"} {
		if kind != s.target.kind {
			continue
		}
		for _, e := range s.events {
			if e.Reason == "FailedCreate" && e.InvolvedObject.Kind == kind && e.InvolvedObject.Name == s.target.name && len(s.members) == 0 {
				add(o.Grace, "correct the pod template as the message says", "its pods are refused", e.Reason+": "+e.Message)
			}
		}
	}
	for _, p := range s.members {
		for _, d := range podDoubts(p, s.events, o) {
			d.key, d.pod = string(p.UID)+"/"+d.key, p
			d.finding.Summary = s.target.String() + ": " + d.finding.Summary
			list = append(list, d)
		}
	}
	return list
}
