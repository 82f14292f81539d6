package manifest

import (
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
)

// images compares what the pods run with what will be loaded, in both directions.
func (c *checker) images() {
	met := map[string]bool{} // by the last part of the name, so that a wrong name is one finding
	for _, w := range c.Workloads() {
		for _, container := range w.containers() {
			met[baseName(container.Image)] = true
			c.image(w, container)
			if p := container.ImagePullPolicy; p != corev1.PullIfNotPresent && p != corev1.PullNever {
				c.add(rowImage, "set imagePullPolicy: IfNotPresent", "%s: container %s has pull policy %q: the node would ask a registry for an image that was loaded", w, container.Name, p)
			}
		}
	}
	for _, ref := range c.expect.Images {
		if !met[baseName(ref)] {
			c.add(rowImage, "run it, or take it from the list of images to load", "image %s will be loaded and no pod of the rendered set runs it", ref)
		}
	}
}

// image reports the first thing that is wrong with a container's image.
func (c *checker) image(w Workload, container corev1.Container) {
	ref := container.Image
	repository, tag := splitTag(ref)
	first, rest, _ := strings.Cut(repository, "/")
	switch {
	case strings.HasPrefix(rest, "localhost/"):
		c.add(rowImage, "name it "+c.wanted(ref), "%s: container %s runs %s: the prefix localhost/ is there twice", w, container.Name, ref)
	case rest == "" || !strings.ContainsAny(first, ".:") && first != "localhost":
		c.add(rowQualified, "name it "+c.wanted(ref), "%s: container %s runs %q, which does not say which registry it is from", w, container.Name, ref)
	case tag == "" && !strings.Contains(ref, "@"):
		c.add(rowImage, "name it "+c.wanted(ref), "%s: container %s runs %s without a tag, which means latest", w, container.Name, ref)
	case tag == "latest":
		c.add(rowImage, "name it "+c.wanted(ref), "%s: container %s runs %s: what latest is changes under the node", w, container.Name, ref)
	case !valid(ref):
		c.add(rowImage, "name it "+c.wanted(ref), "%s: container %s runs %q, which is no image reference", w, container.Name, ref)
	case !slices.Contains(c.expect.Images, ref):
		c.addLines(rowImage, "name it "+c.wanted(ref), w.String()+": container "+container.Name+" runs "+ref+", which will not be loaded",
			append([]string{"will be loaded:"}, c.expect.Images...)...)
	}
}

// valid parses a reference as strictly as the kubelet does.
func valid(ref string) bool {
	_, err := name.ParseReference(ref, name.StrictValidation)
	return err == nil
}

// wanted returns the image of the load list that has the same last part, or says that there is none.
func (c *checker) wanted(ref string) string {
	for _, l := range c.expect.Images {
		if baseName(l) == baseName(ref) {
			return l
		}
	}
	return "as one of the images that are loaded: " + list(c.expect.Images)
}

// baseName returns the last part of an image's name, without its tag and digest.
func baseName(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	repository, _ := splitTag(ref)
	return path.Base(repository)
}
