package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
)

const (
	crdOwner    = "kubernaut"
	crdInterval = 50 * time.Millisecond
	crdTimeout  = 30 * time.Second
)

// InstallCRDs applies the CustomResourceDefinitions in manifest, a YAML stream that holds nothing else, and returns when
// the API server serves them. Applying the same ones again changes nothing.
func InstallCRDs(ctx context.Context, cfg *rest.Config, manifest []byte) error {
	client, err := clientset.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("install CRDs: %w", err)
	}
	crds, err := decodeCRDs(manifest)
	if err != nil {
		return fmt.Errorf("install CRDs: %w", err)
	}
	force := true
	for _, crd := range crds {
		opts := metav1.PatchOptions{FieldManager: crdOwner, Force: &force}
		if _, err := client.ApiextensionsV1().CustomResourceDefinitions().Patch(ctx, crd.Name, types.ApplyPatchType, crd.body, opts); err != nil {
			return fmt.Errorf("install CRD %s: %w", crd.Name, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, crdTimeout, fmt.Errorf("not served within %s", crdTimeout))
	defer cancel()
	for _, crd := range crds {
		for _, v := range crd.Spec.Versions {
			if !v.Served {
				continue
			}
			group := "/apis/" + crd.Spec.Group
			version := group + "/" + v.Name
			// Discovery, which clients ask before they ask for the resource, can come after the resource.
			for _, uri := range []string{version + "/" + crd.Spec.Names.Plural + "?limit=1", group, version} {
				if err := untilServed(ctx, cfg, uri); err != nil {
					return fmt.Errorf("install CRD %s, version %s: %w", crd.Name, v.Name, err)
				}
			}
		}
	}
	return nil
}

// crd is a definition and the JSON it was read from, which is what is applied: the type would add empty fields.
type crd struct {
	apiextensionsv1.CustomResourceDefinition
	body []byte
}

func decodeCRDs(manifest []byte) ([]*crd, error) {
	var crds []*crd
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		c := new(crd)
		if c.body, err = yaml.ToJSON(doc); err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		if string(c.body) == "null" { // nothing but comments
			continue
		}
		if err := json.Unmarshal(c.body, &c.CustomResourceDefinition); err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		if c.Kind != "CustomResourceDefinition" || c.APIVersion != apiextensionsv1.SchemeGroupVersion.String() || c.Name == "" {
			return nil, fmt.Errorf("the manifest holds %s %s %q: want named CustomResourceDefinitions of %s only", c.APIVersion, c.Kind, c.Name, apiextensionsv1.SchemeGroupVersion)
		}
		crds = append(crds, c)
	}
	if len(crds) == 0 {
		return nil, errors.New("the manifest is empty")
	}
	return crds, nil
}

// untilServed waits for the path to be answered: a CRD is Established a little before its resource is served.
func untilServed(ctx context.Context, cfg *rest.Config, uri string) error {
	tick := time.NewTicker(crdInterval)
	defer tick.Stop()
	for {
		err := get(ctx, cfg, uri)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
