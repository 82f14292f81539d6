//go:build e2e

package aianalysis

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
	"kubernaut.ai/kubernaut/test/e2e/faultproxy"
)

// tuned is the shipped controller as it is when it reaches the services through the fault proxy, and
// gives up within seconds.
type tuned struct {
	*faultproxy.Client
}

// maxCalls is how often the tuned controller calls for one investigation.
const maxCalls = 3

// tune puts the fault proxy between the controller and the services until the container of
// specifications ends.
func tune(ctx SpecContext) tuned {
	GinkgoHelper()
	t := tuned{proxyClient(ctx)}
	standIn(ctx, mockName)
	configure(ctx, func(config map[string]any) {
		config["holmesgpt"] = map[string]any{
			"url": throughHAPI, "timeout": "20s", "retry": map[string]any{"max_attempts": maxCalls, "base": "100ms", "max": "2s"},
			"breaker": map[string]any{"failures": 1000, "open_for": "1s"},
		}
		config["datastorage"] = map[string]any{"url": throughStorage, "timeout": "3s"}
	})
	return t
}

// configure changes the controller's configuration, restarts it, and puts both back when the node that
// called it is over.
func configure(ctx SpecContext, change func(map[string]any)) {
	GinkgoHelper()
	const name, key = "aianalysis-config", "config.yaml"
	before, err := sys.ConfigMapKey(ctx, e2e.Namespace, name, key, "")
	Expect(err).NotTo(HaveOccurred())
	apply := func(ctx context.Context, text string) {
		GinkgoHelper()
		_, err := sys.ConfigMapKey(ctx, e2e.Namespace, name, key, text)
		Expect(err).NotTo(HaveOccurred())
		restart(ctx, e2e.Controller)
	}
	DeferCleanup(func(ctx SpecContext) { apply(ctx, before) }, NodeTimeout(specTime))
	var config map[string]any
	Expect(yaml.Unmarshal([]byte(before), &config)).To(Succeed())
	change(config)
	text, err := yaml.Marshal(config)
	Expect(err).NotTo(HaveOccurred())
	apply(ctx, string(text))
}

// restart restarts a service as kubectl rollout restart does, and waits until it works again: for the
// controller, until the new pod leads.
func restart(ctx context.Context, name string) {
	GinkgoHelper()
	Expect(sys.Change(ctx, e2e.Namespace, name, func(d *appsv1.Deployment) {
		if d.Spec.Template.Annotations == nil {
			d.Spec.Template.Annotations = map[string]string{}
		}
		d.Spec.Template.Annotations["kubernaut.ai/restarted-at"] = time.Now().Format(time.RFC3339Nano)
	})).To(Succeed())
	if name == e2e.Controller {
		_, err := sys.AwaitLeader(ctx, anyPod)
		Expect(err).NotTo(HaveOccurred())
	}
}

// rule puts a rule in force for what concerns one analysis, until the specification ends.
func (t tuned) rule(ctx context.Context, a *v1alpha1.AIAnalysis, r faultproxy.Rule) {
	GinkgoHelper()
	r.Route, r.Contains = "hapi", a.Spec.RemediationID
	t.put(ctx, r)
}

// put puts a rule in force until the specification ends.
func (t tuned) put(ctx context.Context, r faultproxy.Rule) {
	GinkgoHelper()
	Expect(t.Put(ctx, r)).To(Succeed())
	DeferCleanup(func(ctx context.Context) {
		if err := t.Delete(ctx, r.ID); err != nil && !strings.Contains(err.Error(), "404") {
			Expect(err).NotTo(HaveOccurred())
		}
	})
}

// calls returns the calls for the investigation of an analysis.
func (t tuned) calls(ctx context.Context, a *v1alpha1.AIAnalysis) []faultproxy.Request {
	GinkgoHelper()
	calls, err := t.Requests(ctx, faultproxy.Query{Route: "hapi", Contains: a.Spec.RemediationID})
	Expect(err).NotTo(HaveOccurred())
	return calls
}

// investigations counts those that the investigation service really made for an analysis.
func investigations(ctx context.Context, a *v1alpha1.AIAnalysis, want int) {
	GinkgoHelper()
	Expect(e2e.Until(ctx, "investigations on the trail", func(ctx context.Context) string {
		if n := len(trailOf(ctx, a).Of("investigation.completed")); n < want {
			return "there are too few yet"
		}
		return ""
	})).To(Succeed())
	Expect(trailOf(ctx, a).Of("investigation.completed")).To(HaveLen(want), "investigations that were made")
}
