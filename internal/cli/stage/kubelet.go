package stage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubelet plays the part of every node's kubelet: it words Pod status, and serves container logs
// to the API server. Its methods may be called at once.
type kubelet struct {
	server *http.Server
	port   int32

	mu   sync.Mutex
	logs map[string]containerLog // by namespace/pod/container
	lost map[string]bool         // by node
}

// startKubelet serves container logs over TLS on a loopback port. The certificate is its own: the
// API server does not verify a kubelet's unless it is told to.
func startKubelet(now time.Time) (*kubelet, error) {
	cert, err := selfSigned(now)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &kubelet{port: int32(l.Addr().(*net.TCPAddr).Port), logs: map[string]containerLog{}, lost: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLog)
	k.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    1 << 16,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	}
	go k.server.ServeTLS(l, "", "") //nolint:errcheck // it always ends with an error, that of Close
	return k, nil
}

func (k *kubelet) close() error { return k.server.Close() }

func logKey(namespace, pod, container string) string {
	return namespace + "/" + pod + "/" + container
}

func (k *kubelet) setLog(pod *corev1.Pod, l containerLog) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.logs[logKey(pod.Namespace, pod.Name, l.Container)] = l
}

// lose makes the kubelet of a node fall silent.
func (k *kubelet) lose(node string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost[node] = true
}

func (k *kubelet) isLost(node string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost[node]
}

func (k *kubelet) serveLog(w http.ResponseWriter, r *http.Request) {
	namespace, pod, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	k.mu.Lock()
	l := k.logs[logKey(namespace, pod, container)]
	k.mu.Unlock()
	text := l.Current
	if r.FormValue("previous") == "true" {
		if text = l.Previous; text == "" {
			http.Error(w, fmt.Sprintf("previous terminated container %q in pod %q not found", container, pod), http.StatusBadRequest)
			return
		}
	}
	if n, err := strconv.Atoi(r.FormValue("tailLines")); err == nil {
		lines := strings.SplitAfter(text, "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		text = strings.Join(lines[max(0, len(lines)-n):], "")
	}
	if n, err := strconv.Atoi(r.FormValue("limitBytes")); err == nil && n < len(text) {
		text = text[:n]
	}
	io.WriteString(w, text) //nolint:errcheck // the reader is gone
}

// podIP is an address for a Pod, the same each time.
func (k *kubelet) podIP(pod *corev1.Pod) string {
	h := fnv.New32a()
	h.Write([]byte(pod.UID))
	s := h.Sum32()
	return fmt.Sprintf("10.244.%d.%d", s>>8&0xff, 2+s&0xff%250)
}

// status words the status of a Pod on a node from that of its containers.
func (k *kubelet) status(pod *corev1.Pod, ip string, containers []corev1.ContainerStatus, now time.Time) (corev1.PodStatus, error) {
	if pod.Spec.NodeName == "" {
		return corev1.PodStatus{}, errors.New("it is on no node, so no kubelet reports its containers; give node first")
	}
	s := *pod.Status.DeepCopy()
	s.HostIP, s.HostIPs = "127.0.0.1", []corev1.HostIP{{IP: "127.0.0.1"}}
	s.PodIP, s.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	if s.StartTime == nil {
		s.StartTime = &metav1.Time{Time: now}
	}
	s.ContainerStatuses = nil
	var unready []string
	waiting, ended := 0, 0
	for _, c := range containers {
		spec := containerOf(pod, c.Name)
		if spec == nil {
			return corev1.PodStatus{}, fmt.Errorf("container %q: %w", c.Name, errNoSuchContainer)
		}
		c.Image = spec.Image
		c.Started = new(c.State.Running != nil)
		if c.State.Running != nil || c.RestartCount > 0 {
			c.ImageID = fmt.Sprintf("%s@sha256:%x", strings.SplitN(spec.Image, ":", 2)[0], sha256.Sum256([]byte(spec.Image)))
			c.ContainerID = fmt.Sprintf("containerd://%x", sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", pod.UID, c.Name, c.RestartCount)))
		}
		if t := c.State.Terminated; t != nil && t.ContainerID == "" {
			t.ContainerID = c.ContainerID
		}
		if t := c.LastTerminationState.Terminated; t != nil && t.ContainerID == "" {
			t.ContainerID = c.ContainerID
		}
		if !c.Ready {
			unready = append(unready, c.Name)
		}
		switch {
		case c.State.Terminated != nil, c.State.Waiting != nil && c.LastTerminationState.Terminated != nil:
			ended++
		case c.State.Waiting != nil:
			waiting++
		}
		s.ContainerStatuses = append(s.ContainerStatuses, c)
	}
	s.Phase = corev1.PodRunning
	if waiting > 0 {
		s.Phase = corev1.PodPending
	}
	ready, reason, message := corev1.ConditionTrue, "", ""
	if len(unready) > 0 {
		ready, reason = corev1.ConditionFalse, "ContainersNotReady"
		message = fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	}
	set := func(kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) {
		setPodCondition(&s, corev1.PodCondition{Type: kind, Status: status, Reason: reason, Message: message}, now)
	}
	set(corev1.PodReadyToStartContainers, corev1.ConditionTrue, "", "")
	set(corev1.PodInitialized, corev1.ConditionTrue, "", "")
	set(corev1.PodReady, ready, reason, message)
	set(corev1.ContainersReady, ready, reason, message)
	set(corev1.PodScheduled, corev1.ConditionTrue, "", "")
	return s, nil
}

func setPodCondition(s *corev1.PodStatus, c corev1.PodCondition, now time.Time) {
	c.LastTransitionTime = metav1.Time{Time: now}
	for i, old := range s.Conditions {
		if old.Type == c.Type {
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			s.Conditions[i] = c
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}

func containerOf(pod *corev1.Pod, name string) *corev1.Container {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}

func selfSigned(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "kubelet"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(365 * 24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubelet"}}, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// podEvents writes the events that the kubelet of the Pod's node emits: for every container that has
// started the usual ones, then those given.
func (c *Cluster) podEvents(ctx context.Context, pod *corev1.Pod, given []event) error {
	var all []event
	for _, s := range pod.Status.ContainerStatuses {
		if s.ContainerID == "" {
			continue
		}
		all = append(all,
			event{Type: corev1.EventTypeNormal, Reason: "Pulled", Container: s.Name, Message: fmt.Sprintf("Container image %q already present on machine", s.Image)},
			event{Type: corev1.EventTypeNormal, Reason: "Created", Container: s.Name, Message: "Created container: " + s.Name},
			event{Type: corev1.EventTypeNormal, Reason: "Started", Container: s.Name, Message: "Started container " + s.Name},
		)
	}
	for _, e := range append(all, given...) {
		if err := c.podEvent(ctx, pod, e); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) podEvent(ctx context.Context, pod *corev1.Pod, e event) error {
	ref := podReference(pod)
	if e.Container != "" {
		if containerOf(pod, e.Container) == nil {
			return fmt.Errorf("event %s: container %q: %w", e.Reason, e.Container, errNoSuchContainer)
		}
		ref.FieldPath = "spec.containers{" + e.Container + "}"
	}
	if e.Type == "" {
		e.Type = corev1.EventTypeWarning
	}
	now := c.clock()
	obj := &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: pod.Namespace, Name: eventName(pod.Name, e.Reason, e.Container)},
		InvolvedObject:      ref,
		Type:                e.Type,
		Reason:              e.Reason,
		Message:             e.Message,
		Count:               max(e.Count, 1),
		FirstTimestamp:      metav1.Time{Time: now.Add(-e.Over.Duration)},
		LastTimestamp:       metav1.Time{Time: now},
		Source:              corev1.EventSource{Component: "kubelet", Host: pod.Spec.NodeName},
		ReportingController: "kubelet",
		ReportingInstance:   pod.Spec.NodeName,
	}
	return c.createOnce(ctx, obj)
}

func podReference(pod *corev1.Pod) corev1.ObjectReference {
	return corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name,
		UID: pod.UID, ResourceVersion: pod.ResourceVersion,
	}
}

// eventName is as unique as the kubelet's: one event for one reason and container of a Pod.
func eventName(object, reason, container string) string {
	h := fnv.New64a()
	io.WriteString(h, reason+"/"+container) //nolint:errcheck // a hash takes everything
	return fmt.Sprintf("%s.%016x", object, h.Sum64())
}

func splitDots(s string) []string { return strings.Split(s, ".") }
