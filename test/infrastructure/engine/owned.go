package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/lock"
)

// Sort is what a resource is.
type Sort string

// What a run leaves on the host while it lives, in the order in which it can be removed.
const (
	ContainerSort Sort = "container"
	VolumeSort    Sort = "volume"
	NetworkSort   Sort = "network"
	RuleSort      Sort = "egress rule"
	ImageSort     Sort = "image"
	LockSort      Sort = "lock"
)

// Resource is something of ours on the host.
type Resource struct {
	Sort Sort `json:"sort"`
	// Name is unique among those of its sort; of an image without a name, its id.
	Name string `json:"name"`
	// Cluster is the one that it belongs to; empty for what clusters share.
	Cluster string    `json:"cluster,omitempty"`
	Size    int64     `json:"size,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// Note says more, for people.
	Note string `json:"note,omitempty"`

	arguments []string // of a rule
}

// String is the resource for people.
func (r Resource) String() string {
	s := string(r.Sort) + " " + r.Name
	if r.Note != "" {
		s += " (" + r.Note + ")"
	}
	return s
}

// LockPath is the file of a cluster's lock.
func LockPath(stateDir, cluster string) string { return filepath.Join(stateDir, cluster, "lock") }

// Owned lists what carries our labels or our exact names: of one cluster what is its alone, with an empty name
// everything, including what clusters share and the locks that are held.
func (e *Engine) Owned(ctx context.Context, cluster string) ([]Resource, error) {
	clusters, err := e.clusters(cluster)
	if err != nil {
		return nil, err
	}
	found, err := e.ownedContainers(ctx, cluster)
	if err != nil {
		return nil, err
	}
	for _, r := range found {
		if r.Cluster != "" && !slices.Contains(clusters, r.Cluster) {
			clusters = append(clusters, r.Cluster)
		}
	}
	volumes, err := e.volumes(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		owner, ok := v.Labels[Label]
		if !ok {
			owner, ok = v.nodeOf(clusters)
		}
		if ok && (cluster == "" || cluster == owner) {
			found = append(found, Resource{Sort: VolumeSort, Name: v.Name, Cluster: owner})
		}
	}
	if cluster == "" {
		shared, err := e.ownedShared(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, shared...)
	}
	for _, c := range clusters {
		path := LockPath(e.host.StateDir, c)
		if holding, err := lock.Holding(path); err != nil || !holding {
			continue // a file without a holder is no lock
		}
		holder, _ := lock.Read(path) // it may be too early to say
		found = append(found, Resource{Sort: LockSort, Name: path, Cluster: c, Created: holder.Since, Note: "held by " + holder.String()})
	}
	return found, nil
}

// clusters are the names of those that this state directory knows, or the one.
func (e *Engine) clusters(cluster string) ([]string, error) {
	if cluster != "" {
		return []string{cluster}, nil
	}
	entries, err := os.ReadDir(e.host.StateDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// ownedContainers lists containers with our label and nodes: of the cluster, or those on our network. A container also
// has the labels of its image, so that the label of an image makes none ours.
func (e *Engine) ownedContainers(ctx context.Context, cluster string) ([]Resource, error) {
	filters := [][]string{{"label=" + Label}, {"label=" + KindLabel, "network=" + e.network()}}
	if cluster != "" {
		filters = [][]string{{"label=" + Label + "=" + cluster}, {"label=" + KindLabel + "=" + cluster}}
	}
	var found []Resource
	for _, f := range filters {
		containers, err := e.containers(ctx, f...)
		if err != nil && absent(err) { // the network
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, c := range containers {
			byLabel := len(f) == 1 && cluster == ""
			if byLabel && c.Labels[Label] == ImageValue || slices.ContainsFunc(found, func(r Resource) bool { return r.Name == c.Name }) {
				continue
			}
			owner := cmp.Or(c.Labels[KindLabel], c.Labels[Label])
			if owner == probeValue {
				owner = ""
			}
			found = append(found, Resource{Sort: ContainerSort, Name: c.Name, Cluster: owner, Created: c.Created, Note: c.Status})
		}
	}
	return found, nil
}

// ownedShared lists what clusters share.
func (e *Engine) ownedShared(ctx context.Context) ([]Resource, error) {
	var found []Resource
	networks, err := e.Networks(ctx, e.network())
	if err != nil {
		return nil, err
	}
	for _, n := range networks {
		found = append(found, Resource{Sort: NetworkSort, Name: n.Name, Note: strings.Join(n.Subnets, ", ")})
	}
	rules, err := e.egressRules(ctx)
	if err != nil {
		return nil, err
	}
	for _, rule := range rules {
		found = append(found, Resource{Sort: RuleSort, Name: strings.Join(rule, " "), arguments: rule})
	}
	images, err := e.Images(ctx, Label)
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		r := Resource{Sort: ImageSort, Name: i.ID, Size: i.Size, Created: i.Created}
		if len(i.Tags) > 0 {
			r.Name, r.Note = i.Tags[0], strings.Join(i.Tags[1:], ", ")
		}
		found = append(found, r)
	}
	return found, nil
}

// Remove removes resources that Owned has listed, and tries all of them whatever fails. The network stays while a
// container is on it. A lock is its holder's and cannot be removed.
func (e *Engine) Remove(ctx context.Context, resources ...Resource) error {
	order := []Sort{ContainerSort, VolumeSort, NetworkSort, RuleSort, ImageSort, LockSort}
	resources = slices.Clone(resources)
	slices.SortStableFunc(resources, func(a, b Resource) int { return slices.Index(order, a.Sort) - slices.Index(order, b.Sort) })
	var failed []error
	for _, r := range resources {
		failed = append(failed, e.remove(ctx, r))
	}
	return errors.Join(failed...)
}

func (e *Engine) remove(ctx context.Context, r Resource) error {
	var err error
	switch r.Sort {
	case ContainerSort:
		return e.RemoveContainer(ctx, r.Name)
	case VolumeSort:
		_, err = e.ask(ctx, "volume", "rm", r.Name)
	case NetworkSort:
		_, err := e.RemoveNetwork(ctx)
		return err
	case RuleSort:
		if rules, list := e.egressRules(ctx); list == nil && !slices.ContainsFunc(rules, func(have []string) bool { return slices.Equal(have, r.arguments) }) {
			return nil // it went with the network
		}
		_, err = e.iptables(ctx, append([]string{"-D"}, r.arguments...)...)
	case ImageSort:
		return e.RemoveImage(ctx, r.Name)
	default:
		err = errors.New("only its holder can remove it")
	}
	if err != nil && !absent(err) {
		return fmt.Errorf("remove %s: %w", r, err)
	}
	return nil
}

// Keep is what Collect leaves.
type Keep struct {
	// Images is how many of each name, the newest. Zero: none.
	Images int
	// Refs are images that stay in any case, by name or id.
	Refs []string
	// Young are images made less than this ago; they stay.
	Young time.Duration
}

// Collect removes images of ours beyond what is kept and returns those that it removed. One that a container uses stays.
func (e *Engine) Collect(ctx context.Context, keep Keep) ([]Resource, error) {
	images, err := e.Images(ctx, Label+"="+ImageValue)
	if err != nil {
		return nil, err
	}
	var removed []Resource
	var failed []error
	for _, i := range surplus(images, keep, time.Now()) {
		names := i.Tags
		if len(names) == 0 {
			names = []string{i.ID}
		}
		inUse, err := e.containers(ctx, "ancestor="+i.ID)
		if err != nil || len(inUse) > 0 {
			failed = append(failed, err)
			continue
		}
		for _, name := range names {
			if err = e.RemoveImage(ctx, name); err != nil {
				break
			}
		}
		failed = append(failed, err)
		if err == nil {
			removed = append(removed, Resource{Sort: ImageSort, Name: names[0], Size: i.Size, Created: i.Created})
		}
	}
	return removed, errors.Join(failed...)
}

// surplus are the images that need not be kept. An image without a name counts as one of a name of its own, of which
// none is kept for its number.
func surplus(images []Image, keep Keep, now time.Time) []Image {
	images = slices.Clone(images)
	slices.SortStableFunc(images, func(a, b Image) int { return b.Created.Compare(a.Created) })
	count := make(map[string]int)
	var rest []Image
	for _, i := range images {
		kept := now.Sub(i.Created) < keep.Young || slices.Contains(keep.Refs, i.ID)
		for _, tag := range i.Tags {
			name := tag
			if colon := strings.LastIndex(tag, ":"); colon > strings.LastIndex(tag, "/") {
				name = tag[:colon]
			}
			count[name]++
			kept = kept || count[name] <= keep.Images || slices.Contains(keep.Refs, tag)
		}
		if !kept {
			rest = append(rest, i)
		}
	}
	return rest
}
