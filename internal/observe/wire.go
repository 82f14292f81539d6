package observe

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// errBudget ends the reading of an answer that would exceed Limits.MaxBytes.
var errBudget = errors.New("the byte limit of the observation is reached")

type byteBudget struct {
	limit int64
	used  atomic.Int64
}

// countingTransport charges the bytes of answers to a budget.
type countingTransport struct {
	base   http.RoundTripper
	budget *byteBudget
}

func (t *countingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err == nil {
		resp.Body = &countingBody{resp.Body, t.budget}
	}
	return resp, err
}

type countingBody struct {
	io.ReadCloser
	budget *byteBudget
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.budget.used.Add(int64(n)) > b.budget.limit {
		return n, errBudget
	}
	return n, err
}

// client returns the client by which a kind comes as protobuf; nil when this program has no Go type of it.
func (r *reader) client(k kind) rest.Interface {
	gv := k.resource.GroupVersion()
	if !scheme.Scheme.Recognizes(gv.WithKind(k.name)) {
		return nil
	}
	return r.typed[gv]
}

// page reads one page of a list.
func (r *reader) page(q query, opts metav1.ListOptions) (items []item, next string, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.limits.CallTimeout)
	defer cancel()
	r.calls.Add(1)
	r.lists.Add(1)
	if q.kind.is(metadataOnly) {
		list, err := r.metadata.Resource(q.kind.resource).Namespace(q.namespace).List(ctx, opts)
		if err != nil {
			return nil, "", err
		}
		for i := range list.Items {
			items = append(items, stamp(q.kind, metadataTree(&list.Items[i])))
		}
		return items, list.Continue, nil
	}
	if c := r.client(q.kind); c != nil {
		list, err := c.Get().NamespaceIfScoped(q.namespace, q.namespace != "").Resource(q.kind.resource.Resource).
			VersionedParams(&opts, scheme.ParameterCodec).Do(ctx).Get()
		if err != nil {
			return nil, "", err
		}
		of, err := meta.ListAccessor(list)
		if err != nil {
			return nil, "", err
		}
		err = meta.EachListItem(list, func(o runtime.Object) error {
			tree, err := treeOf(q.kind, o)
			items = append(items, stamp(q.kind, tree))
			return err
		})
		return items, of.GetContinue(), err
	}
	list, err := r.dynamic.Resource(q.kind.resource).Namespace(q.namespace).List(ctx, opts)
	if err != nil {
		return nil, "", err
	}
	for i := range list.Items {
		slim(q.kind, list.Items[i].Object)
		items = append(items, stamp(q.kind, list.Items[i].Object))
	}
	return items, list.GetContinue(), nil
}

// one reads one object.
func (r *reader) one(q query) (item, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.limits.CallTimeout)
	defer cancel()
	r.calls.Add(1)
	if q.kind.is(metadataOnly) {
		o, err := r.metadata.Resource(q.kind.resource).Namespace(q.namespace).Get(ctx, q.name, metav1.GetOptions{})
		if err != nil {
			return item{}, err
		}
		return stamp(q.kind, metadataTree(o)), nil
	}
	if c := r.client(q.kind); c != nil {
		o, err := c.Get().NamespaceIfScoped(q.namespace, q.namespace != "").Resource(q.kind.resource.Resource).Name(q.name).Do(ctx).Get()
		if err != nil {
			return item{}, err
		}
		tree, err := treeOf(q.kind, o)
		return stamp(q.kind, tree), err
	}
	o, err := r.dynamic.Resource(q.kind.resource).Namespace(q.namespace).Get(ctx, q.name, metav1.GetOptions{})
	if err != nil {
		return item{}, err
	}
	slim(q.kind, o.Object)
	return stamp(q.kind, o.Object), nil
}

// stamp puts back the kind, which the items of a list do not carry.
func stamp(k kind, tree map[string]any) item {
	if tree != nil {
		tree["apiVersion"], tree["kind"] = k.apiVersion(), k.name
	}
	return item{tree: tree, partial: k.is(metadataOnly)}
}

// treeOf turns a Go value into a JSON tree. Who wrote which field is cut short before: it is most of many objects' text.
func treeOf(k kind, o runtime.Object) (map[string]any, error) {
	access, err := meta.Accessor(o)
	if err != nil {
		return nil, err
	}
	if k.is(busy) {
		access.SetManagedFields(nil)
	} else {
		access.SetManagedFields(shortened(access.GetManagedFields()))
	}
	if node, ok := o.(*corev1.Node); ok {
		node.Status.Images = nil // most of a node's text; what it could still run without pulling explains nothing
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(o)
}

// shortened keeps of which fields an entry is no more than the top. An entry that cannot be read owns nothing that it says.
func shortened(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	for i := range entries {
		if entries[i].FieldsV1 == nil {
			continue
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(entries[i].FieldsV1.GetRawBytes(), &fields) != nil {
			entries[i].FieldsV1 = nil
			continue
		}
		for k := range fields {
			fields[k] = json.RawMessage("{}")
		}
		raw, err := json.Marshal(fields)
		if err != nil {
			raw = nil
		}
		entries[i].FieldsV1 = &metav1.FieldsV1{}
		entries[i].FieldsV1.SetRawBytes(raw)
	}
	return entries
}

// slim drops what is large and nobody reads: the schemas of custom resources, and who wrote what in busy objects.
func slim(k kind, tree map[string]any) {
	if m, ok := tree["metadata"].(map[string]any); ok {
		if k.is(busy) {
			delete(m, "managedFields")
		} else {
			shortenHistory(m)
		}
	}
	if k.name != "CustomResourceDefinition" {
		return
	}
	spec, _ := tree["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	for _, v := range versions {
		if version, ok := v.(map[string]any); ok {
			delete(version, "schema")
		}
	}
}

// metadataTree keeps of an object's metadata what the engine reads. Annotations are left out: on a Secret they may repeat
// its contents.
func metadataTree(o *metav1.PartialObjectMetadata) map[string]any {
	kept := metav1.ObjectMeta{
		Name: o.Name, Namespace: o.Namespace, UID: o.UID, ResourceVersion: o.ResourceVersion, CreationTimestamp: o.CreationTimestamp,
		DeletionTimestamp: o.DeletionTimestamp, Labels: o.Labels, OwnerReferences: o.OwnerReferences, Finalizers: o.Finalizers, ManagedFields: shortened(o.ManagedFields),
	}
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&kept)
	if err != nil { // ObjectMeta is plain data
		tree = map[string]any{"name": o.Name, "namespace": o.Namespace}
	}
	if o.CreationTimestamp.IsZero() {
		delete(tree, "creationTimestamp")
	}
	return map[string]any{"metadata": tree}
}
