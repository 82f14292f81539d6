package infrastructure_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// writeSources writes files below a directory.
func writeSources(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func dockerfile(program string) string {
	return fmt.Sprintf("FROM scratch\nCOPY bin/linux/%[1]s /%[1]s\nENTRYPOINT [\"/%[1]s\"]\n", program)
}

// workload are the image and the manifests of a suite of one program, which runs as Deployment web. object is one more, and
// setting one more of its container.
func workload(program, object, setting string) map[string]string {
	return map[string]string{
		"docker/" + program + ".Dockerfile":      dockerfile(program),
		"deploy/overlays/e2e/kustomization.yaml": "resources: [all.yaml]\n",
		"deploy/overlays/e2e/all.yaml": fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: kubernaut-system, labels: {pod-security.kubernetes.io/enforce: restricted}}
---%s---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: kubernaut-system}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: web
        image: localhost/kubernaut-%s
        imagePullPolicy: Never
        %s
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 64Mi}}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`, object, program, setting),
	}
}

// A ConfigMap, and the setting of a container that needs it.
const (
	configMap = `
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: kubernaut-system}
data: {a: b}
`
	fromConfigMap = "envFrom: [{configMapRef: {name: web}}]"
)

// faultySources are the sources of the small suite.
func faultySources() map[string]string {
	files := workload("faults", configMap+`---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: kubernaut-system}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30391}]
`, fromConfigMap)
	files["cmd/faults/main.go"] = `package main

import "net/http"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	_ = http.ListenAndServe(":8080", nil)
}
`
	files["test/e2e/faults/faults_test.go"] = `package faults_test

import (
	"net/http"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
)

func TestFaults(t *testing.T) {
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "faults")
}

var _ = ginkgo.It("answers", func() {
	answer, err := http.Get("http://127.0.0.1:28391/")
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	gomega.Expect(answer.StatusCode).To(gomega.Equal(http.StatusOK))
})
`
	return files
}
