package diagnose_test

import (
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
)

// onlyByName are scenarios whose answer depends on what was asked about.
var onlyByName = map[string]string{
	"healthy-down-before-start":        "the collector that its client does without is down itself",
	"node-selector-mismatch-daemonset": "a DaemonSet for nodes that a cluster has not is no fault of the cluster",
	"healthy-undeclared-port":          "the Service sends to a port that its Pods, which declare others, do not declare: a hint for the workload, a fault for the whole",
	"pdb-blocks-budget":                "no node waits for the budget, which has been so for long",
	"undecidable-gone":                 "of a workload that nothing remembers nothing is seen in its namespace",
}

// A fault is found, and nothing else, when all of its namespace or of the cluster is asked about.
func TestWideScopes(t *testing.T) {
	for _, s := range load(t) {
		if onlyByName[s.Name] != "" {
			continue
		}
		in := s.Input()
		scopes := []incident.Ref{diagnose.WholeCluster}
		if in.Resource.Kind == "Namespace" {
			scopes = append(scopes, in.Resource)
		} else if in.Resource.Namespace != "" {
			scopes = append(scopes, incident.Ref{APIVersion: "v1", Kind: "Namespace", Name: in.Resource.Namespace})
		}
		for _, scope := range scopes {
			in.Resource = scope
			t.Run(s.Name+"/"+scope.Kind, func(t *testing.T) {
				r := diagnose.Run(snapshot(t, s, scenario.Variant{}), in)
				if r.Verdict != s.Expect.Verdict {
					t.Errorf("verdict = %s, want %s: %s", r.Verdict, s.Expect.Verdict, r.Summary)
				}
				if r.Cause != nil {
					if got, want := string(r.Cause.Class)+" of "+r.Cause.Target.String(), s.Expect.Class+" of "+s.Expect.Target; got != want && s.Expect.Target != "" {
						t.Errorf("cause = %s, want %s", got, want)
					}
					if !r.TargetInOwnerChain {
						t.Errorf("%s does not count as related to %s", r.Cause.Target, scope)
					}
				}
				if s.Healthy == nil || s.Healthy.Verdict != "" {
					return
				}
				if r := diagnose.Run(snapshot(t, s, scenario.Variant{Healthy: true}), in); r.Verdict != diagnose.VerdictHealthy || len(r.Others) > 0 {
					t.Errorf("healthy twin: %s: %s", r.Verdict, r.Summary)
				}
			})
		}
	}
}
