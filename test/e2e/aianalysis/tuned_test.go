//go:build e2e

package aianalysis

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
	restored(ctx)
	configure(ctx, func(config map[string]any) {
		config["holmesgpt"] = map[string]any{
			"url": throughHAPI, "timeout": "20s", "retry": map[string]any{"max_attempts": maxCalls, "base": "100ms", "max": "2s"},
			"breaker": map[string]any{"failures": 1000, "open_for": "1s"},
		}
		config["datastorage"] = map[string]any{"url": throughStorage, "timeout": "3s"}
		config["controller"].(map[string]any)["leader_election_lease"] = "5s"
	})
	return t
}

// alone ends the election of a leader, which has a single controller that was killed wait for its own
// lease to run out, until the tuning ends.
func (t *tuned) alone(ctx context.Context) {
	GinkgoHelper()
	configure(ctx, func(config map[string]any) { config["controller"].(map[string]any)["leader_election"] = false })
}

const configMapName, configKey = "aianalysis-config", "config.yaml"

// restored has the controller's configuration put back when the node that called it is over.
func restored(ctx SpecContext) {
	GinkgoHelper()
	before := &corev1.ConfigMap{}
	Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: configMapName}, before)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		_, err := sys.ConfigMapKey(ctx, e2e.Namespace, configMapName, configKey, before.Data[configKey])
		Expect(err).NotTo(HaveOccurred())
		restart(ctx, e2e.Controller)
	}, NodeTimeout(specTime))
}

// configure changes the controller's configuration and restarts it.
func configure(ctx context.Context, change func(map[string]any)) {
	GinkgoHelper()
	cm := &corev1.ConfigMap{}
	Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: configMapName}, cm)).To(Succeed())
	var config map[string]any
	Expect(yaml.Unmarshal([]byte(cm.Data[configKey]), &config)).To(Succeed())
	change(config)
	text, err := yaml.Marshal(config)
	Expect(err).NotTo(HaveOccurred())
	_, err = sys.ConfigMapKey(ctx, e2e.Namespace, configMapName, configKey, string(text))
	Expect(err).NotTo(HaveOccurred())
	restart(ctx, e2e.Controller)
}

// restart restarts a service as kubectl rollout restart does, and waits until it is ready again.
func restart(ctx context.Context, name string) {
	GinkgoHelper()
	Expect(sys.Change(ctx, e2e.Namespace, name, func(d *appsv1.Deployment) {
		if d.Spec.Template.Annotations == nil {
			d.Spec.Template.Annotations = map[string]string{}
		}
		d.Spec.Template.Annotations["kubernaut.ai/restarted-at"] = time.Now().Format(time.RFC3339Nano)
	})).To(Succeed())
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
