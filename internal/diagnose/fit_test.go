package diagnose

import (
	"slices"
	"testing"
)

func TestRequirementHolds(t *testing.T) {
	labels := map[string]string{"zone": "a", "cores": "8"}
	for _, tt := range []struct {
		r    requirement
		want bool
	}{
		{requirement{key: "zone", operator: "In", values: []string{"a", "b"}}, true},
		{requirement{key: "zone", operator: "In", values: []string{"c"}}, false},
		{requirement{key: "disk", operator: "In", values: []string{""}}, false},
		{requirement{key: "zone", operator: "NotIn", values: []string{"c"}}, true},
		{requirement{key: "disk", operator: "NotIn", values: []string{"c"}}, true},
		{requirement{key: "zone", operator: "Exists"}, true},
		{requirement{key: "disk", operator: "DoesNotExist"}, true},
		{requirement{key: "cores", operator: "Gt", values: []string{"4"}}, true},
		{requirement{key: "cores", operator: "Lt", values: []string{"4"}}, false},
		{requirement{key: "zone", operator: "Gt", values: []string{"4"}}, false},
		{requirement{key: "zone", operator: "Sideways"}, false},
	} {
		if got := tt.r.holds(labels); got != tt.want {
			t.Errorf("%s holds = %v, want %v", tt.r, got, tt.want)
		}
	}
}

func TestTolerates(t *testing.T) {
	taint := map[string]any{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}
	for _, tt := range []struct {
		name string
		tol  map[string]any
		want bool
	}{
		{"the same", map[string]any{"key": "dedicated", "operator": "Equal", "value": "batch", "effect": "NoSchedule"}, true},
		{"Equal is the default, any effect", map[string]any{"key": "dedicated", "value": "batch"}, true},
		{"the key exists", map[string]any{"key": "dedicated", "operator": "Exists"}, true},
		{"everything", map[string]any{"operator": "Exists"}, true},
		{"another value", map[string]any{"key": "dedicated", "value": "web"}, false},
		{"another effect", map[string]any{"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, false},
		{"no key without Exists", map[string]any{"value": "batch"}, false},
	} {
		if got := tolerates(place(tt.tol), place(taint)); got != tt.want {
			t.Errorf("%s: tolerates = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSchedulerReasons(t *testing.T) {
	for _, tt := range []struct {
		message string
		want    []string
	}{
		{
			"0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
			[]string{"Insufficient cpu", "node(s) had untolerated taint {a: b}"},
		},
		{"0/1 nodes are available: 1 Insufficient memory.", []string{"Insufficient memory"}},
		{"something else", nil},
		{"", nil},
	} {
		if got := schedulerReasons(tt.message); !slices.Equal(got, tt.want) {
			t.Errorf("schedulerReasons(%q) = %q, want %q", tt.message, got, tt.want)
		}
	}
}

func TestClassifyPull(t *testing.T) {
	for _, tt := range []struct {
		message string
		want    pullFailure
	}{
		{`failed to resolve reference "docker.io/library/nope:1": docker.io/library/nope:1: not found`, pullNotFound},
		{"manifest for nginx:nope not found: manifest unknown: manifest unknown", pullNotFound},
		{"reading manifest 9 in quay.io/x/y: manifest unknown", pullNotFound},
		{"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed", pullAmbiguous},
		{"Error response from daemon: pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", pullAmbiguous},
		{"failed to fetch anonymous token: unexpected status from GET request to https://x/token: 401 Unauthorized", pullDenied},
		{"unexpected status from HEAD request to https://x/v2/y/manifests/1: 403 Forbidden", pullDenied},
		{"toomanyrequests: You have reached your pull rate limit", pullDenied},
		{"dial tcp: lookup registry.internal on 10.96.0.10:53: no such host", pullUnreachable},
		{"dial tcp 10.0.0.1:443: i/o timeout", pullUnreachable},
		{"tls: failed to verify certificate: x509: certificate signed by unknown authority", pullUnreachable},
		{`Back-off pulling image "nginx:nope"`, pullUnknown},
		{"", pullUnknown},
	} {
		if got := classifyPull(tt.message); got != tt.want {
			t.Errorf("classifyPull(%q) = %v, want %v", tt.message, got, tt.want)
		}
	}
}

func TestRepository(t *testing.T) {
	for image, want := range map[string]string{
		"nginx": "nginx", "nginx:1.2": "nginx", "registry:5000/a/b": "registry:5000/a/b", "registry:5000/a/b:1": "registry:5000/a/b", "a/b@sha256:00": "a/b", "a/b:1@sha256:00": "a/b",
	} {
		if got := repository(image); got != want {
			t.Errorf("repository(%q) = %q, want %q", image, got, want)
		}
	}
}
