package observe_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
)

// mirror is an API server that serves what a snapshot holds: discovery, lists with field selectors, single objects, metadata
// and logs. What the snapshot has a refused gap of it refuses.
type mirror struct {
	*httptest.Server
	t         testing.TB
	snap      *diagnose.Snapshot
	resources map[string]served // by group/resource
	objects   map[string][]map[string]any
}

type served struct {
	group, version, resource, kind string
	namespaced                     bool
}

func (s served) gv() string { return strings.TrimPrefix(s.group+"/"+s.version, "/") }

func newMirror(t testing.TB, snap *diagnose.Snapshot) *mirror {
	m := &mirror{t: t, snap: snap, resources: map[string]served{}, objects: map[string][]map[string]any{}}
	kinds := map[string]string{} // of group/kind: the key of the resource
	add := func(s served) {
		key := s.group + "/" + s.resource
		m.resources[key], kinds[s.group+"/"+s.kind] = s, key
	}
	c := snap.Contents()
	all := slices.Concat(c.Objects, c.Events)
	gateways := slices.ContainsFunc(all, func(o *diagnose.Object) bool { return strings.HasPrefix(o.Ref().APIVersion, gatewayAPI+"/") })
	for _, b := range observe.Builtins() {
		s := served{b.Resource.Group, b.Resource.Version, b.Resource.Resource, b.Kind, b.Namespaced}
		there := slices.ContainsFunc(all, func(o *diagnose.Object) bool { return o.Ref().Kind == b.Kind })
		if b.Resource.Group != gatewayAPI && b.Resource.Group != "metrics.k8s.io" || there || gateways && b.Resource.Group == gatewayAPI {
			add(s)
		}
	}
	for _, o := range all {
		group, version, ok := strings.Cut(o.Ref().APIVersion, "/")
		if !ok {
			group, version = "", group
		}
		if kinds[group+"/"+o.Ref().Kind] == "" {
			add(served{group, version, strings.ToLower(o.Ref().Kind) + "s", o.Ref().Kind, o.Ref().Namespace != ""})
		}
		key := kinds[group+"/"+o.Ref().Kind]
		m.objects[key] = append(m.objects[key], precise(o.Tree()))
	}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(func() { m.CloseClientConnections(); m.Close() })
	return m
}

const gatewayAPI = "gateway.networking.k8s.io"

// precise copies a tree and writes times as the API server does where it keeps more than seconds.
func precise(tree map[string]any) map[string]any {
	body, _ := json.Marshal(tree)
	var out map[string]any
	_ = json.Unmarshal(body, &out)
	for _, k := range []string{"labels", "annotations"} { // text, even where the file says true or 2
		meta, _ := out["metadata"].(map[string]any)
		words, _ := meta[k].(map[string]any)
		for name, v := range words {
			words[name] = fmt.Sprint(v)
		}
	}
	micro := func(at map[string]any, keys ...string) {
		for _, k := range keys {
			if s, ok := at[k].(string); ok && !strings.Contains(s, ".") {
				at[k] = strings.TrimSuffix(s, "Z") + ".000000Z"
			}
		}
	}
	micro(out, "eventTime")
	for _, k := range []string{"spec", "series"} {
		if part, ok := out[k].(map[string]any); ok {
			micro(part, "renewTime", "acquireTime", "lastObservedTime")
		}
	}
	return out
}

// refuses reports whether a kind may not be read, or a snapshot does not say what there is of it.
func (m *mirror) refuses(kind string) bool {
	c := m.snap.Contents()
	known := slices.ContainsFunc(c.Reads, func(r diagnose.Read) bool { return r.Kind == kind }) ||
		slices.ContainsFunc(slices.Concat(c.Objects, c.Events), func(o *diagnose.Object) bool { return o.Ref().Kind == kind })
	return kind != "Log" && !known || slices.ContainsFunc(m.snap.Contents().Gaps, func(g diagnose.Gap) bool {
		return g.Kind == incident.GapForbidden && g.Subject.Kind == kind && g.Subject.Name == ""
	})
}

func (m *mirror) serve(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet {
		m.t.Errorf("the reader sent %s %s", req.Method, req.URL)
	}
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	if len(parts) == 1 {
		m.discover(w, parts[0] == "api")
		return
	}
	group, rest := "", parts[2:]
	if parts[0] == "apis" {
		group, rest = parts[1], parts[3:]
	}
	ns := ""
	if len(rest) > 2 && rest[0] == "namespaces" {
		ns, rest = rest[1], rest[2:]
	}
	key := group + "/" + rest[0]
	s, ok := m.resources[key]
	switch {
	case !ok:
		status(w, http.StatusNotFound, "NotFound", "")
	case len(rest) == 3 && rest[2] == "log":
		m.log(w, req, ns, rest[1])
	case m.refuses(s.kind):
		status(w, http.StatusForbidden, "Forbidden", "")
	case len(rest) == 2:
		for _, o := range m.objects[key] {
			if meta := o["metadata"].(map[string]any); meta["name"] == rest[1] && (ns == "" || meta["namespace"] == ns) {
				answer(w, shape(req, o))
				return
			}
		}
		status(w, http.StatusNotFound, "NotFound", rest[1])
	default:
		m.list(w, req, s, key, ns)
	}
}

func (m *mirror) list(w http.ResponseWriter, req *http.Request, s served, key, ns string) {
	items := []map[string]any{}
	for _, o := range m.objects[key] {
		if ns != "" && o["metadata"].(map[string]any)["namespace"] != ns || !selected(o, req.URL.Query().Get("fieldSelector")) {
			continue
		}
		items = append(items, shape(req, o))
	}
	kind, version := s.kind+"List", s.gv()
	if isMetadata(req) {
		kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
	}
	answer(w, map[string]any{"kind": kind, "apiVersion": version, "metadata": map[string]any{"resourceVersion": "7"}, "items": items})
}

func isMetadata(req *http.Request) bool {
	return strings.Contains(req.Header.Get("Accept"), "PartialObjectMetadata")
}

func shape(req *http.Request, o map[string]any) map[string]any {
	if isMetadata(req) {
		return map[string]any{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": o["metadata"]}
	}
	return o
}

func selected(o map[string]any, selector string) bool {
	field, want, ok := strings.Cut(selector, "=")
	if !ok {
		return true
	}
	var at any = o
	for key := range strings.SplitSeq(field, ".") {
		m, _ := at.(map[string]any)
		at = m[key]
	}
	return at == want
}

func (m *mirror) log(w http.ResponseWriter, req *http.Request, ns, pod string) {
	container, previous := req.URL.Query().Get("container"), req.URL.Query().Get("previous") == "true"
	if m.refuses("Log") {
		status(w, http.StatusForbidden, "Forbidden", "")
		return
	}
	log := m.snap.Log(incident.Ref{Kind: "Pod", Namespace: ns, Name: pod}, container, previous)
	if log == nil {
		status(w, http.StatusBadRequest, fmt.Sprintf("previous terminated container %q in pod %q not found", container, pod), "")
		return
	}
	fmt.Fprint(w, strings.Join(log.Lines, "\n")+"\n")
}

// discover answers with the aggregated form of discovery.
func (m *mirror) discover(w http.ResponseWriter, core bool) {
	type version = map[string]any
	groups := map[string]map[string][]version{}
	for _, s := range m.resources {
		if (s.group == "") != core {
			continue
		}
		scope := "Cluster"
		if s.namespaced {
			scope = "Namespaced"
		}
		if groups[s.group] == nil {
			groups[s.group] = map[string][]version{}
		}
		groups[s.group][s.version] = append(groups[s.group][s.version], version{
			"resource": s.resource, "responseKind": map[string]any{"group": s.group, "version": s.version, "kind": s.kind}, "scope": scope, "verbs": []string{"get", "list"},
		})
	}
	items := []any{}
	for name, versions := range groups {
		var vs []any
		for v, resources := range versions {
			vs = append(vs, map[string]any{"version": v, "resources": resources, "freshness": "Current"})
		}
		items = append(items, map[string]any{"metadata": map[string]any{"name": name}, "versions": vs})
	}
	w.Header().Set("Content-Type", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items})
}

func (m *mirror) observe(in incident.Incident) *diagnose.Snapshot {
	m.t.Helper()
	live, err := observe.New(observe.Options{
		Config: &rest.Config{Host: m.URL}, Limits: observe.Limits{QPS: 100_000, MaxLogs: 24}, Clock: func() time.Time { return m.snap.ObservedAt() },
	})
	if err != nil {
		m.t.Fatal(err)
	}
	snap, err := live.Observe(m.t.Context(), in)
	if err != nil {
		m.t.Fatal(err)
	}
	return snap
}
