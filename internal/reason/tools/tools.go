// Package tools are what a model may ask about a case: the objects, events and logs that were read, how
// they hang together, what would fit, and which workflows there are. All of it reads the view and nothing
// else; every value comes with the evidence for it, and every answer is bounded.
//
// Of a Secret a tool tells that it exists, its type and the names of its keys.
package tools

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

// All returns the registry of every tool, in a fixed order.
func All() (reason.Registry, error) {
	var all []reason.Tool
	var errs []error
	for _, make := range []func() (reason.Tool, error){
		describe, get, list, events, logs, owners, neighbours, path, rollout, fitSelector, fitQuota, fitNodes, fitNetwork, workflows, previous,
	} {
		t, err := make()
		all, errs = append(all, t), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return reason.Registry{}, err
	}
	return reason.NewRegistry(all...)
}

// object names one object.
type object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty" jsonschema:"default: that of the incident"`
	Name      string `json:"name"`
}

func (o object) ref(v *reason.View) incident.Ref {
	ref := incident.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
	if ref.Namespace == "" {
		ref.Namespace = home(v)
	}
	if unscoped[ref.Kind] {
		ref.Namespace = ""
	}
	return ref
}

// home is the namespace that the incident is about.
func home(v *reason.View) string {
	if v.Incident.Resource.Kind == "Namespace" {
		return v.Incident.Resource.Name
	}
	return v.Incident.Resource.Namespace
}

// unscoped are built-in kinds without a namespace.
var unscoped = map[string]bool{
	"Node": true, "Namespace": true, "PersistentVolume": true, "StorageClass": true, "ClusterRole": true, "ClusterRoleBinding": true,
	"PriorityClass": true, "IngressClass": true, "GatewayClass": true, "CustomResourceDefinition": true, "VolumeAttachment": true, "CSIDriver": true, "CSINode": true,
	"ValidatingWebhookConfiguration": true, "MutatingWebhookConfiguration": true, "ValidatingAdmissionPolicy": true, "APIService": true, "RuntimeClass": true,
}

// find returns an object, or says in the output why there is none.
func find(ctx context.Context, v *reason.View, o object, out *reason.Output) *diagnose.Object {
	ref := o.ref(v)
	found, known := v.Find(ctx, ref)
	if found == nil && ref.Namespace != "" { // of a kind that the table does not know
		if other, k := v.Find(ctx, incident.Ref{Kind: ref.Kind, Name: ref.Name}); other != nil {
			found, known = other, k
		}
	}
	switch {
	case found != nil:
	case known == diagnose.Absent:
		if e, ok := v.Now().CiteAbsence(ref); ok {
			i := out.Fact(e)
			out.Findings = append(out.Findings, reason.Finding{Text: ref.String() + " does not exist", Facts: []int{i}})
		}
	default:
		out.Note("%s was not read, so it is not known whether it exists", ref)
		near(v.Now(), ref, out)
	}
	return found
}

// near names objects of the kind that were read.
func near(snap *diagnose.Snapshot, ref incident.Ref, out *reason.Output) {
	var names []string
	for _, o := range snap.Contents().Objects {
		if strings.EqualFold(o.Ref().Kind, ref.Kind) && len(names) < 20 {
			names = append(names, o.Ref().String())
		}
	}
	if len(names) > 0 {
		out.Note("of that kind there are: %s", strings.Join(names, ", "))
	}
}

// cite adds what stands at a place; what was not read is left out.
func cite(snap *diagnose.Snapshot, out *reason.Output, values ...diagnose.Value) (facts []int) {
	for _, v := range values {
		if e, ok := snap.Cite(v); ok && !secret(v) {
			facts = append(facts, out.Fact(e))
		}
	}
	return facts
}

// citePresent is cite without the places where nothing stands.
func citePresent(snap *diagnose.Snapshot, out *reason.Output, values ...diagnose.Value) []int {
	return cite(snap, out, slices.DeleteFunc(slices.Clone(values), func(v diagnose.Value) bool { return !v.Exists() })...)
}

// secret reports whether a place may hold the value of a Secret.
func secret(v diagnose.Value) bool {
	if v.Of() == nil || v.Of().Ref().Kind != "Secret" {
		return false
	}
	switch v.Path() {
	case "/metadata/name", "/metadata/namespace", "/metadata/creationTimestamp", "/metadata/deletionTimestamp", "/type", "/immutable":
		return false
	}
	return !strings.HasPrefix(v.Path(), "/metadata/ownerReferences")
}

// conclude adds a finding of the tool's own.
func conclude(out *reason.Output, facts []int, format string, args ...any) {
	out.Findings = append(out.Findings, reason.Finding{Text: fmt.Sprintf(format, args...), Facts: facts})
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
