package image

import (
	"cmp"
	"path"
)

// Spec is an image that can be built: one program of this module and the Dockerfile around it.
type Spec struct {
	// Name is the service's; the image is localhost/kubernaut-<name>.
	Name string
	// Package is the directory of the program in the module.
	Package string
	// Dockerfile is its path in the module. It copies bin/linux/<base of Package> from its context, and nothing else.
	Dockerfile string
	// Counters says that a coverage build compiles counters into it: the program is what is tested, not a tool of the tests.
	Counters bool
}

// Services are the images of the product.
func Services() []Spec {
	service := func(name string) Spec {
		return Spec{Name: name, Package: "cmd/" + name, Dockerfile: "docker/" + name + ".Dockerfile", Counters: true}
	}
	return []Spec{service("aianalysis"), service("holmesgpt-api"), service("datastorage")}
}

// Workload is the image of the program that the specifications run in the cluster.
func Workload() Spec {
	return Spec{Name: "e2e-workload", Package: "test/e2e/workload", Dockerfile: "test/e2e/workload/Dockerfile"}
}

// Repository is the image's name without a tag.
func (s Spec) Repository() string { return registry + "/" + prefix + s.Name }

// program is the file name of the binary.
func (s Spec) program() string { return path.Base(s.Package) }

// instrumented reports whether the build of s has counters.
func (s Spec) instrumented(coverage bool) bool { return coverage && s.Counters }

// estimate is what a build of the image is taken to need when it was never measured: a link of a large program.
func (s Spec) estimate(measured int64) int64 { return cmp.Or(measured, int64(unmeasured)) }
