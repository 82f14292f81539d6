package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"

	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
)

func TestPodsAreGoodNeighbours(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, w := range s.Workloads() {
			if grace := w.Template.Spec.TerminationGracePeriodSeconds; grace == nil || *grace < 30 {
				s.t.Errorf("%s: terminationGracePeriodSeconds is %v, want 30 at least", w, grace)
			}
			for _, c := range w.Template.Spec.Containers {
				if sc := c.SecurityContext; sc == nil || !isTrue(sc.ReadOnlyRootFilesystem) || sc.Capabilities == nil || len(sc.Capabilities.Add) > 0 {
					s.t.Errorf("%s: container %s may do more than it needs: %+v", w, c.Name, sc)
				}
				if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
					s.t.Errorf("%s: container %s lacks requests or a memory limit: %+v", w, c.Name, c.Resources)
				}
				for name, p := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe, "startup": c.StartupProbe} {
					if p == nil {
						s.t.Errorf("%s: container %s has no %s probe", w, c.Name, name)
					}
				}
			}
		}
	})
}

func isTrue(b *bool) bool  { return b != nil && *b }
func isFalse(b *bool) bool { return b != nil && !*b }

func TestMemoryLimitOfTheRuntime(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, w := range s.ours() {
			c := w.Template.Spec.Containers[0]
			text := ""
			for _, e := range c.Env {
				if e.Name == "GOMEMLIMIT" {
					text = strings.TrimSuffix(e.Value, "MiB")
				}
			}
			soft, err := strconv.ParseInt(text, 10, 64)
			hard := c.Resources.Limits.Memory().Value() >> 20
			if err != nil || soft >= hard || soft < hard*8/10 {
				s.t.Errorf("%s: GOMEMLIMIT is %sMiB with a limit of %dMi, want four fifths of it or more, and less than all", w, text, hard)
			}
		}
	})
}

// What a service writes outlives its pod: the audit trail's promise stands on that.
func TestVolumesOutlivePods(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, w := range s.ours() {
			for _, v := range w.Template.Spec.Volumes {
				if v.EmptyDir != nil {
					s.t.Errorf("%s: volume %s goes with the pod", w, v.Name)
				}
			}
		}
	})
}

// A volume of one node does not come to a pod that surges to another, and the old pod would wait for
// the new one.
func TestRolloutsGetTheirVolumes(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, d := range manifest.Of[*appsv1.Deployment](s.Set) {
			claims := slices.ContainsFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.PersistentVolumeClaim != nil })
			if !claims || d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
				continue
			}
			if r := d.Spec.Strategy.RollingUpdate; r == nil || r.MaxSurge == nil || r.MaxSurge.String() != "0" {
				s.t.Errorf("Deployment %s has a claim and surges: %+v", d.Name, r)
			}
		}
	})
}

func TestImagesAreSmallAndUnprivileged(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, w := range s.ours() {
			name, _, _ := strings.Cut(filepath.Base(w.Template.Spec.Containers[0].Image), ":")
			service := strings.TrimPrefix(name, "kubernaut-")
			file := filepath.Join("..", "docker", service+".Dockerfile")
			text, err := os.ReadFile(file)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, line := range []string{
				"FROM scratch\n", "USER 65532:65532\n",
				fmt.Sprintf("COPY bin/linux/%[1]s /usr/local/bin/%[1]s\n", service),
			} {
				if !strings.Contains(string(text), line) {
					s.t.Errorf("%s: lacks %q", file, line)
				}
			}
		}
	})
}

func TestContractOfServices(t *testing.T) {
	want := map[string]map[string]int32{ // Service → port's name → port
		"aianalysis-controller": {"metrics": 9090, "health": 8081},
		"holmesgpt-api":         {"http": 8080},
		"datastorage":           {"http": 8080},
	}
	eachRendering(t, func(s *set) {
		for name, ports := range want {
			svc, ok := manifest.Named[*corev1.Service](s.Set, "kubernaut-system", name)
			if !ok {
				s.t.Errorf("Service %s is missing", name)
				continue
			}
			for _, p := range svc.Spec.Ports {
				if ports[p.Name] != p.Port {
					s.t.Errorf("Service %s: port %s is %d, want %d", name, p.Name, p.Port, ports[p.Name])
				}
			}
			if len(svc.Spec.Ports) != len(ports) {
				s.t.Errorf("Service %s: got ports %v, want %v", name, svc.Spec.Ports, ports)
			}
		}
	})
	for dir, want := range nodePorts {
		t.Run("node ports of "+dir, func(t *testing.T) {
			got := map[string]int32{}
			for _, svc := range manifest.Of[*corev1.Service](render(t, dir).Set) {
				for _, p := range svc.Spec.Ports {
					got[svc.Name+"/"+p.Name] = p.NodePort
				}
			}
			for key, port := range want {
				if got[key] != port {
					t.Errorf("node port of %s: got %d, want %d", key, got[key], port)
				}
			}
		})
	}
}

func TestNothingBlocksADrain(t *testing.T) {
	eachRendering(t, func(s *set) {
		budgets := manifest.Of[*policyv1.PodDisruptionBudget](s.Set)
		for _, b := range budgets {
			if b.Spec.MaxUnavailable == nil {
				s.t.Errorf("PodDisruptionBudget %s does not say maxUnavailable: with one replica it would block a drain", b.Name)
			}
		}
		if len(budgets) != 3 {
			s.t.Errorf("got %d PodDisruptionBudgets, want 3", len(budgets))
		}
	})
}

func TestNothingIsReachableByDefault(t *testing.T) {
	eachRendering(t, func(s *set) {
		denies := func(p *networkingv1.NetworkPolicy) bool {
			return len(p.Spec.PodSelector.MatchLabels) == 0 && len(p.Spec.PodSelector.MatchExpressions) == 0 &&
				len(p.Spec.PolicyTypes) == 2 && len(p.Spec.Ingress) == 0 && len(p.Spec.Egress) == 0
		}
		if !slices.ContainsFunc(manifest.Of[*networkingv1.NetworkPolicy](s.Set), denies) {
			s.t.Error("no NetworkPolicy denies by default, in both directions")
		}
	})
}

func TestCatalogIsComplete(t *testing.T) {
	files, err := filepath.Glob("catalog/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range files {
		if name := filepath.Base(f); name != "kustomization.yaml" {
			want = append(want, name)
		}
	}
	if len(want) == 0 {
		t.Fatal("there are no workflows in deploy/catalog")
	}
	cm, ok := manifest.Named[*corev1.ConfigMap](render(t, "base").Set, "kubernaut-system", "workflow-catalog")
	if !ok {
		t.Fatal("ConfigMap workflow-catalog is missing")
	}
	for _, name := range want {
		if cm.Data[name] == "" {
			t.Errorf("%s is not in ConfigMap workflow-catalog: list it in deploy/catalog/kustomization.yaml", name)
		}
	}
	if len(cm.Data) != len(want) {
		t.Errorf("ConfigMap workflow-catalog has %d files, deploy/catalog has %d", len(cm.Data), len(want))
	}
}
