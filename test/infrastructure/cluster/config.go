package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// Labels of the Kubernetes nodes that say whose they are and from what.
const (
	ownerLabel  = "e2e.kubernaut.ai/owner"
	configLabel = "e2e.kubernaut.ai/config"
	ownerValue  = "kubernaut-e2e"
)

// loopback is where everything of a cluster listens on this machine.
const loopback = "127.0.0.1"

// Config is what a cluster is made from.
type Config struct {
	// Name is Kind's name of the cluster; the nodes' names begin with it.
	Name string
	// Image is the image of the nodes, under a tag or digest that says its content.
	Image string
	// Kubeconfig is the file that reaches the cluster. It is the cluster's alone: made with it, deleted with it.
	Kubeconfig string
	// Workers is the number of nodes beside the control plane.
	Workers int
	// Ports maps ports of this machine's loopback interface to node ports.
	Ports map[int32]int32
}

var clusterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

func (c Config) validate() error {
	var wrong []error
	if !clusterName.MatchString(c.Name) {
		wrong = append(wrong, fmt.Errorf("name %q: want up to 40 lower-case letters, digits and dashes, so that the nodes' names stay below 64", c.Name))
	}
	if c.Kubeconfig == "" {
		wrong = append(wrong, errors.New("no kubeconfig is given"))
	}
	if c.Workers < 0 {
		wrong = append(wrong, fmt.Errorf("%d workers", c.Workers))
	}
	for host, node := range c.Ports {
		if host < 1 || host > 65535 || node < 30000 || node > 32767 {
			wrong = append(wrong, fmt.Errorf("port %d to %d: want a port and a node port, 30000 to 32767", host, node))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("configuration of a cluster: %w", err)
	}
	return nil
}

// nodes is the number of nodes.
func (c Config) nodes() int { return 1 + c.Workers }

// nodeNames are Kind's names of the nodes.
func (c Config) nodeNames() []string {
	names := []string{c.Name + "-control-plane"}
	for i := range c.Workers {
		name := c.Name + "-worker"
		if i > 0 {
			name += fmt.Sprint(i + 1)
		}
		names = append(names, name)
	}
	return names
}

// Digest is one of all that the cluster's behaviour depends on, which each of its nodes carries as a label.
func (c Config) Digest() string {
	k := c.kind()
	for i := range k.Nodes {
		k.Nodes[i].Labels = nil
	}
	text, err := json.Marshal([]any{c.Image, k})
	if err != nil {
		panic(fmt.Sprintf("cluster: configuration without a JSON form: %v", err)) // it is strings and numbers
	}
	sum := sha256.Sum256(text)
	const length = 16
	return hex.EncodeToString(sum[:])[:length]
}

// The API server serves many specifications at once, and the controllers must keep pace with them.
const (
	maxRequests         = "800"
	maxMutatingRequests = "400"
	controllerQPS       = "100"
	controllerBurst     = "200"
)

// kind is the configuration in Kind's words, without the digest.
func (c Config) kind() *v1alpha4.Cluster {
	labels := func() map[string]string { return map[string]string{ownerLabel: ownerValue} }
	control := v1alpha4.Node{Role: v1alpha4.ControlPlaneRole, Labels: labels()}
	for _, host := range slices.Sorted(maps.Keys(c.Ports)) {
		control.ExtraPortMappings = append(control.ExtraPortMappings, v1alpha4.PortMapping{
			ContainerPort: c.Ports[host], HostPort: host, ListenAddress: loopback, Protocol: v1alpha4.PortMappingProtocolTCP,
		})
	}
	nodes := []v1alpha4.Node{control}
	for range c.Workers {
		nodes = append(nodes, v1alpha4.Node{Role: v1alpha4.WorkerRole, Labels: labels()})
	}
	merge, patch := kubeadmPatches()
	return &v1alpha4.Cluster{
		TypeMeta:                     v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Name:                         c.Name,
		Networking:                   v1alpha4.Networking{APIServerAddress: loopback},
		Nodes:                        nodes,
		KubeadmConfigPatches:         []string{merge},
		KubeadmConfigPatchesJSON6902: []v1alpha4.PatchJSON6902{patch},
	}
}

// kubeadmPatches set the limits of the API server and the controller manager, for both shapes that kubeadm's extra
// arguments have: a map in v1beta3, which can be merged, and a list in v1beta4, which can be added to.
func kubeadmPatches() (string, v1alpha4.PatchJSON6902) {
	merge := fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
apiServer:
  extraArgs:
    max-requests-inflight: %q
    max-mutating-requests-inflight: %q
controllerManager:
  extraArgs:
    kube-api-qps: %q
    kube-api-burst: %q
`, maxRequests, maxMutatingRequests, controllerQPS, controllerBurst)
	add := func(component, name, value string) string {
		return fmt.Sprintf("- {op: add, path: /%s/extraArgs/-, value: {name: %s, value: %q}}\n", component, name, value)
	}
	return merge, v1alpha4.PatchJSON6902{
		Group: "kubeadm.k8s.io", Version: "v1beta4", Kind: "ClusterConfiguration",
		Patch: add("apiServer", "max-requests-inflight", maxRequests) + add("apiServer", "max-mutating-requests-inflight", maxMutatingRequests) +
			add("controllerManager", "kube-api-qps", controllerQPS) + add("controllerManager", "kube-api-burst", controllerBurst),
	}
}

// labelled is the configuration in Kind's words, with the digest on every node.
func (c Config) labelled() *v1alpha4.Cluster {
	k := c.kind()
	for i := range k.Nodes {
		k.Nodes[i].Labels[configLabel] = c.Digest()
	}
	return k
}
