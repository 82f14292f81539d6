package diagnose_test

import (
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

func TestPartCovers(t *testing.T) {
	tree := map[string]any{"kind": "Pod", "metadata": map[string]any{"name": "a", "namespace": "n"}, "spec": map[string]any{"nodeName": "x"}}
	part, err := diagnose.NewPart(tree, []string{"/spec/nodeName", "/status"})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := diagnose.NewObject(tree, false)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"/spec/nodeName": true, "/status/conditions/0": true, "/status": true, "/spec": false, "/spec/nodeNames": false, "/metadata/labels": false,
	} {
		if got := part.Covers(path); got != want {
			t.Errorf("Covers(%s) = %v, want %v", path, got, want)
		}
		if !whole.Covers(path) {
			t.Errorf("a whole object does not cover %s", path)
		}
	}
	if !part.At("spec", "nodeName").Known() || part.At("spec", "affinity").Known() || !part.At("status", "phase").Known() {
		t.Error("Known does not follow Covers")
	}
}

// What a form does not print is no evidence of absence.
func TestVerifyRefusesUnreadAbsence(t *testing.T) {
	part, err := diagnose.NewPart(map[string]any{"kind": "Node", "metadata": map[string]any{"name": "a"}}, []string{"/spec/unschedulable"})
	if err != nil {
		t.Fatal(err)
	}
	snap := diagnose.NewSnapshot(diagnose.Contents{Objects: []*diagnose.Object{part}})
	claim := func(path string) []incident.Evidence {
		return []incident.Evidence{{ID: "e1", Kind: incident.EvidenceObject, Ref: part.Ref(), Path: path, Absent: true, SHA256: incident.HashValue("")}}
	}
	if err := diagnose.Verify(snap, claim("/spec/unschedulable")); err != nil {
		t.Errorf("what was read and is not there: %v", err)
	}
	if err := diagnose.Verify(snap, claim("/spec/taints")); err == nil {
		t.Error("what was not read counts as absent")
	}
}
