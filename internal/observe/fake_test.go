package observe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
)

func TestMain(m *testing.M) {
	// The shared control plane and its build belong to the process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("kubernaut.ai/kubernaut/internal/controlplane.(*Server).wait"),
		goleak.IgnoreTopFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"))
}

// fakeAPI answers like an API server for a few resources; a handler for a path prefix overrides it.
type fakeAPI struct {
	*httptest.Server
	mu       sync.Mutex
	lists    map[string][]map[string]any // by resource: pods, deployments, …
	override map[string]http.HandlerFunc // by a part of the path
	methods  []string
	accepts  map[string][]string // by resource
	pages    map[string]int
}

func newFakeAPI(t *testing.T) *fakeAPI {
	f := &fakeAPI{lists: map[string][]map[string]any{}, override: map[string]http.HandlerFunc{}, accepts: map[string][]string{}, pages: map[string]int{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
		for _, m := range f.methods {
			if m != http.MethodGet {
				t.Errorf("the reader sent %s", m)
			}
		}
	})
	return f
}

func (f *fakeAPI) serve(w http.ResponseWriter, req *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.methods = append(f.methods, req.Method)
	for part, h := range f.override {
		if strings.Contains(req.URL.Path, part) {
			f.mu.Unlock() // a slow handler must not hold up the others
			h(w, req)
			f.mu.Lock()
			return
		}
	}
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	resource := parts[len(parts)-1]
	if i := slices.Index(parts, "namespaces"); i >= 0 && len(parts) > i+2 {
		resource = parts[i+2]
		if len(parts) > i+3 {
			status(w, http.StatusNotFound, "NotFound", parts[i+3])
			return
		}
	} else if i >= 0 && len(parts) == i+2 {
		status(w, http.StatusNotFound, "NotFound", parts[i+1])
		return
	}
	f.accepts[resource] = append(f.accepts[resource], req.Header.Get("Accept"))
	f.pages[resource]++
	items := f.lists[resource]
	from, _ := strconv.Atoi(req.URL.Query().Get("continue"))
	limit, _ := strconv.Atoi(req.URL.Query().Get("limit"))
	to, next := len(items), ""
	if limit > 0 && from+limit < to {
		to = from + limit
		next = strconv.Itoa(to)
	}
	version, kind := listKind(resource)
	if strings.Contains(req.Header.Get("Accept"), "PartialObjectMetadataList") {
		version, kind = "meta.k8s.io/v1", "PartialObjectMetadataList"
	}
	answer(w, map[string]any{"kind": kind, "apiVersion": version, "metadata": map[string]any{"resourceVersion": "7", "continue": next}, "items": items[from:to]})
}

// listKind returns what a list of a resource says that it is.
func listKind(resource string) (apiVersion, kind string) {
	for _, k := range observe.Builtins() {
		if k.Resource.Resource == resource {
			return k.Resource.GroupVersion().String(), k.Kind + "List"
		}
	}
	return "v1", "List"
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func status(w http.ResponseWriter, code int, reason, name string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	details := map[string]any{}
	if name != "" {
		details["name"] = name
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason, "details": details})
}

func refuse(code int, reason string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { status(w, code, reason, "") }
}

func (f *fakeAPI) observe(t *testing.T, limits observe.Limits, ref incident.Ref) (*diagnose.Snapshot, error) {
	t.Helper()
	live, err := observe.New(observe.Options{Config: &rest.Config{Host: f.URL}, Limits: limits, Clock: func() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	return live.Observe(t.Context(), incident.Incident{Resource: ref})
}

var web = incident.Ref{Kind: "Deployment", Namespace: "shop", Name: "web"}

func gapsOf(snap *diagnose.Snapshot) map[string]diagnose.Gap {
	out := map[string]diagnose.Gap{}
	for _, g := range snap.Contents().Gaps {
		out[g.What] = g
	}
	return out
}

func TestPartialFailuresAreGaps(t *testing.T) {
	f := newFakeAPI(t)
	f.override["/pods"] = refuse(http.StatusForbidden, "Forbidden")
	f.override["/endpointslices"] = refuse(http.StatusNotFound, "NotFound")
	f.override["/statefulsets"] = refuse(http.StatusInternalServerError, "InternalError")
	f.override["/services"] = func(_ http.ResponseWriter, req *http.Request) {
		select {
		case <-req.Context().Done():
		case <-time.After(10 * time.Second):
		}
	}
	f.override["/jobs"] = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"kind":"List","items":[{"`) }
	snap, err := f.observe(t, observe.Limits{CallTimeout: 150 * time.Millisecond}, web)
	if err != nil {
		t.Fatal(err)
	}
	gaps := gapsOf(snap)
	for what, want := range map[string]incident.GapKind{
		"pods in namespace shop":           incident.GapForbidden,
		"endpointslices in namespace shop": incident.GapFailed,
		"statefulsets in namespace shop":   incident.GapFailed,
		"services in namespace shop":       incident.GapFailed,
		"jobs in namespace shop":           incident.GapFailed,
	} {
		if g := gaps[what]; g.Kind != want || g.Reason == "" {
			t.Errorf("gap of %s = %+v, want kind %s and a reason", what, g, want)
		}
	}
	if len(gaps) != 5 {
		t.Errorf("%d gaps, want 5: %v", len(gaps), gaps)
	}
	if got := snap.Knows(web); got != diagnose.Absent {
		t.Errorf("the Deployment, of which an empty list was read, is %v, want Absent", got)
	}
	if got := snap.Knows(incident.Ref{Kind: "Pod", Namespace: "shop", Name: "x"}); got != diagnose.Unknown {
		t.Errorf("a Pod, which may not be read, is %v, want Unknown", got)
	}
	r := diagnose.Run(snap, incident.Incident{Resource: web})
	if r.Verdict != diagnose.VerdictUndecidable {
		t.Errorf("verdict = %s, want undecidable", r.Verdict)
	}
}

func TestNothingReadableIsAnError(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    incident.ErrorKind
	}{
		{"not known", refuse(http.StatusUnauthorized, "Unauthorized"), incident.KindUnauthorized},
		{"not allowed", refuse(http.StatusForbidden, "Forbidden"), incident.KindForbidden},
		{"down", refuse(http.StatusServiceUnavailable, "ServiceUnavailable"), incident.KindUnavailable},
		{"broken", refuse(http.StatusInternalServerError, "InternalError"), incident.KindUnavailable},
		{"slow", func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-req.Context().Done():
			case <-time.After(10 * time.Second):
			}
		}, incident.KindTimeout},
		{"garbage", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, incident.KindNetwork},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeAPI(t)
			f.override["/"] = tt.handler
			_, err := f.observe(t, observe.Limits{CallTimeout: 100 * time.Millisecond, Timeout: 2 * time.Second}, web)
			if got := incident.KindOf(err); got != tt.want {
				t.Errorf("error %v has kind %q, want %q", err, got, tt.want)
			}
		})
	}
	t.Run("unreachable", func(t *testing.T) {
		f := newFakeAPI(t)
		f.Close()
		_, err := f.observe(t, observe.Limits{Timeout: 2 * time.Second}, web)
		if got := incident.KindOf(err); got != incident.KindNetwork {
			t.Errorf("error %v has kind %q, want %q", err, got, incident.KindNetwork)
		}
		live, err := observe.New(observe.Options{Config: &rest.Config{Host: f.URL}})
		if err != nil {
			t.Fatal(err)
		}
		if got := incident.KindOf(live.Ready(t.Context())); got != incident.KindNetwork {
			t.Errorf("Ready has kind %q, want %q", got, incident.KindNetwork)
		}
	})
	t.Run("given up", func(t *testing.T) {
		f := newFakeAPI(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		live, err := observe.New(observe.Options{Config: &rest.Config{Host: f.URL}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := live.Observe(ctx, incident.Incident{Resource: web}); err == nil {
			t.Error("no error after the caller gave up")
		}
	})
	t.Run("no resource", func(t *testing.T) {
		_, err := newFakeAPI(t).observe(t, observe.Limits{}, incident.Ref{})
		if got := incident.KindOf(err); got != incident.KindInvalid {
			t.Errorf("error %v has kind %q, want %q", err, got, incident.KindInvalid)
		}
	})
}

func object(kind, name string) map[string]any {
	return map[string]any{"kind": kind, "metadata": map[string]any{"namespace": "shop", "name": name, "uid": "u-" + name, "resourceVersion": "1"}}
}

func TestListsAreBounded(t *testing.T) {
	f := newFakeAPI(t)
	for i := range 95 {
		f.lists["pods"] = append(f.lists["pods"], object("Pod", fmt.Sprintf("p%d", i)))
		f.lists["events"] = append(f.lists["events"], object("Event", fmt.Sprintf("e%d", i)))
	}
	snap, err := f.observe(t, observe.Limits{PageSize: 10, MaxObjects: 40, MaxEvents: 20}, web)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(snap.Kind("Pod", "shop")); got != 40 {
		t.Errorf("%d Pods were read, want 40", got)
	}
	if g := gapsOf(snap)["pods in namespace shop"]; g.Kind != incident.GapNotAsked {
		t.Errorf("gap of a cut list = %+v, want kind %s", g, incident.GapNotAsked)
	}
	if snap.Knows(incident.Ref{Kind: "Pod", Namespace: "shop", Name: "p94"}) != diagnose.Unknown {
		t.Error("a list that was cut proves an absence")
	}

	f.pages = map[string]int{}
	snap, err = f.observe(t, observe.Limits{PageSize: 10}, web)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(snap.Kind("Pod", "shop")); got != 95 {
		t.Errorf("%d Pods were read, want 95", got)
	}
	if got := f.pages["pods"]; got != 10 {
		t.Errorf("%d pages were asked for, want 10", got)
	}
}

func TestBytesAreBounded(t *testing.T) {
	f := newFakeAPI(t)
	big := object("Pod", "big")
	big["spec"] = map[string]any{"x": strings.Repeat("y", 1<<20)}
	f.lists["pods"] = []map[string]any{big}
	snap, err := f.observe(t, observe.Limits{MaxBytes: 64 << 10}, web)
	if err != nil {
		t.Fatal(err)
	}
	if g := gapsOf(snap)["pods in namespace shop"]; g.Kind != incident.GapNotAsked || !strings.Contains(g.Reason, "65536 bytes") {
		t.Errorf("gap = %+v, want one that names the limit", g)
	}
}

// The values of Secrets are not asked for, and those of ConfigMaps are not kept.
func TestSecretsAreReadByMetadataOnly(t *testing.T) {
	f := newFakeAPI(t)
	secret := object("Secret", "login")
	secret["data"] = map[string]any{"password": "aHVudGVyMg=="} // a server that sends too much
	f.lists["secrets"] = []map[string]any{secret}
	snap, err := f.observe(t, observe.Limits{}, web)
	if err != nil {
		t.Fatal(err)
	}
	for _, accept := range f.accepts["secrets"] {
		if !strings.Contains(accept, "PartialObjectMetadataList") {
			t.Errorf("Secrets were asked for as %q", accept)
		}
	}
	if len(f.accepts["secrets"]) == 0 {
		t.Error("Secrets were not listed")
	}
	ref := incident.Ref{Kind: "Secret", Namespace: "shop", Name: "login"}
	o := snap.Object(ref)
	if o == nil || !o.Partial() || o.At("data").Exists() {
		t.Fatalf("Secret = %+v, want its metadata only", o)
	}
	// That a Secret read by metadata lacks a key proves nothing.
	e := incident.Evidence{ID: "e1", Kind: incident.EvidenceObject, Ref: ref, Path: "/data/other", Absent: true, SHA256: incident.HashValue("")}
	if err := diagnose.Verify(snap, []incident.Evidence{e}); err == nil {
		t.Error("the absence of a key in metadata verifies")
	}
}

func TestLogsAreTailedAndRedacted(t *testing.T) {
	f := newFakeAPI(t)
	pod := object("Pod", "web-1")
	pod["spec"] = map[string]any{"nodeName": "n", "containers": []any{map[string]any{"name": "server"}}}
	pod["status"] = map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
		"name": "server", "restartCount": 3,
		"state": map[string]any{"waiting": map[string]any{"reason": "CrashLoopBackOff"}}, "lastState": map[string]any{"terminated": map[string]any{"exitCode": 1, "reason": "Error"}},
	}}}
	f.lists["pods"] = []map[string]any{pod}
	f.override["/log"] = func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Query().Get("previous") != "true" {
			status(w, http.StatusBadRequest, `previous terminated container "server" in pod "web-1" not found`, "")
			return
		}
		for i := range 50 {
			fmt.Fprintf(w, "line %d password=hunter%d\n", i, i)
		}
		fmt.Fprint(w, "the end")
	}
	snap, err := f.observe(t, observe.Limits{LogLines: 3}, incident.Ref{Kind: "Pod", Namespace: "shop", Name: "web-1"})
	if err != nil {
		t.Fatal(err)
	}
	log := snap.Log(incident.Ref{Kind: "Pod", Namespace: "shop", Name: "web-1"}, "server", true)
	if log == nil {
		t.Fatalf("no previous log; gaps %v", gapsOf(snap))
	}
	want := []string{"line 48 password=[redacted:1]", "line 49 password=[redacted:2]", "the end"}
	if !slices.Equal(log.Lines, want) || !log.Truncated {
		t.Errorf("log = %q truncated %v, want %q truncated", log.Lines, log.Truncated, want)
	}
	expired := 0
	for _, g := range snap.Contents().Gaps {
		if g.Kind == incident.GapExpired && g.Subject.Kind == "Log" {
			expired++
		}
	}
	if expired != 1 {
		t.Errorf("%d expired logs, want the current one", expired)
	}
	r := diagnose.Run(snap, incident.Incident{Resource: incident.Ref{Kind: "Pod", Namespace: "shop", Name: "web-1"}})
	if r.Cause == nil || r.Cause.Class != diagnose.ClassApplicationError {
		t.Errorf("got %s", r.Summary)
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	if _, err := observe.New(observe.Options{}); err == nil {
		t.Error("no error without a Config")
	}
	if _, err := observe.New(observe.Options{Config: &rest.Config{Host: "http://x"}, Limits: observe.Limits{PageSize: -1}}); err == nil {
		t.Error("no error for a negative limit")
	}
}

// One question is one request, and tells what it found apart from what it could not read.
func TestRead(t *testing.T) {
	f := newFakeAPI(t)
	f.lists["pods"] = []map[string]any{object("Pod", "a"), object("Pod", "b")}
	f.override["/configmaps"] = refuse(http.StatusForbidden, "Forbidden")
	live, err := observe.New(observe.Options{Config: &rest.Config{Host: f.URL}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := live.Read(t.Context(), observe.Query{Ref: incident.Ref{Kind: "Pod", Namespace: "shop"}})
	if err != nil || len(c.Objects) != 2 || len(c.Gaps) != 0 || f.pages["pods"] != 1 {
		t.Errorf("Pods: %d objects, gaps %v, %d requests, %v", len(c.Objects), c.Gaps, f.pages["pods"], err)
	}
	c, err = live.Read(t.Context(), observe.Query{Ref: incident.Ref{Kind: "Secret", Namespace: "shop", Name: "gone"}})
	if err != nil || len(c.Objects) != 0 || len(c.Reads) != 1 || c.Reads[0].Found != 0 {
		t.Errorf("an absent Secret: %+v, %v", c, err)
	}
	c, err = live.Read(t.Context(), observe.Query{Ref: incident.Ref{Kind: "Pod", Namespace: "shop", Name: "a"}, Events: true})
	if err != nil || len(c.Reads) != 1 || c.Reads[0].Selector != "involvedObject.kind=Pod,involvedObject.name=a" {
		t.Errorf("events: %+v, %v", c, err)
	}
	if _, err = live.Read(t.Context(), observe.Query{Ref: incident.Ref{Kind: "ConfigMap", Namespace: "shop"}}); incident.KindOf(err) != incident.KindForbidden {
		t.Errorf("forbidden ConfigMaps: %v", err)
	}
}
