package aianalysis

import (
	"context"
	"log/slog"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/client/config"

	"kubernaut.ai/kubernaut/internal/approval"
)

// clusterConfig returns the configuration of the cluster to serve. The API server has limits of its
// own, by priority and fairness, so ours are off: they would only add waits that nobody sees.
func clusterConfig(kubeconfig string, given *rest.Config) (*rest.Config, error) {
	var c *rest.Config
	var err error
	switch {
	case given != nil:
		c = rest.CopyConfig(given)
	case kubeconfig != "":
		c, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	default:
		c, err = ctrlconfig.GetConfig()
	}
	if err != nil {
		return nil, err
	}
	c.QPS = -1
	c.UserAgent = "kubernaut-aianalysis"
	return c, nil
}

// policyEvents returns a function that tells the operators of a reload of the policy, by an event on
// the controller's pod. Outside a cluster, with no namespace, it does nothing: the log tells.
func policyEvents(ctx context.Context, c client.Client, namespace string, log *slog.Logger) func(approval.Status) {
	pod, err := os.Hostname()
	if namespace == "" || err != nil {
		return nil
	}
	return func(s approval.Status) {
		now := metav1.Now()
		e := &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{GenerateName: pod + ".", Namespace: namespace},
			InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: pod},
			Type:           corev1.EventTypeNormal, Reason: "ApprovalPolicyLoaded", Message: "Approval policy " + s.Hash + " is in force.",
			Source:         corev1.EventSource{Component: "aianalysis-controller"},
			FirstTimestamp: now, LastTimestamp: now, Count: 1,
		}
		if s.Err != nil {
			e.Type, e.Reason = corev1.EventTypeWarning, "ApprovalPolicyRefused"
			e.Message = "The approval policy was refused, so " + s.Hash + " stays in force: " + s.Err.Error()
			e.Message = e.Message[:min(len(e.Message), 1024)]
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := c.Create(ctx, e); err != nil {
			log.Warn("Kubernetes event not written", "event", e.Reason, "error", err)
		}
	}
}
