// Package manifest renders the manifests that ship and checks them against everything that they have to agree with,
// before anything is built: the images that will be loaded, the ports that the cluster maps, the entry points, flags
// and environment of the programs, and the configuration, policy and workflows that those programs will read.
//
// What is checked is what would fail in a cluster minutes later: each finding says what is wrong, where, and what to
// do, and all of them are reported at once. Everything happens in this process and takes a second.
package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/filters/imagetag"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Object is one rendered object: as it was written, which is what to apply, and decoded, which is what to look at.
type Object struct {
	client.Object
	Raw *unstructured.Unstructured
}

// Set is what a kustomization renders to, in the order of rendering.
type Set struct {
	Objects []Object
}

// Render builds the kustomization in directory dir of tree, with the images that images names replaced: it maps the name
// under which an image stands in the manifests, without a tag, to the reference to run. Nothing outside tree is read,
// remote resources included.
//
// Every document is decoded strictly. The error is a failure.Typed: one that lists all documents that did not decode,
// or what kustomize said.
func Render(tree fs.FS, dir string, images map[string]string) (*Set, error) {
	files, err := inMemory(tree)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", dir, err)
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // the order in which kubectl applies
	resources, err := krusty.MakeKustomizer(options).Run(files, path.Join(top, dir))
	if err != nil {
		text := strings.ReplaceAll(err.Error(), top+"/", "")
		return nil, failure.New(failure.Permanent, "", dir+" does not render", "repair the kustomization; kubectl kustomize "+dir+" shows the same", text)
	}
	if err := replaceImages(resources, images); err != nil {
		return nil, fmt.Errorf("render %s: %w", dir, err)
	}
	decoder, err := strict()
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", dir, err)
	}
	s := &Set{}
	var faults []string
	for _, r := range resources.Resources() {
		text, err := r.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", dir, err)
		}
		o, err := decode(decoder, text)
		if err != nil {
			faults = append(faults, fmt.Sprintf("%s %s: %v", r.GetKind(), r.GetName(), err))
			continue
		}
		s.Objects = append(s.Objects, o)
	}
	if len(faults) > 0 {
		return nil, failure.New(failure.Permanent, "", fmt.Sprintf("%s renders to %d objects that the API would refuse or ignore in part", dir, len(faults)),
			"correct the fields that are named below", faults...)
	}
	return s, nil
}

// top is where the tree lies in the file system that kustomize sees.
const top = "/tree"

// inMemory copies a tree, so that kustomize sees nothing else.
func inMemory(tree fs.FS) (filesys.FileSystem, error) {
	files := filesys.MakeFsInMemory()
	err := fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || path.Ext(name) == ".go" {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return files.WriteFile(path.Join(top, name), text)
	})
	return files, err
}

// replaceImages does what the field images of one more kustomization on top would do.
func replaceImages(resources resmap.ResMap, images map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(images)) {
		i := types.Image{Name: name}
		i.NewName, i.NewTag = splitTag(images[name])
		if i.NewName == "" || i.NewTag == "" {
			return fmt.Errorf("image %s is to be replaced by %q: want a name and a tag", name, images[name])
		}
		if err := resources.ApplyFilter(imagetag.LegacyFilter{ImageTag: i}); err != nil {
			return fmt.Errorf("replace image %s: %w", name, err)
		}
	}
	return nil
}

// splitTag separates an image reference at the colon of its tag; a port is not a tag.
func splitTag(ref string) (name, tag string) {
	if i := strings.LastIndex(ref, ":"); i > strings.LastIndex(ref, "/") {
		return ref[:i], ref[i+1:]
	}
	return ref, ""
}

// Decode decodes one YAML document strictly: a field that its type does not have, or has twice, is an error.
func Decode(text []byte) (Object, error) {
	text, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return Object{}, err
	}
	decoder, err := strict()
	if err != nil {
		return Object{}, err
	}
	return decode(decoder, text)
}

func strict() (runtime.Decoder, error) {
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(known); err != nil {
			return nil, err
		}
	}
	return serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer(), nil
}

func decode(decoder runtime.Decoder, text []byte) (Object, error) {
	typed, _, err := decoder.Decode(text, nil, nil)
	if err != nil {
		return Object{}, err
	}
	o, ok := typed.(client.Object)
	if !ok {
		return Object{}, errors.New("is no object with a name")
	}
	raw := &unstructured.Unstructured{}
	if err := raw.UnmarshalJSON(text); err != nil {
		return Object{}, err
	}
	return Object{Object: o, Raw: raw}, nil
}

// Raw returns the objects as they were written, in the order in which to apply them: that of their stages.
func (s *Set) Raw() []*unstructured.Unstructured {
	list := make([]*unstructured.Unstructured, 0, len(s.Objects))
	for _, o := range s.Objects {
		list = append(list, o.Raw)
	}
	slices.SortStableFunc(list, func(a, b *unstructured.Unstructured) int {
		return cmp.Compare(StageOf(a.GetKind()), StageOf(b.GetKind()))
	})
	return list
}

// Stage is when an object is applied: all objects of a stage come before those of the next.
type Stage int

const (
	Definitions Stage = iota // what makes other objects possible
	Namespaces
	Config    // what pods refer to
	Workloads // what makes pods
)

// StageOf returns the stage of a kind.
func StageOf(kind string) Stage {
	switch kind {
	case "CustomResourceDefinition":
		return Definitions
	case "Namespace":
		return Namespaces
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod":
		return Workloads
	}
	return Config
}

// Of returns the objects of one type.
func Of[T client.Object](s *Set) []T {
	var list []T
	for _, o := range s.Objects {
		if typed, ok := o.Object.(T); ok {
			list = append(list, typed)
		}
	}
	return list
}

// Named returns the object of one type with a name, in the given namespace; that is "" for objects of the cluster.
func Named[T client.Object](s *Set, namespace, name string) (T, bool) {
	for _, o := range Of[T](s) {
		if o.GetNamespace() == namespace && o.GetName() == name {
			return o, true
		}
	}
	var none T
	return none, false
}
