//go:build e2e

package aianalysis

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"kubernaut.ai/kubernaut/test/e2e"
)

const (
	specTime  = 2 * time.Minute // the longest that a specification may take, if it says nothing else
	setupTime = 45 * time.Minute

	// waits has a specification begin before the others: it waits for what a kubelet or a controller does in its own
	// time, and the others run meanwhile.
	waits = SpecPriority(1)
)

// sys is the system under test. It is set once, before the first specification.
var sys *e2e.System

func TestAIAnalysis(t *testing.T) {
	RegisterFailHandler(Fail)
	log.SetLogger(GinkgoLogr)
	suite, reporter := GinkgoConfiguration()
	if suite.Timeout == time.Hour { // ginkgo's default
		suite.Timeout = 90 * time.Minute
	}
	RunSpecs(t, "AIAnalysis", suite, reporter)
}

var _ = SynchronizedBeforeSuite(func(ctx SpecContext) []byte {
	target, err := findTarget(ctx)
	Expect(err).NotTo(HaveOccurred(), "the system under test")
	system, err := e2e.Connect(target)
	Expect(err).NotTo(HaveOccurred())
	if target.Deployed {
		standIns(ctx, system)
	}
	text, err := json.Marshal(target)
	Expect(err).NotTo(HaveOccurred())
	return text
}, func(_ SpecContext, text []byte) {
	var target e2e.Target
	Expect(json.Unmarshal(text, &target)).To(Succeed())
	var err error
	sys, err = e2e.Connect(target)
	Expect(err).NotTo(HaveOccurred())
}, NodeTimeout(setupTime))

// findTarget returns the system that the environment names, else that of the cluster of this suite.
func findTarget(ctx context.Context) (e2e.Target, error) {
	env := func(name, otherwise string) string {
		if v := os.Getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	kubeconfig := os.Getenv("E2E_KUBECONFIG")
	if kubeconfig == "" {
		return clusterTarget(ctx)
	}
	image := os.Getenv("E2E_WORKLOAD_IMAGE")
	return e2e.Target{
		Kubeconfig:    kubeconfig,
		Health:        env("E2E_HEALTH_URL", "http://127.0.0.1:8184"),
		Metrics:       env("E2E_METRICS_URL", "http://127.0.0.1:9184/metrics"),
		HAPI:          env("E2E_HAPI_URL", "http://127.0.0.1:8088"),
		DataStorage:   env("E2E_DATASTORAGE_URL", "http://127.0.0.1:8091"),
		WorkloadImage: image,
		Deployed:      image != "",
		Cluster:       os.Getenv("E2E_CLUSTER"),
		Runtime:       os.Getenv("E2E_RUNTIME"),
	}, nil
}

// needNodes skips a specification where no kubelet runs.
func needNodes() {
	GinkgoHelper()
	if sys.WorkloadImage == "" {
		Skip("no kubelet runs here: E2E_WORKLOAD_IMAGE names no image")
	}
}

// needDeployed skips a specification where the services are not Deployments that may be disturbed.
func needDeployed() {
	GinkgoHelper()
	if !sys.Deployed {
		Skip("the services are not deployed in a cluster")
	}
}

// newNamespace creates a namespace for one specification. It goes when the specification has passed.
func newNamespace(ctx SpecContext, labels ...string) string {
	GinkgoHelper()
	set := map[string]string{"kubernaut.ai/e2e": "spec"}
	for i := 0; i+1 < len(labels); i += 2 {
		set[labels[i]] = labels[i+1]
	}
	name, err := sys.NewNamespace(ctx, "e2e", set)
	Expect(err).NotTo(HaveOccurred())
	AddReportEntry("namespace", name, ReportEntryVisibilityFailureOrVerbose)
	DeferCleanup(func(ctx context.Context) {
		if CurrentSpecReport().Failed() {
			return // people look at it
		}
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		Expect(sys.Delete(ctx, ns)).To(Succeed(), "delete namespace %s", name)
	})
	return name
}

// The evidence of a failure is written before anything is put back.
var _ = JustAfterEach(func(ctx SpecContext) {
	report := CurrentSpecReport()
	if !report.Failed() || sys == nil {
		return
	}
	namespaces := []string{e2e.Namespace}
	for _, entry := range report.ReportEntries {
		if entry.Name == "namespace" {
			namespaces = append(namespaces, entry.StringRepresentation())
		}
	}
	if sys.Deployed {
		namespaces = append(namespaces, standInNamespace)
	}
	dir, err := sys.Evidence(ctx, os.Getenv, report.FullText(), namespaces...)
	if err != nil {
		GinkgoWriter.Println("not all of the evidence could be had:", err)
	}
	AddReportEntry("evidence", dir)
}, NodeTimeout(time.Minute))
