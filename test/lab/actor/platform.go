package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// web serves a handler in the background; with files of a certificate and its key, over TLS.
func (a *actor) web(ctx context.Context, address, cert, key string, h http.Handler) error {
	l, err := listener(ctx, address)
	if err != nil {
		return err
	}
	a.log.Info("listening", "address", address)
	s := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	go func() {
		if cert != "" {
			a.fail(s.ServeTLS(l, cert, key))
			return
		}
		a.fail(s.Serve(l))
	}()
	return nil
}

// registry is one that has no image: what is under private/ it refuses, as one does that wants a login.
func registry(ctx context.Context, a *actor, address string) error {
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, status int, code, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
	}
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v2/private/") {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			reply(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return
		}
		reply(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
	})
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	return a.web(ctx, address, "", "", mux)
}

// admit is an admission webhook: it refuses whatever lacks the label of DEMAND. The value is an address and two files.
func admit(ctx context.Context, a *actor, value string) error {
	parts := strings.Split(value, ",")
	if len(parts) != 3 {
		return fmt.Errorf("admit: want ADDRESS,CERTIFICATE,KEY, got %q", value)
	}
	demand := a.getenv("DEMAND")
	return a.web(ctx, parts[0], parts[1], parts[2], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Request struct {
				UID    string
				Object struct {
					Metadata struct{ Labels map[string]string }
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, allowed := review.Request.Object.Metadata.Labels[demand]
		response := map[string]any{"uid": review.Request.UID, "allowed": allowed || demand == ""}
		if response["allowed"] == false {
			response["status"] = map[string]any{"code": http.StatusForbidden, "message": "label " + demand + " is required on every pod"}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
	}))
}

// serveMetrics is the resource metrics API: every Pod uses CPU of 900m. The value is an address and two files.
func serveMetrics(ctx context.Context, a *actor, value string) error {
	parts := strings.Split(value, ",")
	if len(parts) != 3 {
		return fmt.Errorf("metrics: want ADDRESS,CERTIFICATE,KEY, got %q", value)
	}
	const base = "/apis/metrics.k8s.io/v1beta1"
	c, err := cluster()
	if err != nil {
		return err
	}
	return a.web(ctx, parts[0], parts[1], parts[2], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		rest := strings.Trim(strings.TrimPrefix(r.URL.Path, base), "/")
		if rest == "" {
			fmt.Fprint(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","resources":[{"name":"pods","singularName":"","namespaced":true,"kind":"PodMetrics","verbs":["get","list"]}]}`)
			return
		}
		if err := usage(r.Context(), c, w, api+"/api/v1/"+rest+"?"+r.URL.RawQuery); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
}

// usage writes the metrics of the Pods behind an address of the API.
func usage(ctx context.Context, c *http.Client, w http.ResponseWriter, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var pods struct {
		Items []struct {
			Metadata map[string]any
			Spec     struct{ Containers []struct{ Name string } }
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&pods); err != nil {
		return err
	}
	items := []any{}
	for _, p := range pods.Items {
		var containers []any
		for _, c := range p.Spec.Containers {
			containers = append(containers, map[string]any{"name": c.Name, "usage": map[string]any{"cpu": "900m", "memory": "20Mi"}})
		}
		items = append(items, map[string]any{
			"metadata":  map[string]any{"name": p.Metadata["name"], "namespace": p.Metadata["namespace"], "labels": p.Metadata["labels"]},
			"timestamp": time.Now().UTC().Format(time.RFC3339), "window": "30s", "containers": containers,
		})
	}
	return json.NewEncoder(w).Encode(map[string]any{"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": map[string]any{}, "items": items})
}

// reportBroken writes, as an operator does, into the status of a custom resource that it is not ready: the value is the path of
// its status in the API, a reason and a message, separated by bars.
func reportBroken(ctx context.Context, a *actor, value string) error {
	parts := strings.SplitN(value, "|", 3)
	if len(parts) != 3 {
		return fmt.Errorf("cr: want PATH|REASON|MESSAGE, got %q", value)
	}
	c, err := cluster()
	if err != nil {
		return err
	}
	condition := map[string]any{
		"type": "Ready", "status": "False", "reason": parts[1], "message": parts[2], "observedGeneration": 1,
		"lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{"observedGeneration": 1, "conditions": []any{condition}}})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, api+parts[0], bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/merge-patch+json")
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	a.log.Error("reconcile failed", "resource", parts[0], "reason", parts[1], "error", parts[2], "status", answer.Status)
	return answer.Body.Close()
}

// makeCert writes tls.crt and tls.key for a host into a directory, good until so long from now; the value is HOST,DURATION,DIR.
func makeCert(_ context.Context, _ *actor, value string) error {
	parts := strings.Split(value, ",")
	if len(parts) != 3 {
		return fmt.Errorf("cert: want HOST,DURATION,DIR, got %q", value)
	}
	until, err := time.ParseDuration(parts[1])
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	end := time.Now().Add(until)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: parts[0]}, DNSNames: []string{parts[0]},
		NotBefore: end.Add(-90 * 24 * time.Hour), NotAfter: end, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(parts[2], name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
