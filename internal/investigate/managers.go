package investigate

import (
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// managers returns who declares the target, by the marks that Argo CD, Flux and Helm leave on the
// objects that they apply. Callers often do not know, and an object that is managed must not be
// changed behind its manager's back. The marks are on the target or on one of its owners.
func managers(snap *diagnose.Snapshot, target incident.Ref) incident.DetectedLabels {
	var found incident.DetectedLabels
	ref := target
	for range 8 { // owners of owners; a cycle ends here too
		object := snap.Object(ref)
		if object == nil {
			break
		}
		marks(object, &found)
		owner, ok := object.Owner()
		if !ok {
			break
		}
		ref = owner
	}
	return found
}

func marks(o *diagnose.Object, found *incident.DetectedLabels) {
	has := func(key string) bool {
		return o.At("metadata", "labels", key).Exists() || o.At("metadata", "annotations", key).Exists()
	}
	switch {
	case has("argocd.argoproj.io/tracking-id"), has("argocd.argoproj.io/instance"):
		found.GitOpsManaged, found.GitOpsTool = true, "argocd"
	case has("kustomize.toolkit.fluxcd.io/name"), has("helm.toolkit.fluxcd.io/name"):
		found.GitOpsManaged, found.GitOpsTool = true, "flux"
	}
	if has("meta.helm.sh/release-name") {
		found.HelmManaged = true
	}
}

// withManagers adds what was seen on the target to what the caller detected.
func withManagers(d, seen incident.DetectedLabels) incident.DetectedLabels {
	drop := map[string]bool{}
	if seen.GitOpsManaged {
		d.GitOpsManaged, d.GitOpsTool = true, seen.GitOpsTool
		drop["gitOpsManaged"], drop["gitOpsTool"] = true, true
	}
	if seen.HelmManaged {
		d.HelmManaged = true
		drop["helmManaged"] = true
	}
	var failed []string
	for _, f := range d.FailedDetections {
		if !drop[f] {
			failed = append(failed, f)
		}
	}
	d.FailedDetections = failed
	return d
}
