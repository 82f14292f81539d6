package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// state is what is on a machine.
type state struct {
	Counts     map[int]int          `json:"counts"` // calls that matched a step
	Containers []*container         `json:"containers"`
	Storage    []string             `json:"storage"`
	Images     []*image             `json:"images"`
	Networks   []*network           `json:"networks"`
	Volumes    map[string]labels    `json:"volumes"`
	Rules      []string             `json:"rules"`
	Files      map[string]string    `json:"files"` // where the nodes run
	Free       uint64               `json:"free"`
	Skew       time.Duration        `json:"skew"`
	Node       map[string]nodeState `json:"node"`
	Serial     int                  `json:"serial"`
}

type labels map[string]string

type container struct {
	ID, Name, Image string
	Labels          labels
	Running         bool
	ExitCode        int
	OOM             bool
	Network         string
	Ports           map[string]string // of the container, as 6443/tcp, to those of the host
	Volumes         []string
	Created         time.Time
}

type image struct {
	ID      string
	Tags    []string
	Labels  labels
	Created time.Time
}

type network struct {
	Name, ID, Subnet string
	Labels           labels
}

// nodeState is what is in a node.
type nodeState struct {
	Images map[string]string // ids by reference
}

// Labels of Kind.
const (
	clusterLabel = "io.x-k8s.kind.cluster"
	roleLabel    = "io.x-k8s.kind.role"
)

const gigabyte = 1 << 30

func firstState(s Script) state {
	st := state{
		Counts: map[int]int{}, Volumes: map[string]labels{}, Node: map[string]nodeState{}, Free: 500 * gigabyte,
		Files: map[string]string{
			"/proc/sys/fs/inotify/max_user_instances": "8192\n",
			"/proc/sys/fs/inotify/max_user_watches":   "1048576\n",
			"/proc/sys/kernel/pid_max":                "4194304\n",
			"/proc/sys/kernel/threads-max":            "500000\n",
			"/proc/sys/kernel/keys/maxkeys":           "20000\n",
			"/proc/key-users":                         "    0:    20 19/19 10/20000 200/2000000\n 1000:    20 19/19 10/20000 200/2000000\n",
			"/proc/meminfo":                           "MemTotal:       32000000 kB\nMemFree:        20000000 kB\nMemAvailable:   24000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
			"/proc/loadavg":                           "0.10 0.10 0.10 1/300 4711\n",
			"/proc/vmstat":                            "oom_kill 0\n",
		},
	}
	if s.Node != "" {
		st.Images = append(st.Images, &image{ID: digest(s.Node), Tags: []string{s.Node}, Labels: labels{}, Created: time.Now()})
	}
	return st
}

// digest makes an id of a text.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// id makes a new one.
func (s *state) id(what string) string {
	s.Serial++
	return digest(what, strconv.Itoa(s.Serial))
}

// nodes are the containers of a cluster's nodes, of all clusters with an empty name.
func (s *state) nodes(cluster string) []*container {
	var found []*container
	for _, c := range s.Containers {
		if have, ok := c.Labels[clusterLabel]; ok && (cluster == "" || have == cluster) {
			found = append(found, c)
		}
	}
	return found
}

// container finds one by name or id.
func (s *state) container(name string) *container {
	for _, c := range s.Containers {
		if c.Name == name || c.ID == name || len(name) >= 12 && strings.HasPrefix(c.ID, name) {
			return c
		}
	}
	return nil
}

// image finds one by reference or id.
func (s *state) image(ref string) *image {
	ref = strings.TrimPrefix(ref, "sha256:")
	for _, i := range s.Images {
		if i.ID == ref || slices.Contains(i.Tags, ref) {
			return i
		}
	}
	return nil
}

func (s *state) remove(c *container) {
	s.Containers = slices.DeleteFunc(s.Containers, func(o *container) bool { return o == c })
	delete(s.Node, c.Name)
	for _, v := range c.Volumes {
		delete(s.Volumes, v)
	}
}

func (s *state) happen(effects []string) error {
	for _, e := range effects {
		what, name, _ := strings.Cut(e, " ")
		var targets []*container
		if name == "*" {
			targets = s.nodes("")
		} else if c := s.container(name); c != nil {
			targets = append(targets, c)
		}
		switch what {
		case "stop", "oom":
			for _, c := range targets {
				c.Running, c.ExitCode, c.OOM = false, 137, what == "oom"
			}
		case "remove":
			for _, c := range targets {
				s.remove(c)
			}
		case "storage":
			s.Storage = append(s.Storage, name)
		case "lose":
			for _, c := range targets {
				s.Node[c.Name] = nodeState{}
			}
		case "file":
			path, content, _ := strings.Cut(name, "=")
			s.Files[path] = content
		case "disk":
			free, err := strconv.ParseUint(name, 10, 64)
			if err != nil {
				return err
			}
			s.Free = free
		case "skew":
			skew, err := time.ParseDuration(name)
			if err != nil {
				return err
			}
			s.Skew = skew
		case "twice":
			for _, n := range slices.Clone(s.Networks) {
				s.Networks = append(s.Networks, &network{Name: n.Name, ID: s.id("network"), Subnet: n.Subnet, Labels: n.Labels})
			}
		case "old-image":
			s.Images = append(s.Images, &image{ID: s.id("old"), Tags: []string{name}, Labels: labels{"ai.kubernaut.e2e": "image"}, Created: time.Now().Add(-48 * time.Hour)})
		case "touch":
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return err
			}
		case "untag":
			s.Images = slices.DeleteFunc(s.Images, func(i *image) bool { return slices.Contains(i.Tags, name) })
		default:
			return fmt.Errorf("replay: there is no effect %q", e)
		}
	}
	return nil
}
