//go:build e2e

package datastorage

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

	"kubernaut.ai/kubernaut/test/e2e"
	"kubernaut.ai/kubernaut/test/infrastructure"
)

const (
	specTime  = 6 * time.Minute // the longest that a specification may take
	setupTime = 45 * time.Minute
	repair    = 4 * time.Minute // the longest that everything may take to run again
)

// The system under test, and the cluster that it runs in. They are set once, before the first specification.
var (
	sys     *e2e.System
	cluster *infrastructure.Cluster
	hands   string // the namespace of the pods that send signals
)

func TestDataStorage(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	if suite.Timeout == time.Hour { // ginkgo's default
		suite.Timeout = 90 * time.Minute
	}
	RunSpecs(t, "Data Storage", suite, reporter)
}

var _ = SynchronizedBeforeSuite(func(ctx SpecContext) []byte {
	c, err := infrastructure.CreateDataStorageCluster(ctx, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred(), "the system under test")
	text, err := json.Marshal(c)
	Expect(err).NotTo(HaveOccurred())
	return text
}, func(ctx SpecContext, text []byte) {
	Expect(json.Unmarshal(text, &cluster)).To(Succeed())
	var err error
	sys, err = e2e.Connect(e2e.Target{
		Kubeconfig: cluster.Kubeconfig, DataStorage: cluster.URLs.DataStorage, WorkloadImage: cluster.WorkloadImage, Deployed: true,
	})
	Expect(err).NotTo(HaveOccurred())
	hands, err = sys.NewNamespace(ctx, "e2e-hands", nil)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx context.Context) {
		Expect(sys.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: hands}})).To(Succeed())
	})
}, NodeTimeout(setupTime))

// Whatever a specification left behind, the next one finds everything running.
var _ = BeforeEach(func(ctx SpecContext) { calm(ctx) }, NodeTimeout(repair))

// The evidence of a failure is written before anything is put back.
var _ = JustAfterEach(func(ctx SpecContext) {
	report := CurrentSpecReport()
	if !report.Failed() || sys == nil {
		return
	}
	dir, err := sys.Evidence(ctx, os.Getenv, report.FullText(), e2e.Namespace, hands)
	if err != nil {
		GinkgoWriter.Println("not all of the evidence could be had:", err)
	}
	AddReportEntry("evidence", dir)
}, NodeTimeout(time.Minute))
