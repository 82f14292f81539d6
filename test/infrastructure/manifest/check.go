package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Expect is what a rendered set has to agree with.
type Expect struct {
	// Images are the references that will be loaded into the cluster to be run by the set: it runs each of them, and
	// no other.
	Images []string
	// HostPorts maps ports of the host to node ports, as the cluster's configuration does. Each leads to a Service, but
	// for the node ports in Reserved; each node port of a Service has one.
	HostPorts map[int32]int32
	Reserved  []int32
	// Provided are objects that are made when the set is applied, a Secret with a generated password, say, with the
	// keys and values that they will have.
	Provided []client.Object
	// Dockerfiles holds <service>.Dockerfile for each of our images, localhost/kubernaut-<service>.
	Dockerfiles fs.FS
	// PodSecurity is the Pod Security level that each namespace of the set enforces and that its pods fulfil;
	// empty: restricted.
	PodSecurity string
}

// Rows of the failure table that a check comes before.
const (
	rowImage     = "F38" // the image is not on the node under the name that the manifest has
	rowQualified = "F35" // the name does not say which registry
	rowReference = "F39" // a pod refers to what does not exist
	rowCrash     = "F40" // the program ends at once
	rowStatic    = ""    // no row: what it would look like later differs
)

// Check compares a set with what it has to agree with and returns all findings, joined, in a fixed order. Each is a
// failure.Typed of class permanent; an error that is not means that the check itself could not run.
func Check(s *Set, e Expect) error {
	dir, err := os.MkdirTemp("", "kubernaut-static-")
	if err != nil {
		return fmt.Errorf("static check: %w", err)
	}
	defer os.RemoveAll(dir)
	c := &checker{Set: s, expect: e, known: &Set{Objects: s.Objects}, dir: dir}
	for _, o := range e.Provided {
		c.known.Objects = append(c.known.Objects, Object{Object: o})
	}
	for _, check := range []func(){
		c.namespaces, c.references, c.bindings, c.selectors, c.images, c.ports, c.nodePorts, c.podSecurity, c.order, c.programs,
	} {
		check()
	}
	return errors.Join(append(c.findings, c.err)...)
}

// checker collects findings.
type checker struct {
	*Set
	known    *Set // the set and what is provided
	expect   Expect
	dir      string // for files that the loaders read
	findings []error
	err      error
}

// add reports a finding: what is wrong and where, and what to do.
func (c *checker) add(row, fix, format string, args ...any) {
	c.findings = append(c.findings, failure.New(failure.Permanent, row, fmt.Sprintf(format, args...), fix))
}

// addLines reports a finding with the lines that prove it.
func (c *checker) addLines(row, fix, summary string, lines ...string) {
	c.findings = append(c.findings, failure.New(failure.Permanent, row, summary, fix, lines...))
}

// builtIn are the namespaces that every cluster has.
var builtIn = map[string]bool{"default": true, "kube-system": true, "kube-public": true, "kube-node-lease": true}

// namespaces finds objects whose namespace nobody makes.
func (c *checker) namespaces() {
	for _, o := range c.Objects {
		ns := o.GetNamespace()
		if _, ok := Named[*corev1.Namespace](c.known, "", ns); ns != "" && !ok && !builtIn[ns] {
			c.add(rowReference, "add the Namespace to the kustomization, or correct the name", "%s %s: namespace %q is not in the rendered set", o.Raw.GetKind(), o.GetName(), ns)
		}
	}
}

// order finds objects that are rendered, and so applied by kubectl, after what needs them: a namespace after what is in
// it, and what pods refer to after what makes pods.
func (c *checker) order() {
	var late []string
	inside, pods := map[string]string{}, map[string]string{} // namespace → the first object in it, and that makes pods
	for _, o := range c.Objects {
		kind, ns := o.Raw.GetKind(), o.GetNamespace()
		me := kind + " " + o.GetName()
		switch {
		case kind == "Namespace":
			late = appendLate(late, me, inside[o.GetName()])
		case referable[kind]:
			late = appendLate(late, me, pods[ns])
		case StageOf(kind) == Workloads && pods[ns] == "":
			pods[ns] = me
		}
		if inside[ns] == "" {
			inside[ns] = me
		}
	}
	if len(late) > 0 {
		c.addLines(rowReference, "remove sortOptions from the kustomization, or put them first", fmt.Sprintf("%d objects come after what needs them: %s", len(late), late[0]), late...)
	}
}

// referable are the kinds that a pod needs before it can start.
var referable = map[string]bool{"ConfigMap": true, "Secret": true, "ServiceAccount": true, "PersistentVolumeClaim": true}

func appendLate(late []string, me, first string) []string {
	if first == "" {
		return late
	}
	return append(late, me+" comes after "+first)
}
