// Package stage puts workloads on a real API server in the state in which an incident leaves them.
//
// Scenarios are data (scenarios/*.yaml). Their objects go through the API server's admission and
// are worked on by the real controllers; what the scheduler and the kubelets would have written —
// bindings, Pod and Node status, Leases, events, container logs — is written here, in their shape
// and through the same API. Nothing runs, and nothing waits: where a scenario says that minutes have
// passed, only the times in what is written say so.
package stage

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Scenario is one staged incident and the verdict that it must get.
type Scenario struct {
	Name      string `json:"name"`  // the file's name without its extension
	Title     string `json:"title"` // one line for people
	Namespace string `json:"namespace"`

	Signal Signal `json:"signal"`
	Target Target `json:"target"` // what the signal is about
	Expect Expect `json:"expect"`

	Nodes []Node `json:"nodes"` // staged before the steps
	Steps []Step `json:"steps"` // staged in order
}

// Signal is the alert that reports the incident.
type Signal struct {
	Type        string `json:"type"`
	Severity    string `json:"severity"` // critical, warning, info
	Environment string `json:"environment"`
	Priority    string `json:"priority"`
}

// Target names an object; Namespace is empty for the scenario's own.
type Target struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// Expect is the verdict. Cause is empty when nothing is wrong, and then Target and Workflow are too.
type Expect struct {
	Cause    string `json:"cause"`
	Target   Target `json:"target"`
	Workflow string `json:"workflow"` // the workflow's name in the catalog
	Approval bool   `json:"approval"` // whether a person must approve
}

// Node is one machine of the cluster.
type Node struct {
	Name          string            `json:"name"`
	Labels        map[string]string `json:"labels"`
	Taints        []corev1.Taint    `json:"taints"`
	Unschedulable bool              `json:"unschedulable"`
	CPU           string            `json:"cpu"`    // allocatable, a quantity; "" means 4
	Memory        string            `json:"memory"` // allocatable, a quantity; "" means 8Gi
}

// Step is one thing that happens. Exactly one field is set.
//
// Text in a step may hold ${ns}, the scenario's namespace, and ${ago 90s}, a time in RFC 3339. In a
// Pods step it may also hold ${pod}, ${uid}, ${node} and ${ip} of the pod at hand.
type Step struct {
	// Apply creates or updates objects; what has no namespace gets the scenario's.
	Apply []json.RawMessage `json:"apply,omitempty"`
	// Await waits until the cluster has come to what is described.
	Await *Await `json:"await,omitempty"`
	// Pods acts on the Pods that a controller made.
	Pods json.RawMessage `json:"pods,omitempty"`
	// LoseNode makes a node stop reporting.
	LoseNode *LoseNode `json:"loseNode,omitempty"`
}

// Await describes one object and what must hold for it: a field that is there, a condition that is
// True, or an event about it. More than one may be given.
type Await struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Field      string `json:"field,omitempty"`     // dotted path, for example status.hard
	Condition  string `json:"condition,omitempty"` // type of a condition
	Event      string `json:"event,omitempty"`     // reason of an event
}

// LoseNode says which node stops reporting and how long ago it was last heard of.
type LoseNode struct {
	Name     string          `json:"name"`
	LastSeen metav1.Duration `json:"lastSeen"`
}

// pods is the decoded form of Step.Pods.
type pods struct {
	// Select and, when set, Image choose the Pods; Count is how many there must be.
	Select map[string]string `json:"select"`
	Image  string            `json:"image,omitempty"`
	Count  int               `json:"count"`

	// Node is where the scheduler puts the Pods; "" leaves them where they are.
	Node string `json:"node,omitempty"`
	// Unschedulable is the scheduler's message that it can put them nowhere.
	Unschedulable string `json:"unschedulable,omitempty"`
	// Containers is what the kubelet reports of each container. Image, image id, container id and
	// Started are filled in.
	Containers []corev1.ContainerStatus `json:"containers,omitempty"`
	Logs       []containerLog           `json:"logs,omitempty"`
	Events     []event                  `json:"events,omitempty"`
}

// containerLog is what one container wrote, in its current and its previous run.
type containerLog struct {
	Container string `json:"container"`
	Current   string `json:"current,omitempty"`
	Previous  string `json:"previous,omitempty"`
}

// event is one event of the kubelet about a Pod or, when Container is set, about that container.
type event struct {
	Type      string          `json:"type,omitempty"` // Warning when empty
	Reason    string          `json:"reason"`
	Message   string          `json:"message"`
	Container string          `json:"container,omitempty"`
	Count     int32           `json:"count,omitempty"` // 1 when 0
	Over      metav1.Duration `json:"over,omitzero"`   // from the first to the last occurrence
}

//go:embed scenarios/*.yaml
var files embed.FS

// Scenarios returns the scenarios that ship, in the order of their file names.
func Scenarios() ([]Scenario, error) {
	return load(files, "scenarios")
}

func load(fsys fs.FS, dir string) ([]Scenario, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var all []Scenario
	for _, e := range entries {
		data, err := fs.ReadFile(fsys, path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		s, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", e.Name(), err)
		}
		_, s.Name, _ = strings.Cut(strings.TrimSuffix(e.Name(), ".yaml"), "-") // without the number that orders the files
		all = append(all, s)
	}
	return all, nil
}

// parse reads one scenario strictly, and decodes every step once with made-up values, so that a
// mistake in the data is found here and not in the middle of staging.
func parse(data []byte) (Scenario, error) {
	var s Scenario
	if err := strictYAML(data, &s); err != nil {
		return s, err
	}
	v := values{namespace: s.Namespace, now: time.Unix(0, 0), pod: "pod", uid: "uid", node: "node", ip: "10.0.0.1"}
	for i, step := range s.Steps {
		set := 0
		for _, given := range []bool{step.Apply != nil, step.Await != nil, step.Pods != nil, step.LoseNode != nil} {
			if given {
				set++
			}
		}
		if set != 1 {
			return s, fmt.Errorf("step %d: has %d of apply, await, pods and loseNode; exactly one is needed", i, set)
		}
		for j, raw := range step.Apply {
			if _, err := v.object(raw); err != nil {
				return s, fmt.Errorf("step %d: object %d: %w", i, j, err)
			}
		}
		if step.Pods != nil {
			if _, err := v.pods(step.Pods); err != nil {
				return s, fmt.Errorf("step %d: pods: %w", i, err)
			}
		}
	}
	return s, nil
}

func strictYAML(data []byte, into any) error {
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return err
	}
	return strictJSON(asJSON, into)
}

func strictJSON(data []byte, into any) error {
	faults, err := kjson.UnmarshalStrict(data, into)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		texts := make([]string, len(faults))
		for i, f := range faults {
			texts[i] = f.Error()
		}
		slices.Sort(texts)
		return fmt.Errorf("%s", strings.Join(texts, "; "))
	}
	return nil
}
