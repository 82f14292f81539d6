package diagnose_test

import (
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
)

func TestVerifyRefusesWhatDoesNotHold(t *testing.T) {
	snap := snapshot(t, find(t, "secret-missing"), scenario.Variant{})
	pod := incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web-7c9d5f-p0"}
	value := func(e incident.Evidence, v string) incident.Evidence {
		e.Value, e.SHA256 = v, incident.HashValue(v)
		return e
	}
	phase := incident.Evidence{ID: "e1", Kind: incident.EvidenceObject, Ref: pod, Path: "/status/phase"}
	for _, tt := range []struct {
		name string
		e    incident.Evidence
		want string // "" holds
	}{
		{"a value that is there", value(phase, "Pending"), ""},
		{"another value", value(phase, "Running"), `value is "Pending"`},
		{"a wrong hash", func() incident.Evidence { e := value(phase, "Pending"); e.SHA256 = incident.HashValue("x"); return e }(), "sha256"},
		{"a newer version", func() incident.Evidence { e := value(phase, "Pending"); e.ResourceVersion = "9"; return e }(), "resource version"},
		{"a path that selects nothing", func() incident.Evidence { e := value(phase, ""); e.Path = "/status/nowhere"; return e }(), "selects nothing"},
		{"an absence that is one", func() incident.Evidence {
			e := value(phase, "")
			e.Path, e.Absent = "/spec/nodeSelector", true
			return e
		}(), ""},
		{"an absence that is none", func() incident.Evidence { e := value(phase, ""); e.Absent = true; return e }(), "it is there"},
		{"an object that is not there", value(incident.Evidence{Kind: incident.EvidenceObject, Ref: incident.Ref{Kind: "Secret", Namespace: "shop", Name: "web-database"}, Absent: true}, ""), ""},
		{"an object that nobody asked for", value(incident.Evidence{Kind: incident.EvidenceObject, Ref: incident.Ref{APIVersion: "x/v1", Kind: "Widget", Namespace: "shop", Name: "w"}, Absent: true}, ""), "asked for"},
		{"an object of another UID", func() incident.Evidence { e := value(phase, "Pending"); e.Ref.UID = "other"; return e }(), "does not hold it"},
		{"a log that is not there", value(incident.Evidence{Kind: incident.EvidenceLog, Ref: pod, Path: "server/current/0"}, "x"), "does not hold that line"},
		{"a log without a line", value(incident.Evidence{Kind: incident.EvidenceLog, Ref: pod, Path: "server"}, "x"), "path"},
		{"a metric that was not measured", value(incident.Evidence{Kind: incident.EvidenceMetric}, "1"), "does not hold it"},
		{"a pointer with a leading zero", func() incident.Evidence {
			e := value(phase, "server")
			e.Path = "/spec/containers/00/name"
			return e
		}(), "selects nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := diagnose.Verify(snap, []incident.Evidence{tt.e})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Verify gives %v, want %q", err, tt.want)
			}
		})
	}
}

func find(t testing.TB, name string) *scenario.Scenario {
	t.Helper()
	for _, s := range load(t) {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no scenario %s", name)
	return nil
}

func TestTargetInOwnerChain(t *testing.T) {
	ref := func(kind, name string) incident.Ref {
		r := incident.Ref{Kind: kind, Namespace: "shop", Name: name}
		if kind == "Node" || kind == "StorageClass" {
			r.Namespace = ""
		}
		return r
	}
	for _, tt := range []struct {
		scenario         string
		resource, target incident.Ref
		want             bool
	}{
		{"bad-rollout", ref("Deployment", "web"), ref("Deployment", "web"), true},
		{"bad-rollout", ref("Pod", "web-7c9d5f-p0"), ref("Deployment", "web"), true},
		{"bad-rollout", ref("Deployment", "web"), ref("Pod", "web-7c9d5f-p0"), true},
		{"bad-rollout", ref("Pod", "web-7c9d5f-p0"), ref("Pod", "web-7c9d5f-p1"), true},
		{"bad-rollout", ref("Pod", "web-7c9d5f-p0"), ref("Service", "web"), true},
		{"bad-rollout", ref("Service", "web"), ref("Deployment", "web"), true},
		{"bad-rollout", ref("Deployment", "web"), ref("Node", "node-a"), true},
		{"bad-rollout", ref("Deployment", "web"), ref("Node", "node-z"), false},
		{"bad-rollout", ref("Deployment", "web"), ref("Deployment", "other"), false},
		{"bad-rollout", ref("Deployment", "web"), incident.Ref{Kind: "Deployment", Namespace: "elsewhere", Name: "web"}, false},
		{"bad-rollout-red-herrings", ref("Deployment", "web"), ref("Service", "forgotten"), false},
		{"bad-rollout-red-herrings", ref("Deployment", "web"), ref("ResourceQuota", "team-quota"), true},
		{"configmap-missing", ref("Deployment", "web"), ref("ConfigMap", "web-settings"), true},
		{"storageclass-missing", ref("Deployment", "web"), ref("StorageClass", "fast-ssd"), true},
		{"storageclass-missing", ref("PersistentVolumeClaim", "web-data"), ref("Deployment", "web"), true},
		{"service-selector-mismatch", ref("Deployment", "web"), ref("Service", "web"), true},
		{"healthy-pod-gone", ref("Pod", "web-7c9d5f-zz9zz"), ref("Deployment", "web"), false},
	} {
		snap := snapshot(t, find(t, tt.scenario), scenario.Variant{})
		if got := diagnose.TargetInOwnerChain(snap, tt.resource, tt.target); got != tt.want {
			t.Errorf("%s: TargetInOwnerChain(%s, %s) = %v, want %v", tt.scenario, tt.resource, tt.target, got, tt.want)
		}
	}
}
