package manifest

import (
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Workload is what makes pods.
type Workload struct {
	Kind, Namespace, Name string
	Selector              *metav1.LabelSelector // nil for a Job, which selects by a label of its own
	Template              corev1.PodTemplateSpec
	Claims                []corev1.PersistentVolumeClaim // of a StatefulSet
	Governing             string                         // the Service that a StatefulSet names
}

// String returns the kind and the name.
func (w Workload) String() string { return w.Kind + " " + w.Name }

// Workloads returns the Deployments, StatefulSets, DaemonSets and Jobs of the set.
func (s *Set) Workloads() []Workload {
	var list []Workload
	for _, d := range Of[*appsv1.Deployment](s) {
		list = append(list, Workload{Kind: "Deployment", Namespace: d.Namespace, Name: d.Name, Selector: d.Spec.Selector, Template: d.Spec.Template})
	}
	for _, st := range Of[*appsv1.StatefulSet](s) {
		list = append(list, Workload{
			Kind: "StatefulSet", Namespace: st.Namespace, Name: st.Name, Selector: st.Spec.Selector, Template: st.Spec.Template,
			Claims: st.Spec.VolumeClaimTemplates, Governing: st.Spec.ServiceName,
		})
	}
	for _, d := range Of[*appsv1.DaemonSet](s) {
		list = append(list, Workload{Kind: "DaemonSet", Namespace: d.Namespace, Name: d.Name, Selector: d.Spec.Selector, Template: d.Spec.Template})
	}
	for _, j := range Of[*batchv1.Job](s) {
		list = append(list, Workload{Kind: "Job", Namespace: j.Namespace, Name: j.Name, Template: j.Spec.Template})
	}
	return list
}

// Selected returns the first workload of a namespace whose pods a selector selects.
func (s *Set) Selected(namespace string, sel labels.Selector) (Workload, bool) {
	for _, w := range s.Workloads() {
		if w.Namespace == namespace && sel.Matches(labels.Set(w.Template.Labels)) {
			return w, true
		}
	}
	return Workload{}, false
}

// containers are all of a workload's pod, those that run first included.
func (w Workload) containers() []corev1.Container {
	return slices.Concat(w.Template.Spec.InitContainers, w.Template.Spec.Containers)
}

// mount is where a container finds a path.
type mount struct {
	Volume   corev1.Volume
	Inside   string // the path, from the volume's root
	ReadOnly bool
}

// mountAt returns the mount that covers a path of a container.
func (w Workload) mountAt(c corev1.Container, file string) (mount, bool) {
	var at mount
	best, found := -1, false
	for _, m := range c.VolumeMounts {
		dir := strings.TrimSuffix(m.MountPath, "/")
		if file != dir && !strings.HasPrefix(file, dir+"/") || len(dir) <= best {
			continue
		}
		v, ok := w.volume(m.Name)
		if !ok {
			continue
		}
		best, found = len(dir), true
		at = mount{v, path.Join(m.SubPath, strings.TrimPrefix(strings.TrimPrefix(file, dir), "/")), m.ReadOnly}
	}
	return at, found
}

// volume returns a volume of the pod; that of a claim that each pod gets is made up.
func (w Workload) volume(name string) (corev1.Volume, bool) {
	for _, v := range w.Template.Spec.Volumes {
		if v.Name == name {
			return v, true
		}
	}
	for _, claim := range w.Claims {
		if claim.Name == name {
			source := &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}
			return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: source}}, true
		}
	}
	return corev1.Volume{}, false
}

// hasPort reports whether one of a pod's containers has a port of a name or a number.
func (w Workload) hasPort(port intstr.IntOrString) bool {
	return slices.ContainsFunc(w.containers(), func(c corev1.Container) bool { return containerHasPort(c, port) })
}

func containerHasPort(c corev1.Container, port intstr.IntOrString) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
		return port.Type == intstr.String && p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal
	})
}

// portNames are what to choose a port from.
func (w Workload) portNames() []string {
	var names []string
	for _, c := range w.containers() {
		for _, p := range c.Ports {
			names = append(names, (&intstr.IntOrString{Type: intstr.Int, IntVal: p.ContainerPort}).String()+" "+p.Name)
		}
	}
	return names
}

// environment returns a container's variables that stand in the manifests as they are. Those that come from elsewhere
// are there, without a value.
func environment(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	return env
}
