package infrastructure_test

// faultySources are the sources of the small suite.
func faultySources() map[string]string {
	return map[string]string{
		"docker/faults.Dockerfile": "FROM scratch\nCOPY bin/linux/faults /faults\nENTRYPOINT [\"/faults\"]\n",
		"cmd/faults/main.go": `package main

import "net/http"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	_ = http.ListenAndServe(":8080", nil)
}
`,
		"test/e2e/faults/faults_test.go": `package faults_test

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
`,
		"deploy/overlays/e2e/kustomization.yaml": "resources: [all.yaml]\n",
		"deploy/overlays/e2e/all.yaml": `
apiVersion: v1
kind: Namespace
metadata: {name: kubernaut-system, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: kubernaut-system}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30391}]
---
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
        image: localhost/kubernaut-faults
        imagePullPolicy: Never
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 64Mi}}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`,
	}
}
