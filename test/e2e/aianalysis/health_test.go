//go:build e2e

package aianalysis

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"kubernaut.ai/kubernaut/test/e2e"
)

var _ = Describe("Health and readiness", func() {
	It("says that the controller lives, in plain text", func(ctx SpecContext) {
		a := ask(ctx, sys.Health+"/healthz", http.StatusOK)
		Expect(string(a.Body)).To(Equal("ok\n"))
		Expect(a.Header.Get("Content-Type")).To(HavePrefix("text/plain"))
	}, SpecTimeout(specTime))

	It("says what the controller's readiness depends on, one line each", func(ctx SpecContext) {
		Expect(string(ask(ctx, sys.Health+"/readyz", http.StatusOK).Body)).To(Equal("ok\n"))
		lines := strings.Split(strings.TrimSpace(string(ask(ctx, sys.Health+"/readyz?verbose", http.StatusOK).Body)), "\n")
		Expect(lines).To(ConsistOf("[+]cache ok", "[+]policy ok", "[+]holmesgpt-api ok", "[+]datastorage ok", "ok"))
	}, SpecTimeout(specTime))

	It("says what the investigation service offers, and only what it has", func(ctx SpecContext) {
		m := decoded(ask(ctx, sys.HAPI+"/health", http.StatusOK))
		Expect(m).To(HaveKeyWithValue("status", "healthy"))
		Expect(m).To(HaveKeyWithValue("service", e2e.HAPI))
		Expect(m["endpoints"]).To(ContainElements("/api/v1/incident/analyze", "/api/v1/recovery/analyze", "/health", "/ready"))
		Expect(m["endpoints"]).NotTo(ContainElement("/api/v1/postexec/analyze"), "an endpoint that is not served")
		Expect(m["features"]).To(And(HaveKeyWithValue("incident_analysis", true), HaveKeyWithValue("postexec_analysis", false)))
	}, SpecTimeout(specTime))

	It("says that everything the investigation service depends on is up", func(ctx SpecContext) {
		m := decoded(ask(ctx, sys.HAPI+"/ready", http.StatusOK))
		Expect(m).To(HaveKeyWithValue("status", "ready"))
		up := map[string]any{"status": "up"}
		Expect(m["dependencies"]).To(Equal(map[string]any{"kubernetes": up, "data_storage": up, "catalog": up}))
	}, SpecTimeout(specTime))

	It("shows the settings of the investigation service, and that it is no mock", func(ctx SpecContext) {
		a := ask(ctx, sys.HAPI+"/config", http.StatusOK)
		m := decoded(a)
		Expect(m).To(HaveKeyWithValue("mock_mode", false))
		Expect(m).To(HaveKey("settings"))
		Expect(strings.ToLower(string(a.Body))).NotTo(ContainSubstring("password"))
	}, SpecTimeout(specTime))

	DescribeTable("says that Data Storage works", func(ctx SpecContext, path, want string) {
		Expect(decoded(ask(ctx, sys.DataStorage+path, http.StatusOK))).To(HaveKeyWithValue("status", want))
	},
		Entry("with its database", "/health", "healthy", SpecTimeout(specTime)),
		Entry("for requests", "/health/ready", "ready", SpecTimeout(specTime)),
		Entry("as a process", "/health/live", "alive", SpecTimeout(specTime)),
	)

	DescribeTable("answers an unknown path with a problem document", func(ctx SpecContext, base func() string) {
		a := ask(ctx, base()+"/api/v1/postexec/analyze", http.StatusNotFound)
		Expect(a.Header.Get("Content-Type")).To(HavePrefix("application/problem+json"))
		m := decoded(a)
		Expect(m["type"]).To(HavePrefix("https://kubernaut.ai/problems/"))
		Expect(m).To(HaveKeyWithValue("status", float64(http.StatusNotFound)))
	},
		Entry("at the investigation service", func() string { return sys.HAPI }, SpecTimeout(specTime)),
		Entry("at Data Storage", func() string { return sys.DataStorage }, SpecTimeout(specTime)),
	)
})
