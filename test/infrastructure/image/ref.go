package image

import (
	"fmt"
	"regexp"
	"strings"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// registry is where images live that come from no registry; prefix is what the names of ours begin with.
const (
	registry = "localhost"
	prefix   = "kubernaut-"
)

// Ref is a reference to an image in the one spelling that the engine, the archive, containerd and the manifests share.
type Ref struct {
	// Name is the registry and the path, as "localhost/kubernaut-aianalysis" or "docker.io/library/postgres".
	Name string
	// Tag and Digest may be empty; a digest has its algorithm before it.
	Tag, Digest string
}

var (
	component = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	hostname  = regexp.MustCompile(`^(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+:[0-9]+)$`)
	tagged    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	digested  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ParseRef reads a reference as people, manifests and engines write it. "localhost/" that was put before a name twice
// counts once, and one that was stripped from a name of ours comes back; any other name without a registry is Docker
// Hub's, as the engines take it. A reference that no engine would take is an error of class permanent that says why.
func ParseRef(s string) (Ref, error) {
	bad := func(why string) (Ref, error) {
		return Ref{}, failure.New(failure.Permanent, "F12", fmt.Sprintf("image reference %q: %s", s, why), "write it as localhost/NAME:TAG")
	}
	rest, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest && !digested.MatchString(digest) {
		return bad("what follows @ is no sha256 digest")
	}
	name, tag := rest, ""
	// A colon before the last slash belongs to a registry's port, or to a tag with a slash in it.
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		name, tag = rest[:i], rest[i+1:]
		if !tagged.MatchString(tag) {
			return bad(fmt.Sprintf("%q cannot be a tag", tag))
		}
	}
	if name == "" {
		return bad("it has no name")
	}
	parts := strings.Split(name, "/")
	for len(parts) > 2 && parts[0] == registry && parts[1] == registry {
		parts = parts[1:]
	}
	switch {
	case len(parts) > 1 && hostname.MatchString(parts[0]):
	case len(parts) == 1 && strings.HasPrefix(parts[0], prefix):
		parts = []string{registry, parts[0]}
	case len(parts) == 1:
		parts = []string{"docker.io", "library", parts[0]}
	default:
		parts = append([]string{"docker.io"}, parts...)
	}
	for _, p := range parts[1:] {
		switch {
		case strings.Contains(p, ":"):
			return bad("a tag cannot contain a slash")
		case !component.MatchString(p):
			return bad(fmt.Sprintf("%q cannot be a part of a name; they are of lower-case letters, digits and single . _ - between them", p))
		}
	}
	return Ref{Name: strings.Join(parts, "/"), Tag: tag, Digest: digest}, nil
}

// String is the reference, which ParseRef reads back.
func (r Ref) String() string {
	s := r.Name
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// Local reports whether the image comes from this machine and from no registry.
func (r Ref) Local() bool { return strings.HasPrefix(r.Name, registry+"/") }
