package cluster

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

func config() Config {
	return Config{Name: "x-e2e", Image: "localhost/kubernaut-e2e-node:1", Kubeconfig: "/tmp/config", Workers: 1, Ports: map[int32]int32{8184: 30284, 8091: 30081}}
}

func TestDigest(t *testing.T) {
	first := config().Digest()
	for _, row := range []struct {
		name   string
		change func(*Config)
		same   bool
	}{
		{"nothing", func(*Config) {}, true},
		{"kubeconfig", func(c *Config) { c.Kubeconfig = "/elsewhere" }, true},
		{"image", func(c *Config) { c.Image = "localhost/kubernaut-e2e-node:2" }, false},
		{"workers", func(c *Config) { c.Workers = 2 }, false},
		{"a host port", func(c *Config) { c.Ports = map[int32]int32{8185: 30284, 8091: 30081} }, false},
		{"a node port", func(c *Config) { c.Ports = map[int32]int32{8184: 30285, 8091: 30081} }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := config()
			row.change(&c)
			if got := c.Digest(); got == first != row.same {
				t.Errorf("got %s, at first %s, want the same: %v", got, first, row.same)
			}
		})
	}
}

func TestKindConfiguration(t *testing.T) {
	c := config()
	c.Workers = 2
	k := c.labelled()
	var roles []v1alpha4.NodeRole
	for _, n := range k.Nodes {
		roles = append(roles, n.Role)
		if n.Labels[ownerLabel] != ownerValue || n.Labels[configLabel] != c.Digest() {
			t.Errorf("labels of a %s: got %v", n.Role, n.Labels)
		}
	}
	if want := []v1alpha4.NodeRole{v1alpha4.ControlPlaneRole, v1alpha4.WorkerRole, v1alpha4.WorkerRole}; !slices.Equal(roles, want) {
		t.Errorf("got roles %v, want %v", roles, want)
	}
	for _, p := range k.Nodes[0].ExtraPortMappings {
		if p.ListenAddress != "127.0.0.1" || c.Ports[p.HostPort] != p.ContainerPort {
			t.Errorf("got port %+v", p)
		}
	}
	if len(k.Nodes[0].ExtraPortMappings) != 2 || k.Networking.APIServerAddress != "127.0.0.1" {
		t.Errorf("got ports %+v, API server at %q", k.Nodes[0].ExtraPortMappings, k.Networking.APIServerAddress)
	}
	if got, want := c.nodeNames(), []string{"x-e2e-control-plane", "x-e2e-worker", "x-e2e-worker2"}; !slices.Equal(got, want) {
		t.Errorf("got names %v, want %v", got, want)
	}
	var merge map[string]any
	if err := yaml.Unmarshal([]byte(k.KubeadmConfigPatches[0]), &merge); err != nil || merge["apiVersion"] != "kubeadm.k8s.io/v1beta3" {
		t.Errorf("merge patch: got %v, %v", merge, err)
	}
	var list []struct {
		Op, Path string
		Value    struct{ Name, Value string }
	}
	if err := yaml.Unmarshal([]byte(k.KubeadmConfigPatchesJSON6902[0].Patch), &list); err != nil || len(list) != 4 || list[0].Value.Value != "800" {
		t.Errorf("JSON patch: got %v, %v", list, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no name", func(c *Config) { c.Name = "" }, "name"},
		{"a long name", func(c *Config) { c.Name = strings.Repeat("a", 41) }, "name"},
		{"upper case", func(c *Config) { c.Name = "X" }, "name"},
		{"no kubeconfig", func(c *Config) { c.Kubeconfig = "" }, "kubeconfig"},
		{"workers", func(c *Config) { c.Workers = -1 }, "workers"},
		{"a port that is none", func(c *Config) { c.Ports[70000] = 30000 }, "70000"},
		{"no node port", func(c *Config) { c.Ports[8080] = 8080 }, "node port"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := config()
			row.change(&c)
			if _, err := New(nil, c); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want an error with %q", err, row.want)
			}
		})
	}
	if _, err := New(nil, config()); err != nil {
		t.Errorf("a good one: %v", err)
	}
}
