package observe

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// servedFor is how long it is remembered which kinds a cluster serves.
const servedFor = 5 * time.Minute

// served is what an API server serves, at one time.
type served struct {
	kinds  map[schema.GroupKind]kind
	failed []string // groups that an API server of their own serves, which does not answer
	at     time.Time
}

// catalog remembers what a cluster serves. It is safe for concurrent use.
type catalog struct {
	mu   sync.Mutex
	last *served
}

// read returns what is served, from memory when that is fresh enough.
func (c *catalog) read(ctx context.Context, d *discovery.DiscoveryClient, now time.Time) (*served, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && now.Sub(c.last.at) < servedFor {
		return c.last, nil
	}
	lists, err := d.ServerPreferredResourcesWithContext(ctx)
	out := &served{kinds: map[schema.GroupKind]kind{}, at: now}
	var partly *discovery.ErrGroupDiscoveryFailed
	switch {
	case errors.As(err, &partly):
		for gv := range maps.Keys(partly.Groups) {
			out.failed = append(out.failed, gv.Group)
		}
		slices.Sort(out.failed)
		out.failed = slices.Compact(out.failed)
	case err != nil:
		return nil, err
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, res := range list.APIResources {
			if strings.Contains(res.Name, "/") || !slices.Contains(res.Verbs, "list") {
				continue
			}
			out.kinds[schema.GroupKind{Group: gv.Group, Kind: res.Kind}] = kind{name: res.Kind, resource: gv.WithResource(res.Name), namespaced: res.Namespaced}
		}
	}
	c.last = out
	return out, nil
}

// custom returns the kinds that were added to the cluster, of one group or with "" of all, in a fixed order.
func (s *served) custom(group string) []kind {
	var out []kind
	for gk, k := range s.kinds {
		if !diagnose.BuiltinGroup(gk.Group) && (group == "" || gk.Group == group) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b kind) int {
		return strings.Compare(a.resource.String(), b.resource.String())
	})
	return out
}

// served asks once for an observation what is served. It returns nil, and there is a gap, when nobody can tell.
func (r *reader) served() *served {
	r.servedOnce.Do(func() {
		r.calls.Add(2)
		s, err := r.catalog.read(r.ctx, r.discovery, r.now())
		if err != nil {
			r.failed(diagnose.Gap{Subject: incident.Ref{Kind: "APIResource"}, What: "which kinds the cluster serves"}, err)
			return
		}
		r.servedKinds = s
		for _, group := range s.failed {
			r.gap(diagnose.Gap{
				Kind: incident.GapFailed, Subject: incident.Ref{Kind: "APIService", Name: group}, What: "all kinds of API group " + group,
				Reason: "the API server that serves it does not answer",
			})
		}
	})
	return r.servedKinds
}

// resolve finds out how the kind of a reference is read. Without an API version it is a built-in kind, else one of that
// name in any group. It returns false when the cluster serves no such kind, or nobody can tell.
func (r *reader) resolve(ref incident.Ref) (k kind, ok bool) {
	group, version, _ := strings.Cut(ref.APIVersion, "/")
	if version == "" { // "v1", or nothing
		group = ""
	}
	if b, known := builtin(ref.Kind); known && (ref.APIVersion == "" || b.resource.Group == group) {
		if s := r.servedIf(b.is(optional)); s != nil {
			actual, there := s.kinds[schema.GroupKind{Group: b.resource.Group, Kind: b.name}]
			b.resource = actual.resource
			return b, there
		}
		return b, true
	}
	s := r.served()
	if s == nil {
		return kind{}, false
	}
	if ref.APIVersion != "" {
		k, ok = s.kinds[schema.GroupKind{Group: group, Kind: ref.Kind}]
		return k, ok
	}
	for _, c := range s.custom("") {
		if c.name == ref.Kind {
			return c, true
		}
	}
	return kind{}, false
}

func (r *reader) servedIf(asked bool) *served {
	if !asked {
		return nil
	}
	return r.served()
}
