package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/infrastructure/rollout"
)

// The names of what is deployed.
const (
	Namespace   = "kubernaut-system"
	Controller  = "aianalysis-controller"
	HAPI        = "holmesgpt-api"
	DataStorage = "datastorage"
)

// Target says where a system is. It travels as JSON between the processes of a suite.
type Target struct {
	Kubeconfig string `json:"kubeconfig"`
	// The base URLs of the endpoints, as this machine reaches them.
	Health      string `json:"health"`
	Metrics     string `json:"metrics"`
	HAPI        string `json:"hapi"`
	DataStorage string `json:"dataStorage"`
	// WorkloadImage is the image of test/e2e/workload, as nodes know it. It is empty where no kubelet
	// runs; what needs one is then skipped.
	WorkloadImage string `json:"workloadImage"`
	// Cluster is the name of the Kind cluster, and Runtime the container engine that its nodes run on; both
	// are empty where the nodes are not to be touched.
	Cluster string `json:"cluster,omitempty"`
	Runtime string `json:"runtime,omitempty"`
	// Deployed says that the services are Deployments in Namespace, and may be disturbed.
	Deployed bool `json:"deployed"`
}

// System is a system under test.
type System struct {
	Target
	client.WithWatch

	rest      *rest.Config
	http      *http.Client // of the endpoints
	apiServer *http.Client // with the credentials of the kubeconfig
}

// Connect returns the system at a target. It contacts nothing.
func Connect(t Target) (*System, error) {
	log.SetLogger(logr.Discard()) // the library complains of a process that has not chosen
	config, err := clientcmd.BuildConfigFromFlags("", t.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", t.Kubeconfig, err)
	}
	config.QPS = -1 // the API server has limits of its own
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", config.Host, err)
	}
	authorized, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", config.Host, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // an endpoint may be another process a moment later
	return &System{
		Target: t, WithWatch: c, rest: config,
		http: &http.Client{Transport: transport, Timeout: time.Minute}, apiServer: authorized,
	}, nil
}

// Answer is what an endpoint said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body.
func (a Answer) JSON(into any) error {
	if err := json.Unmarshal(a.Body, into); err != nil {
		return fmt.Errorf("%w in %q", err, clip(string(a.Body)))
	}
	return nil
}

// String is status and body, for messages.
func (a Answer) String() string { return fmt.Sprintf("%d %s", a.Status, clip(string(a.Body))) }

// Get asks an endpoint of this machine.
func (s *System) Get(ctx context.Context, url string) (Answer, error) {
	return do(ctx, s.http, http.MethodGet, url, nil, nil)
}

// Send sends JSON to an endpoint of this machine. body may be text, which is sent as it is.
func (s *System) Send(ctx context.Context, method, url string, body any, header http.Header) (Answer, error) {
	return send(ctx, s.http, method, url, body, header)
}

// Within returns the URL of a port of a pod or Service in the cluster, as the API server proxies it,
// and the client to ask it with. kind is pods or services.
func (s *System) Within(namespace, kind, name string, port int) (string, *http.Client) {
	base := strings.TrimSuffix(s.rest.Host, "/")
	return fmt.Sprintf("%s/api/v1/namespaces/%s/%s/%s:%d/proxy", base, namespace, kind, name, port), s.apiServer
}

// GetWithin asks a port of a pod or Service in the cluster.
func (s *System) GetWithin(ctx context.Context, namespace, kind, name string, port int, path string) (Answer, error) {
	base, c := s.Within(namespace, kind, name, port)
	return do(ctx, c, http.MethodGet, base+path, nil, nil)
}

// SendWithin sends JSON to a port of a pod or Service in the cluster.
func (s *System) SendWithin(ctx context.Context, namespace, kind, name string, port int, path string, body any, header http.Header) (Answer, error) {
	base, c := s.Within(namespace, kind, name, port)
	return send(ctx, c, http.MethodPost, base+path, body, header)
}

func send(ctx context.Context, c *http.Client, method, url string, body any, header http.Header) (Answer, error) {
	text, ok := body.(string)
	if !ok {
		content, err := json.Marshal(body)
		if err != nil {
			return Answer{}, err
		}
		text = string(content)
	}
	h := http.Header{"Content-Type": {"application/json"}}
	maps.Copy(h, header)
	return do(ctx, c, method, url, strings.NewReader(text), h)
}

func do(ctx context.Context, c *http.Client, method, url string, body io.Reader, header http.Header) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return Answer{}, err
	}
	maps.Copy(req.Header, header)
	resp, err := c.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, url, err)
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: content}, nil
}

// NewNamespace creates a namespace whose name begins with prefix.
func (s *System) NewNamespace(ctx context.Context, prefix string, labels map[string]string) (string, error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-", Labels: labels}}
	if err := s.Create(ctx, ns); err != nil {
		return "", fmt.Errorf("create namespace %s-…: %w", prefix, err)
	}
	return ns.Name, nil
}

// clip bounds a text in a message.
func clip(text string) string {
	const most = 2000
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// Dump writes what a person needs who has to explain a failure into a directory: the objects, events and
// logs of namespaces. It writes what it can, and returns what it could not.
func (s *System) Dump(ctx context.Context, dir string, namespaces ...string) error {
	c, err := rollout.Connect(s.rest)
	if err != nil {
		return err
	}
	return c.Dump(ctx, dir, namespaces...)
}

// API asks the API server for a path, in a media type, and returns what it says.
func (s *System) API(ctx context.Context, path, accept string) ([]byte, error) {
	a, err := do(ctx, s.apiServer, http.MethodGet, strings.TrimSuffix(s.rest.Host, "/")+path, nil, http.Header{"Accept": {accept}})
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, a)
	}
	return a.Body, nil
}
