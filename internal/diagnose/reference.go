package diagnose

import "kubernaut.ai/kubernaut/internal/incident"

// reference is a name in a Pod's spec that must exist for the Pod to start.
type reference struct {
	kind      string // ConfigMap, Secret, PersistentVolumeClaim or ServiceAccount
	name      Value  // the place of the name
	key       Value  // the place of the key that must exist in it; nowhere when any will do
	container string // the container that needs it; "" for the whole Pod
	volume    string // the volume that needs it; "" for environment variables
	optional  bool
}

// ref is the object that the reference means when a Pod, or a Pod template, of o's namespace makes it.
func (r reference) ref(o *Object) incident.Ref {
	return incident.Ref{APIVersion: "v1", Kind: r.kind, Namespace: o.ref.Namespace, Name: r.name.Str()}
}

// podReferences lists what a Pod's spec names, in the order of the spec.
func podReferences(spec Value) []reference {
	var out []reference
	add := func(r reference) {
		if r.name.Str() != "" {
			out = append(out, r)
		}
	}
	add(reference{kind: "ServiceAccount", name: spec.At("serviceAccountName")})
	for _, v := range spec.At("volumes").Items() {
		volume := v.At("name").Str()
		add(reference{kind: "PersistentVolumeClaim", name: v.At("persistentVolumeClaim", "claimName"), volume: volume})
		addSource := func(kind string, src Value, nameKey string) {
			base := reference{kind: kind, name: src.At(nameKey), volume: volume, optional: src.At("optional").Bool()}
			add(base)
			for _, item := range src.At("items").Items() {
				withKey := base
				withKey.key = item.At("key")
				add(withKey)
			}
		}
		addSource("ConfigMap", v.At("configMap"), "name")
		addSource("Secret", v.At("secret"), "secretName")
		for _, p := range v.At("projected", "sources").Items() {
			addSource("ConfigMap", p.At("configMap"), "name")
			addSource("Secret", p.At("secret"), "name")
		}
	}
	for _, list := range []string{"initContainers", "containers"} {
		for _, ctr := range spec.At(list).Items() {
			name := ctr.At("name").Str()
			for _, from := range ctr.At("envFrom").Items() {
				cm, secret := from.At("configMapRef"), from.At("secretRef")
				add(reference{kind: "ConfigMap", name: cm.At("name"), container: name, optional: cm.At("optional").Bool()})
				add(reference{kind: "Secret", name: secret.At("name"), container: name, optional: secret.At("optional").Bool()})
			}
			for _, env := range ctr.At("env").Items() {
				cm, secret := env.At("valueFrom", "configMapKeyRef"), env.At("valueFrom", "secretKeyRef")
				add(reference{kind: "ConfigMap", name: cm.At("name"), key: cm.At("key"), container: name, optional: cm.At("optional").Bool()})
				add(reference{kind: "Secret", name: secret.At("name"), key: secret.At("key"), container: name, optional: secret.At("optional").Bool()})
			}
		}
	}
	return out
}
