//go:build e2e

package aianalysis

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"kubernaut.ai/kubernaut/test/e2e"
)

const incidentPath, recoveryPath = "/api/v1/incident/analyze", "/api/v1/recovery/analyze"

// request is a body for the incident endpoint, as an older client sends it.
func request(namespace, signal, kind, name string) map[string]any {
	return map[string]any{
		"incident_id": "e2e-incident", "remediation_id": "e2e-" + uuid.NewString(), "signal_type": signal, "severity": "critical",
		"signal_source": "kubernaut", "resource_namespace": namespace, "resource_kind": kind, "resource_name": name,
		"error_message": "", "environment": "staging", "priority": "P1", "risk_tolerance": "medium", "business_category": "standard",
		"cluster_name": "default",
	}
}

// post sends a request to the investigation service.
func post(ctx context.Context, path string, body any, header http.Header) e2e.Answer {
	GinkgoHelper()
	a, err := sys.Send(ctx, http.MethodPost, sys.HAPI+path, body, header)
	Expect(err).NotTo(HaveOccurred())
	return a
}

var _ = Describe("The investigation API", func() {
	var namespace string
	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		overQuota(ctx, namespace)
	})

	It("answers a client of the contract that sends nothing new", func(ctx SpecContext) {
		a := post(ctx, incidentPath, request(namespace, "QuotaExceeded", "Deployment", "shop"), nil)
		Expect(a.Status).To(Equal(http.StatusOK), a.String())
		m := decoded(a)
		Expect(m).To(HaveKeyWithValue("incident_id", "e2e-incident"))
		Expect(m).To(HaveKeyWithValue("needs_human_review", false))
		Expect(m).To(HaveKeyWithValue("target_in_owner_chain", true))
		Expect(m["confidence"]).To(And(BeNumerically(">=", 0.7), BeNumerically("<=", 1)))
		Expect(m["timestamp"]).To(MatchRegexp(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`))
		w := m["selected_workflow"].(map[string]any)
		Expect(w["container_image"]).To(Equal(w["containerImage"]), "both spellings of the image")
		Expect(w["container_image"]).NotTo(BeEmpty())
		rca := m["root_cause_analysis"].(map[string]any)
		Expect(rca["severity"]).To(BeElementOf("critical", "high", "medium", "low"))
	}, SpecTimeout(specTime))

	It("investigates once for one idempotency key", func(ctx SpecContext) {
		body := request(namespace, "QuotaExceeded", "Deployment", "shop")
		key := http.Header{"Idempotency-Key": {uuid.NewString() + "/1/1"}}
		first := post(ctx, incidentPath, body, key)
		again := post(ctx, incidentPath, body, key)
		Expect(first.Status).To(Equal(http.StatusOK), first.String())
		Expect(first.Header.Get("Idempotency-Replayed")).To(BeEmpty())
		Expect(again.Header.Get("Idempotency-Replayed")).To(Equal("true"))
		Expect(again.Body).To(Equal(first.Body), "the same answer, byte for byte")

		body["signal_type"] = "OOMKilled"
		other := post(ctx, incidentPath, body, key)
		Expect(other.Status).To(Equal(http.StatusUnprocessableEntity), "another request under the same key: %s", other)
	}, SpecTimeout(specTime))

	It("gives everyone who asks at once under one key the one answer", func(ctx SpecContext) {
		body := request(namespace, "QuotaExceeded", "Deployment", "shop")
		key := http.Header{"Idempotency-Key": {uuid.NewString() + "/1/1"}}
		const many = 8
		answers := make(chan e2e.Answer, many)
		for range many {
			go func() {
				defer GinkgoRecover()
				answers <- post(ctx, incidentPath, body, key)
			}()
		}
		fresh := 0
		first := <-answers
		for i := range many {
			a := first
			if i > 0 {
				a = <-answers
			}
			Expect(a.Status).To(Equal(http.StatusOK), a.String())
			Expect(a.Body).To(Equal(first.Body))
			if a.Header.Get("Idempotency-Replayed") == "" {
				fresh++
			}
		}
		Expect(fresh).To(Equal(1), "investigations")
		Expect(e2e.Until(ctx, "one investigation on the trail", func(ctx context.Context) string {
			trail, err := sys.Trail(ctx, body["remediation_id"].(string))
			if err != nil {
				return err.Error()
			}
			if n := len(trail.Of("investigation.completed")); n != 1 {
				return "there are none yet"
			}
			return ""
		})).To(Succeed())
	}, SpecTimeout(specTime))

	DescribeTable("refuses a bad request with 400, names the field, and repeats no value", func(ctx SpecContext, path string, change func(map[string]any), field string) {
		const value = "s3cr3t-that-nobody-shall-see"
		body := request(namespace, "QuotaExceeded", "Deployment", value)
		change(body)
		a := post(ctx, path, body, nil)
		Expect(a.Status).To(Equal(http.StatusBadRequest), a.String())
		Expect(a.Header.Get("Content-Type")).To(HavePrefix("application/problem+json"))
		Expect(a.Header.Get("X-Request-Id")).NotTo(BeEmpty())
		m := decoded(a)
		Expect(m).To(HaveKeyWithValue("type", "https://kubernaut.ai/problems/validation-error"))
		Expect(m).To(HaveKeyWithValue("instance", path))
		Expect(string(a.Body)).To(ContainSubstring(field))
		Expect(string(a.Body)).NotTo(ContainSubstring(value))
	},
		Entry("no remediation id", incidentPath, func(m map[string]any) { m["remediation_id"] = "" }, "remediation_id", SpecTimeout(specTime)),
		Entry("no signal type at all", incidentPath, func(m map[string]any) { delete(m, "signal_type") }, "signal_type", SpecTimeout(specTime)),
		Entry("a number for a name", incidentPath, func(m map[string]any) { m["resource_name"] = 7 }, "resource_name", SpecTimeout(specTime)),
		Entry("a recovery attempt below one", recoveryPath, func(m map[string]any) { m["recovery_attempt_number"] = 0 }, "recovery_attempt_number", SpecTimeout(specTime)),
	)
})
