package rollout

import "testing"

func TestCanChange(t *testing.T) {
	const tail = " preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
	for _, row := range []struct {
		message string
		want    bool
	}{
		{"0/2 nodes are available: 2 Insufficient memory." + tail, false},
		{"0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }." + tail, false},
		{"0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) didn't match Pod's node affinity/selector." + tail, false},
		{"0/2 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, 1 Insufficient cpu." + tail, true},
		{"0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found", true},
		{"0/2 nodes are available: 2 Too many pods." + tail, true},
		{"no nodes available to schedule pods", true},
		{"", true},
	} {
		if got := canChange(row.message); got != row.want {
			t.Errorf("canChange(%q): got %v, want %v", row.message, got, row.want)
		}
	}
}

func TestAlike(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"localhost/kubernaut-aianalysis:abc", "localhost/localhost/kubernaut-aianalysis:def", true},
		{"docker.io/library/kubernaut-aianalysis@sha256:0a", "kubernaut-aianalysis", true},
		{"localhost:5000/web:1", "localhost/web", true},
		{"localhost/kubernaut-aianalysis:abc", "localhost/kubernaut-datastorage:abc", false},
	} {
		if got := alike(row.a, row.b); got != row.want {
			t.Errorf("alike(%q, %q): got %v, want %v", row.a, row.b, got, row.want)
		}
	}
}
