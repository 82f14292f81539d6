// Package apiserver plays a Kubernetes API server and what runs behind it: objects that are applied are kept and watched,
// and workloads become available, or end as the test wants. It stands in where a run of the harness is to meet a failure
// of its cluster without having one; what a real API server does with the same calls is proven with a real one, in
// package rollout.
package apiserver

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is an answer that goes wrong.
type Fault struct {
	// Call is an expression that matches the method and the path, as "PATCH /apis/…".
	Call string
	// Times is how many such calls are meant; zero: one, negative: all.
	Times int
	// Status and Message are the answer. Without a status the connection is cut.
	Status  int
	Message string
	// Hang leaves the call without an answer until the caller goes.
	Hang bool
	// Then is called when the call comes; nil: nothing.
	Then func()
}

// Pod is what becomes of the pods of a workload.
type Pod struct {
	// Reason and Message are why its container waits; empty: it runs.
	Reason, Message string
	// ExitCode and Ended are how the container ended before, Restarts how often, Log what it said then.
	ExitCode int
	Ended    string
	Restarts int
	Log      string
	// EventReason and Event are what kubelet says of the pod.
	EventReason, Event string
	// Image is what the container runs; empty: what its template says.
	Image string
	// Heals says that who looks at the pods once more finds it well.
	Heals bool
}

// Server plays an API server.
type Server struct {
	*httptest.Server

	nodes []string
	pods  map[string]*Pod

	mu      sync.Mutex
	faults  []Fault
	objects map[string]object // by path
	looks   int               // how often the pods were watched from the beginning
	serial  int
	events  []event
	changed chan struct{} // closed when something did
	closing chan struct{}
}

type object = map[string]any

type event struct {
	serial int
	kind   string // ADDED, MODIFIED, DELETED
	path   string
	object object
}

// New starts a server. nodes are the names of its nodes, which are ready; pods says what becomes of the pods of a
// Deployment, by its name.
func New(nodes []string, pods map[string]*Pod, faults []Fault) *Server {
	s := &Server{nodes: nodes, pods: pods, faults: faults, objects: map[string]object{}, changed: make(chan struct{}), closing: make(chan struct{})}
	s.Server = httptest.NewUnstartedServer(s)
	s.Server.EnableHTTP2 = false
	s.Server.StartTLS()
	for _, n := range nodes {
		s.put("/api/v1/nodes/"+n, object{
			"apiVersion": "v1", "kind": "Node", "metadata": object{"name": n},
			"status": object{"conditions": []any{object{"type": "Ready", "status": "True", "reason": "KubeletReady"}}},
		})
	}
	return s
}

// Label labels all nodes.
func (s *Server) Label(labels map[string]string) {
	for _, n := range s.nodes {
		s.mu.Lock()
		o := clone(s.objects["/api/v1/nodes/"+n])
		s.mu.Unlock()
		o["metadata"].(object)["labels"] = labels
		s.put("/api/v1/nodes/"+n, o)
	}
}

// Port is where it listens.
func (s *Server) Port() int {
	u, err := url.Parse(s.URL)
	if err != nil {
		return 0
	}
	port, _ := strconv.Atoi(u.Port())
	return port
}

// Kubeconfig is an administrator's, as kubeadm leaves it on a node.
func (s *Server) Kubeconfig() []byte {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	config := object{
		"apiVersion": "v1", "kind": "Config", "current-context": "kubernetes-admin@kubernetes",
		"clusters": []any{object{"name": "kubernetes", "cluster": object{"server": s.URL, "certificate-authority-data": ca}}},
		"users":    []any{object{"name": "kubernetes-admin", "user": object{"token": "any"}}},
		"contexts": []any{object{"name": "kubernetes-admin@kubernetes", "context": object{"cluster": "kubernetes", "user": "kubernetes-admin"}}},
	}
	text, err := json.Marshal(config)
	if err != nil {
		panic(fmt.Sprintf("apiserver: kubeconfig without a JSON form: %v", err)) // it is strings
	}
	return text
}

// Close ends the server, and the watches on it.
func (s *Server) Close() {
	close(s.closing)
	s.CloseClientConnections()
	s.Server.Close()
}

// put keeps an object and tells those who watch.
func (s *Server) put(path string, o object) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	o = clone(o)
	s.serial++
	meta, _ := o["metadata"].(object)
	kind := "ADDED"
	if old, ok := s.objects[path]; ok {
		kind = "MODIFIED"
		meta["uid"] = old["metadata"].(object)["uid"]
	} else {
		meta["uid"] = fmt.Sprintf("uid-%d", s.serial)
		meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	meta["resourceVersion"], meta["generation"] = strconv.Itoa(s.serial), 1
	s.objects[path] = o
	s.tell(event{s.serial, kind, path, o})
	return o
}

func (s *Server) remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.objects[path]; ok {
		delete(s.objects, path)
		s.serial++
		s.tell(event{s.serial, "DELETED", path, o})
	}
}

func (s *Server) tell(e event) {
	s.events = append(s.events, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

func clone(o object) object {
	text, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("apiserver: object without a JSON form: %v", err)) // it was made of one
	}
	var c object
	if err := json.Unmarshal(text, &c); err != nil {
		panic(fmt.Sprintf("apiserver: %v", err))
	}
	return c
}

// fault finds the fault that a call meets.
func (s *Server) fault(call string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if f.Times == 0 {
			f.Times = 1
		}
		if f.Call == "" || !regexp.MustCompile(f.Call).MatchString(call) {
			continue
		}
		met := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				f.Call = "" // it is used up
			}
		}
		return &met
	}
	return nil
}

// ServeHTTP answers a call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/pods") && r.URL.Query().Get("sendInitialEvents") == "true" {
		s.heal()
	}
	if f := s.fault(r.Method + " " + r.URL.Path); f != nil {
		if f.Then != nil {
			f.Then()
		}
		if f.Hang {
			_, _ = io.Copy(io.Discard, r.Body) // only then the end of the connection is seen
			select {
			case <-r.Context().Done():
			case <-s.closing:
			}
		}
		if f.Status == 0 {
			panic(http.ErrAbortHandler) // which cuts the connection
		}
		refuse(w, f.Status, f.Message)
		return
	}
	switch {
	case r.URL.Path == "/readyz", r.URL.Path == "/healthz":
		fmt.Fprint(w, "ok")
	case r.URL.Path == "/version":
		reply(w, object{"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
	case discovery(w, r.URL.Path):
	default:
		s.serve(w, r)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	res, path, ok := find(r.URL.Path)
	if !ok {
		refuse(w, http.StatusNotFound, "the server could not find the requested resource")
		return
	}
	switch {
	case path.sub == "log":
		s.log(w, r, path)
	case path.name == "" && r.URL.Query().Get("watch") != "":
		s.watch(w, r, res, path)
	case path.name == "" && r.Method == http.MethodGet:
		s.list(w, r, res, path)
	case path.name == "" && r.Method == http.MethodPost:
		s.change(w, r, path, http.StatusCreated)
	case r.Method == http.MethodGet:
		s.mu.Lock()
		o, ok := s.objects[path.object()]
		s.mu.Unlock()
		if !ok {
			refuse(w, http.StatusNotFound, fmt.Sprintf("%s %q not found", res.plural, path.name))
			return
		}
		reply(w, o)
	case r.Method == http.MethodDelete:
		s.remove(path.object())
		reply(w, object{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	default:
		s.change(w, r, path, http.StatusOK)
	}
}

// log answers with what a container said before it was started again.
func (s *Server) log(w http.ResponseWriter, r *http.Request, p path) {
	for name, pod := range s.pods {
		if strings.HasPrefix(p.name, name+"-") && pod.Log != "" {
			fmt.Fprint(w, pod.Log)
			return
		}
	}
	if r.URL.Query().Get("previous") != "" {
		refuse(w, http.StatusBadRequest, "previous terminated container not found")
	}
}

func reply(w http.ResponseWriter, o any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o) // who asked may have gone
}

func refuse(w http.ResponseWriter, status int, message string) {
	reasons := map[int]string{
		http.StatusNotFound: "NotFound", http.StatusConflict: "AlreadyExists", http.StatusInternalServerError: "InternalError",
		http.StatusBadRequest: "BadRequest", http.StatusTooManyRequests: "TooManyRequests", http.StatusUnprocessableEntity: "Invalid",
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reasons[status], "code": status,
	})
}
