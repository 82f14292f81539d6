package manifest

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// references finds what pods refer to and nobody makes.
func (c *checker) references() {
	for _, w := range c.Workloads() {
		spec := w.Template.Spec
		if name := spec.ServiceAccountName; name != "" && name != "default" {
			if _, ok := Named[*corev1.ServiceAccount](c.known, w.Namespace, name); !ok {
				c.missing(w, "ServiceAccount", name)
			}
		}
		if w.Governing != "" {
			if _, ok := Named[*corev1.Service](c.known, w.Namespace, w.Governing); !ok {
				c.missing(w, "Service", w.Governing)
			}
		}
		for _, p := range spec.ImagePullSecrets {
			c.wantKeys(w, "Secret", p.Name, nil)
		}
		for _, v := range spec.Volumes {
			c.volume(w, v)
		}
		for _, container := range w.containers() {
			c.mounts(w, container)
			c.variables(w, container)
		}
	}
}

func (c *checker) missing(w Workload, kind, name string) {
	var have []string
	for _, o := range c.known.Objects {
		if o.GetNamespace() == w.Namespace && kindOf(o) == kind {
			have = append(have, o.GetName())
		}
	}
	c.add(rowReference, "add it to the kustomization, or refer to one that is there: "+list(have),
		"%s: %s %q is neither in the rendered set nor provided", w, kind, name)
}

// kindOf returns an object's kind; a provided one may not say it.
func kindOf(o Object) string {
	switch o.Object.(type) {
	case *corev1.ConfigMap:
		return "ConfigMap"
	case *corev1.Secret:
		return "Secret"
	}
	return o.GetObjectKind().GroupVersionKind().Kind
}

func (c *checker) volume(w Workload, v corev1.Volume) {
	configMap := func(name string, items []corev1.KeyToPath, optional *bool) {
		if !isTrue(optional) {
			c.wantKeys(w, "ConfigMap", name, keys(items))
		}
	}
	secret := func(name string, items []corev1.KeyToPath, optional *bool) {
		if !isTrue(optional) {
			c.wantKeys(w, "Secret", name, keys(items))
		}
	}
	switch {
	case v.ConfigMap != nil:
		configMap(v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional)
	case v.Secret != nil:
		secret(v.Secret.SecretName, v.Secret.Items, v.Secret.Optional)
	case v.Projected != nil:
		for _, p := range v.Projected.Sources {
			switch {
			case p.ConfigMap != nil:
				configMap(p.ConfigMap.Name, p.ConfigMap.Items, p.ConfigMap.Optional)
			case p.Secret != nil:
				secret(p.Secret.Name, p.Secret.Items, p.Secret.Optional)
			}
		}
	case v.PersistentVolumeClaim != nil:
		if _, ok := Named[*corev1.PersistentVolumeClaim](c.known, w.Namespace, v.PersistentVolumeClaim.ClaimName); !ok {
			c.missing(w, "PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName)
		}
	}
}

func keys(items []corev1.KeyToPath) []string {
	var list []string
	for _, i := range items {
		list = append(list, i.Key)
	}
	return list
}

func (c *checker) mounts(w Workload, container corev1.Container) {
	seen := map[string]bool{}
	for _, m := range container.VolumeMounts {
		at := strings.TrimSuffix(m.MountPath, "/")
		if _, ok := w.volume(m.Name); !ok {
			c.add(rowReference, "add the volume to the pod, or correct the mount's name", "%s: container %s mounts volume %q at %s, which the pod does not have", w, container.Name, m.Name, at)
		}
		if m.SubPath != "" {
			c.add(rowStatic, "mount the whole directory", "%s: container %s mounts %s by subPath: it would never see an update", w, container.Name, at)
		}
		if seen[at] {
			c.add(rowStatic, "mount one of them elsewhere", "%s: container %s mounts two volumes at %s", w, container.Name, at)
		}
		seen[at] = true
	}
}

func (c *checker) variables(w Workload, container corev1.Container) {
	for _, e := range container.Env {
		if e.ValueFrom == nil {
			continue
		}
		if r := e.ValueFrom.ConfigMapKeyRef; r != nil && !isTrue(r.Optional) {
			c.wantKeys(w, "ConfigMap", r.Name, []string{r.Key})
		}
		if r := e.ValueFrom.SecretKeyRef; r != nil && !isTrue(r.Optional) {
			c.wantKeys(w, "Secret", r.Name, []string{r.Key})
		}
	}
	for _, e := range container.EnvFrom {
		if r := e.ConfigMapRef; r != nil && !isTrue(r.Optional) {
			c.wantKeys(w, "ConfigMap", r.Name, nil)
		}
		if r := e.SecretRef; r != nil && !isTrue(r.Optional) {
			c.wantKeys(w, "Secret", r.Name, nil)
		}
	}
}

// wantKeys reports when a ConfigMap or Secret is not there or lacks one of the keys.
func (c *checker) wantKeys(w Workload, kind, name string, keys []string) {
	data, ok := c.data(w.Namespace, kind, name)
	if !ok {
		c.missing(w, kind, name)
		return
	}
	for _, k := range keys {
		if _, ok := data[k]; !ok {
			c.add(rowReference, "add the key, or name one that is there: "+list(sortedKeys(data)), "%s: %s %q has no key %q", w, kind, name, k)
		}
	}
}

// data returns what a ConfigMap or Secret holds, by key.
func (c *checker) data(namespace, kind, name string) (map[string]string, bool) {
	data := map[string]string{}
	if kind == "Secret" {
		o, ok := Named[*corev1.Secret](c.known, namespace, name)
		if ok {
			for k, v := range o.Data {
				data[k] = string(v)
			}
			maps.Copy(data, o.StringData)
		}
		return data, ok
	}
	o, ok := Named[*corev1.ConfigMap](c.known, namespace, name)
	if ok {
		maps.Copy(data, o.Data)
		for k, v := range o.BinaryData {
			data[k] = string(v)
		}
	}
	return data, ok
}

// bindings finds role bindings that bind nothing, or nobody.
func (c *checker) bindings() {
	check := func(kind, namespace, name string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		var ok bool
		if ref.Kind == "Role" {
			_, ok = Named[*rbacv1.Role](c.known, namespace, ref.Name)
		} else {
			_, ok = Named[*rbacv1.ClusterRole](c.known, "", ref.Name)
		}
		if !ok {
			c.add(rowReference, "add the role, or correct roleRef", "%s %s: %s %q is not in the rendered set", kind, name, ref.Kind, ref.Name)
		}
		for _, sub := range subjects {
			if sub.Kind != rbacv1.ServiceAccountKind {
				continue
			}
			if _, ok := Named[*corev1.ServiceAccount](c.known, sub.Namespace, sub.Name); !ok {
				c.add(rowReference, "add the ServiceAccount, or correct subjects", "%s %s: ServiceAccount %s/%s is not in the rendered set", kind, name, sub.Namespace, sub.Name)
			}
		}
	}
	for _, b := range Of[*rbacv1.ClusterRoleBinding](c.Set) {
		check("ClusterRoleBinding", "", b.Name, b.RoleRef, b.Subjects)
	}
	for _, b := range Of[*rbacv1.RoleBinding](c.Set) {
		check("RoleBinding", b.Namespace, b.Name, b.RoleRef, b.Subjects)
	}
}

// selectors finds selectors that select none of the set's pods.
func (c *checker) selectors() {
	for _, w := range c.Workloads() {
		if w.Selector == nil {
			continue
		}
		sel, err := metav1.LabelSelectorAsSelector(w.Selector)
		if err != nil || !sel.Matches(labels.Set(w.Template.Labels)) {
			c.add(rowStatic, "give the template the labels that the selector asks for", "%s: its selector %s does not match its template's labels %s", w, metav1.FormatLabelSelector(w.Selector), labels.Set(w.Template.Labels))
		}
	}
	for _, svc := range Of[*corev1.Service](c.Set) {
		if len(svc.Spec.Selector) > 0 {
			c.selects("Service", svc.Namespace, svc.Name, &metav1.LabelSelector{MatchLabels: svc.Spec.Selector})
		}
	}
	for _, b := range Of[*policyv1.PodDisruptionBudget](c.Set) {
		c.selects("PodDisruptionBudget", b.Namespace, b.Name, b.Spec.Selector)
	}
	for _, p := range Of[*networkingv1.NetworkPolicy](c.Set) {
		c.selects("NetworkPolicy", p.Namespace, p.Name, &p.Spec.PodSelector)
	}
}

func (c *checker) selects(kind, namespace, name string, by *metav1.LabelSelector) {
	const fix = "select labels that a workload's template has"
	sel, err := metav1.LabelSelectorAsSelector(by)
	if err != nil {
		c.add(rowStatic, fix, "%s %s: %v", kind, name, err)
		return
	}
	if _, ok := c.Selected(namespace, sel); !ok {
		c.add(rowStatic, fix, "%s %s selects %s, which no workload's pods carry", kind, name, metav1.FormatLabelSelector(by))
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

// list writes names for people.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
