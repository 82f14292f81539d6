// Package deploy_test checks the manifests that ship, as they are rendered, against the code that
// they run: what would fail in a cluster minutes after it was applied fails here in a second.
package deploy_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"kubernaut.ai/kubernaut/internal/approval"
	"kubernaut.ai/kubernaut/internal/config"
)

// given are the Secrets that people make themselves, with the keys that they must hold.
var given = map[string][]string{"datastorage-secret": {"password", "secrets.yaml"}}

func TestEveryReferenceResolves(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, w := range s.workloads() {
			spec := w.template.Spec
			if _, ok := named[*corev1.ServiceAccount](s, w.namespace, spec.ServiceAccountName); !ok {
				s.t.Errorf("%s: ServiceAccount %q is not in the rendered set", w, spec.ServiceAccountName)
			}
			for _, v := range spec.Volumes {
				switch {
				case v.ConfigMap != nil:
					s.wantKeys(w, "ConfigMap", v.ConfigMap.Name, itemKeys(v.ConfigMap.Items)...)
				case v.Secret != nil:
					s.wantKeys(w, "Secret", v.Secret.SecretName, itemKeys(v.Secret.Items)...)
				case v.PersistentVolumeClaim != nil:
					if _, ok := named[*corev1.PersistentVolumeClaim](s, w.namespace, v.PersistentVolumeClaim.ClaimName); !ok {
						s.t.Errorf("%s: PersistentVolumeClaim %q is not in the rendered set", w, v.PersistentVolumeClaim.ClaimName)
					}
				}
			}
			for _, c := range spec.Containers {
				for _, m := range c.VolumeMounts {
					if _, _, _, ok := w.mountAt(c, m.MountPath); !ok {
						s.t.Errorf("%s: mount %s names volume %q, which the pod does not have", w, m.MountPath, m.Name)
					}
					if m.SubPath != "" {
						s.t.Errorf("%s: mount %s uses subPath: it would never see an update", w, m.MountPath)
					}
				}
				for _, e := range c.Env {
					if e.ValueFrom == nil {
						continue
					}
					if r := e.ValueFrom.SecretKeyRef; r != nil {
						s.wantKeys(w, "Secret", r.Name, r.Key)
					}
					if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
						s.wantKeys(w, "ConfigMap", r.Name, r.Key)
					}
				}
			}
		}
	})
}

func itemKeys(items []corev1.KeyToPath) []string {
	var keys []string
	for _, i := range items {
		keys = append(keys, i.Key)
	}
	return keys
}

// wantKeys fails when the named object is not there or lacks a key.
func (s *set) wantKeys(w workload, kind, name string, keys ...string) {
	s.t.Helper()
	has, ok := given[name], kind == "Secret"
	if cm, found := named[*corev1.ConfigMap](s, w.namespace, name); kind == "ConfigMap" && found {
		ok = true
		for k := range cm.Data {
			has = append(has, k)
		}
	}
	if !ok || len(has) == 0 {
		s.t.Errorf("%s: %s %q is neither in the rendered set nor documented as given", w, kind, name)
		return
	}
	for _, k := range keys {
		if !slices.Contains(has, k) {
			s.t.Errorf("%s: %s %q has no key %q, it has %v", w, kind, name, k, has)
		}
	}
}

func TestPodsAreRestricted(t *testing.T) {
	eachRendering(t, func(s *set) {
		ns, ok := named[*corev1.Namespace](s, "", "kubernaut-system")
		if !ok || ns.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
			s.t.Errorf("namespace kubernaut-system does not enforce the restricted profile: %v", ns)
		}
		for _, w := range s.workloads() {
			spec := w.template.Spec
			pod := spec.SecurityContext
			if pod == nil || !isTrue(pod.RunAsNonRoot) || pod.RunAsUser == nil || *pod.RunAsUser == 0 ||
				pod.SeccompProfile == nil || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				s.t.Errorf("%s: pod security context is not that of the restricted profile with a numeric user: %+v", w, pod)
			}
			if spec.HostNetwork || spec.HostPID || spec.HostIPC {
				s.t.Errorf("%s: shares a namespace of the host", w)
			}
			if grace := spec.TerminationGracePeriodSeconds; grace == nil || *grace < 30 {
				s.t.Errorf("%s: terminationGracePeriodSeconds is %v, want 30 at least", w, grace)
			}
			for _, v := range spec.Volumes {
				if v.HostPath != nil {
					s.t.Errorf("%s: volume %s is of the host", w, v.Name)
				}
			}
			for _, c := range spec.Containers {
				sc := c.SecurityContext
				if sc == nil || !isFalse(sc.AllowPrivilegeEscalation) || !isTrue(sc.ReadOnlyRootFilesystem) ||
					sc.Capabilities == nil || !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(sc.Capabilities.Add) > 0 {
					s.t.Errorf("%s: container %s is not restricted: %+v", w, c.Name, sc)
				}
				if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
					s.t.Errorf("%s: container %s lacks requests or a memory limit: %+v", w, c.Name, c.Resources)
				}
			}
		}
	})
}

func isTrue(b *bool) bool  { return b != nil && *b }
func isFalse(b *bool) bool { return b != nil && !*b }

func TestProbes(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, w := range s.workloads() {
			for _, c := range w.template.Spec.Containers {
				for name, p := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe, "startup": c.StartupProbe} {
					if p == nil {
						s.t.Errorf("%s: container %s has no %s probe", w, c.Name, name)
						continue
					}
					if p.HTTPGet != nil && !hasPort(c, p.HTTPGet.Port) {
						s.t.Errorf("%s: %s probe asks port %s, which container %s does not have", w, name, p.HTTPGet.Port.String(), c.Name)
					}
				}
			}
		}
	})
}

func hasPort(c corev1.Container, port intstr.IntOrString) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
		return port.Type == intstr.String && p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal
	})
}

func TestMemoryLimitOfTheRuntime(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, w := range s.ours() {
			c := w.template.Spec.Containers[0]
			text := strings.TrimSuffix(envOf(c)["GOMEMLIMIT"], "MiB")
			soft, err := strconv.ParseInt(text, 10, 64)
			hard := c.Resources.Limits.Memory().Value() >> 20
			if err != nil || soft >= hard || soft < hard*8/10 {
				s.t.Errorf("%s: GOMEMLIMIT is %sMiB with a limit of %dMi, want four fifths of it or more, and less than all", w, text, hard)
			}
		}
	})
}

func envOf(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	return env
}

func TestImagesAreThoseWeBuild(t *testing.T) {
	dockerfiles, err := filepath.Glob("../docker/*.Dockerfile")
	if err != nil || len(dockerfiles) != 3 {
		t.Fatalf("Dockerfiles: got %v, %v, want three", dockerfiles, err)
	}
	var want []string
	for _, f := range dockerfiles {
		service := strings.TrimSuffix(filepath.Base(f), ".Dockerfile")
		want = append(want, "localhost/kubernaut-"+service)
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{
			"FROM scratch\n", "USER 65532:65532\n",
			fmt.Sprintf("COPY bin/linux/%[1]s /usr/local/bin/%[1]s\n", service),
			fmt.Sprintf("ENTRYPOINT [\"/usr/local/bin/%s\"]\n", service),
		} {
			if !strings.Contains(string(text), line) {
				t.Errorf("%s: lacks %q", f, line)
			}
		}
	}
	eachRendering(t, func(s *set) {
		var got []string
		for _, w := range s.workloads() {
			for _, c := range w.template.Spec.Containers {
				name, tag, _ := strings.Cut(c.Image, ":")
				if tag == "" || tag == "latest" || c.ImagePullPolicy != corev1.PullIfNotPresent {
					s.t.Errorf("%s: image %q with pull policy %q, want a tag that is not latest, and IfNotPresent", w, c.Image, c.ImagePullPolicy)
				}
				if strings.HasPrefix(name, "localhost/") {
					got = append(got, name)
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			s.t.Errorf("images: got %v, want %v", got, want)
		}
	})
}

func TestServicesReachPods(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, svc := range of[*corev1.Service](s) {
			w, ok := s.selected(labels.SelectorFromSet(svc.Spec.Selector))
			if !ok {
				s.t.Errorf("Service %s selects %v, which no workload's pods carry", svc.Name, svc.Spec.Selector)
				continue
			}
			for _, p := range svc.Spec.Ports {
				if !hasPort(w.template.Spec.Containers[0], p.TargetPort) {
					s.t.Errorf("Service %s: target port %s is no port of %s", svc.Name, p.TargetPort.String(), w)
				}
			}
		}
	})
}

func (s *set) selected(sel labels.Selector) (workload, bool) {
	for _, w := range s.workloads() {
		if sel.Matches(labels.Set(w.template.Labels)) {
			return w, true
		}
	}
	return workload{}, false
}

func TestContractOfServices(t *testing.T) {
	want := map[string]map[string]int32{ // Service → port's name → port
		"aianalysis-controller": {"metrics": 9090, "health": 8081},
		"holmesgpt-api":         {"http": 8080},
		"datastorage":           {"http": 8080},
	}
	eachRendering(t, func(s *set) {
		for name, ports := range want {
			svc, ok := named[*corev1.Service](s, "kubernaut-system", name)
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
	t.Run("node ports", func(t *testing.T) {
		s := render(t, "overlays/e2e")
		got := map[string]int32{}
		for _, svc := range of[*corev1.Service](s) {
			for _, p := range svc.Spec.Ports {
				got[svc.Name+"/"+p.Name] = p.NodePort
			}
		}
		for key, want := range map[string]int32{
			"aianalysis-controller/metrics": 30184, "aianalysis-controller/health": 30284,
			"holmesgpt-api/http": 30088, "datastorage/http": 30081,
		} {
			if got[key] != want {
				t.Errorf("node port of %s: got %d, want %d", key, got[key], want)
			}
		}
	})
}

func TestBudgetsAndPoliciesSelectPods(t *testing.T) {
	eachRendering(t, func(s *set) {
		check := func(kind, name string, sel *metav1.LabelSelector) {
			selector, err := metav1.LabelSelectorAsSelector(sel)
			if err != nil {
				s.t.Errorf("%s %s: %v", kind, name, err)
				return
			}
			if _, ok := s.selected(selector); !ok {
				s.t.Errorf("%s %s selects %s, which no workload's pods carry", kind, name, selector)
			}
		}
		budgets := of[*policyv1.PodDisruptionBudget](s)
		for _, b := range budgets {
			check("PodDisruptionBudget", b.Name, b.Spec.Selector)
			if b.Spec.MaxUnavailable == nil {
				s.t.Errorf("PodDisruptionBudget %s does not say maxUnavailable: with one replica it would block a drain", b.Name)
			}
		}
		if len(budgets) != 3 {
			s.t.Errorf("got %d PodDisruptionBudgets, want 3", len(budgets))
		}
		denied := false
		for _, p := range of[*networkingv1.NetworkPolicy](s) {
			check("NetworkPolicy", p.Name, &p.Spec.PodSelector)
			denied = denied || len(p.Spec.PodSelector.MatchLabels) == 0 && len(p.Spec.PodSelector.MatchExpressions) == 0 &&
				len(p.Spec.PolicyTypes) == 2 && len(p.Spec.Ingress) == 0 && len(p.Spec.Egress) == 0
			for _, in := range p.Spec.Ingress {
				for _, port := range in.Ports {
					if w, ok := s.selected(mustSelector(s, &p.Spec.PodSelector)); ok && port.Port.Type == intstr.String && !hasPort(w.template.Spec.Containers[0], *port.Port) {
						s.t.Errorf("NetworkPolicy %s: port %s is no port of %s", p.Name, port.Port.String(), w)
					}
				}
			}
		}
		if !denied {
			s.t.Error("no NetworkPolicy denies by default, in both directions")
		}
	})
}

func mustSelector(s *set, sel *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(sel)
	if err != nil {
		s.t.Fatal(err)
	}
	return selector
}

// TestConfigurations loads every configuration file with the loader of the service that reads it,
// then follows what it names: files, directories, Services.
func TestConfigurations(t *testing.T) {
	eachRendering(t, func(s *set) {
		for _, w := range s.ours() {
			c := w.template.Spec.Containers[0]
			at := envOf(c)["CONFIG_PATH"]
			if !slices.Equal(c.Args, []string{"-config", "$(CONFIG_PATH)"}) {
				s.t.Errorf("%s: args are %q", w, c.Args)
			}
			volume, key, readOnly, ok := w.mountAt(c, at)
			if !ok || volume.ConfigMap == nil || !readOnly {
				s.t.Errorf("%s: CONFIG_PATH %q is not in a ConfigMap that is mounted read-only", w, at)
				continue
			}
			cm, _ := named[*corev1.ConfigMap](s, w.namespace, volume.ConfigMap.Name)
			file := filepath.Join(s.t.TempDir(), "config.yaml")
			document := s.withSecretsFile(cm.Data[key])
			if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
				s.t.Fatal(err)
			}
			env := func(name string) string { return envOf(c)[name] }
			switch w.name {
			case "aianalysis-controller":
				cfg, err := config.LoadAIAnalysis(file, env)
				s.clean(w, err, cfg.Warnings)
				s.wantPort(w, c, cfg.Controller.MetricsAddr)
				s.wantPort(w, c, cfg.Controller.HealthProbeAddr)
				s.wantService(w, cfg.HolmesGPT.URL)
				s.wantService(w, cfg.DataStorage.URL)
				s.wantWritable(w, c, cfg.Audit.Dir)
				s.wantPolicy(w, c, cfg.Rego.PolicyPath)
			case "holmesgpt-api":
				cfg, err := config.LoadHolmesGPTAPI(file, env)
				s.clean(w, err, cfg.Warnings)
				s.wantPort(w, c, ":"+strconv.Itoa(cfg.Server.Port))
				s.wantService(w, cfg.DataStorage.URL)
				s.wantWritable(w, c, cfg.Audit.Dir)
				s.wantWritable(w, c, cfg.State.Dir)
			case "datastorage":
				cfg, err := config.LoadDataStorage(file, env)
				s.clean(w, err, cfg.Warnings)
				s.wantPort(w, c, ":"+strconv.Itoa(cfg.Server.Port))
				if v, _, _, ok := w.mountAt(c, cfg.Catalog.Dir); !ok || v.ConfigMap == nil {
					s.t.Errorf("%s: catalog.dir %s is not a mounted ConfigMap", w, cfg.Catalog.Dir)
				}
				if cfg.Database.Driver == config.DriverSQLite {
					s.wantWritable(w, c, filepath.Dir(cfg.Database.Path))
				} else {
					s.wantService(w, fmt.Sprintf("http://%s:%d", cfg.Database.Host, cfg.Database.Port))
				}
			default:
				s.t.Errorf("%s runs one of our images and is not known here", w)
			}
		}
	})
}

// withSecretsFile puts a real file where the document names one of a given Secret.
func (s *set) withSecretsFile(document string) string {
	const inPod = "/etc/datastorage/secrets/secrets.yaml"
	file := filepath.Join(s.t.TempDir(), "secrets.yaml")
	if err := os.WriteFile(file, []byte("password: example\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return strings.ReplaceAll(document, inPod, file)
}

func (s *set) clean(w workload, err error, warnings []string) {
	s.t.Helper()
	if err != nil {
		s.t.Errorf("%s: %v", w, err)
	}
	if len(warnings) > 0 {
		s.t.Errorf("%s: the configuration that ships has warnings: %q", w, warnings)
	}
}

func (s *set) wantPort(w workload, c corev1.Container, addr string) {
	s.t.Helper()
	port, err := strconv.Atoi(addr[strings.LastIndex(addr, ":")+1:])
	if err != nil || !hasPort(c, intstr.FromInt(port)) {
		s.t.Errorf("%s: listens on %q, which is no port of container %s", w, addr, c.Name)
	}
}

func (s *set) wantService(w workload, at string) {
	s.t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		s.t.Errorf("%s: %v", w, err)
		return
	}
	svc, ok := named[*corev1.Service](s, w.namespace, u.Hostname())
	if !ok || !slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return strconv.Itoa(int(p.Port)) == u.Port() }) {
		s.t.Errorf("%s: calls %s, which no Service in its namespace offers", w, at)
	}
}

func (s *set) wantWritable(w workload, c corev1.Container, dir string) {
	s.t.Helper()
	v, _, readOnly, ok := w.mountAt(c, dir)
	if !ok || readOnly || v.ConfigMap != nil || v.Secret != nil {
		s.t.Errorf("%s: writes to %s, which is on no writable volume", w, dir)
	}
}

func (s *set) wantPolicy(w workload, c corev1.Container, at string) {
	s.t.Helper()
	v, key, _, ok := w.mountAt(c, at)
	if !ok || v.ConfigMap == nil {
		s.t.Errorf("%s: the policy %s is not in a mounted ConfigMap", w, at)
		return
	}
	cm, _ := named[*corev1.ConfigMap](s, w.namespace, v.ConfigMap.Name)
	file := filepath.Join(s.t.TempDir(), "approval.rego")
	if err := os.WriteFile(file, []byte(cm.Data[key]), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := approval.Check(file); err != nil {
		s.t.Errorf("ConfigMap %s: %v", cm.Name, err)
	}
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
	cm, ok := named[*corev1.ConfigMap](render(t, "base"), "kubernaut-system", "workflow-catalog")
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
