package observe_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
)

func scenarios(t testing.TB) []*scenario.Scenario {
	t.Helper()
	all, err := scenario.Load(os.DirFS("../../test/scenarios"), "open")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The bundle of every scenario gives the verdict of the scenario, byte for byte.
func TestBundleReplays(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.Name, func(t *testing.T) {
			snap, err := s.Snapshot(scenario.Variant{})
			if err != nil {
				t.Fatal(err)
			}
			replay(t, snap, s.Input(), diagnose.Run(snap, s.Input()))
		})
	}
}

func TestBundleDigestIsOfTheBytes(t *testing.T) {
	object := func(name string) *diagnose.Object {
		o, err := diagnose.NewObject(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name}}, false)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	one := diagnose.NewSnapshot(diagnose.Contents{ObservedAt: at, Objects: []*diagnose.Object{object("a"), object("b")}})
	two := diagnose.NewSnapshot(diagnose.Contents{ObservedAt: at.In(time.FixedZone("x", 3600)), Objects: []*diagnose.Object{object("b"), object("a")}})
	other := diagnose.NewSnapshot(diagnose.Contents{ObservedAt: at, Objects: []*diagnose.Object{object("a")}})
	digest := func(s *diagnose.Snapshot) string {
		body, d, err := observe.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := observe.Digest(body); got != d {
			t.Errorf("Encode says %s, Digest %s", d, got)
		}
		return d
	}
	if digest(one) != digest(two) {
		t.Error("the order of collection or the time zone shows in the digest")
	}
	if digest(one) == digest(other) {
		t.Error("different snapshots have one digest")
	}
}

func TestDecodeRefuses(t *testing.T) {
	pack := func(text string) []byte {
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		if _, err := zw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, tt := range []struct {
		name string
		body []byte
	}{
		{"nothing", nil},
		{"not gzip", []byte("hello")},
		{"half a stream", pack(`{"format":"kubernaut.ai/bundle/v1"}`)[:20]},
		{"not JSON", pack("hello")},
		{"another format", pack(`{"format":"kubernaut.ai/bundle/v9","observedAt":"2026-11-20T12:00:00Z"}`)},
		{"an object without a name", pack(`{"format":"kubernaut.ai/bundle/v1","observedAt":"2026-11-20T12:00:00Z","objects":[{"object":{"kind":"Pod"}}]}`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := observe.Decode(tt.body)
			if got := incident.KindOf(err); got != incident.KindMalformed {
				t.Errorf("Decode gives %v of kind %q, want kind %q", err, got, incident.KindMalformed)
			}
		})
	}
}

// FuzzDecode feeds bundles that hold anything; whatever is accepted can be diagnosed and encoded again.
func FuzzDecode(f *testing.F) {
	// Seeds are small: the fuzzer spends its time on minimizing large ones.
	for _, objects := range []string{
		`{"object":{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"shop","name":"web"},"spec":{"replicas":2},"status":{"readyReplicas":1}}}`,
		`{"object":{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"web"},"spec":{"nodeName":"n","containers":[{"name":"c","resources":{"limits":{"memory":"1Gi"}}}]},` +
			`"status":{"phase":"Running","containerStatuses":[{"name":"c","restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}}}`,
		`{"object":{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"web"},"spec":{"nodeSelector":{"a":"b"},"tolerations":[{"operator":"Exists"}]},"status":{"phase":"Pending"}}},` +
			`{"object":{"apiVersion":"v1","kind":"Node","metadata":{"name":"n","labels":{"a":"c"}},"spec":{"unschedulable":true,"taints":[{"key":"k","effect":"NoSchedule"}]},"status":{"allocatable":{"cpu":"4"}}}}`,
		`{"object":{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"shop","name":"web"},"spec":{"selector":{"a":"b"},"ports":[{"port":80,"targetPort":"x"}]}}},` +
			`{"object":{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"namespace":"shop","name":"web"},"spec":{"storageClassName":"s"},"status":{"phase":"Pending"}}}`,
	} {
		f.Add([]byte(`{"format":"kubernaut.ai/bundle/v1","observedAt":"2026-11-20T12:00:00Z","reads":[{"apiVersion":"v1","kind":"Pod","found":1}],"objects":[` + objects + `]}`))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b bytes.Buffer
		zw, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		_, _ = zw.Write(raw)
		_ = zw.Close()
		snap, err := observe.Decode(b.Bytes())
		if err != nil {
			return
		}
		for _, kind := range []string{"Deployment", "Pod", "Service", "Node", "PersistentVolumeClaim", "Namespace", "Other"} {
			in := incident.Incident{Resource: incident.Ref{Kind: kind, Namespace: "shop", Name: "web"}}
			if err := diagnose.Verify(snap, diagnose.Run(snap, in).Evidence); err != nil {
				t.Error(err)
			}
		}
		if _, _, err := observe.Encode(snap); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	snap := largeSnapshot(b, 2000)
	for b.Loop() {
		body, _, err := observe.Encode(snap)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(body)), "bundle-bytes")
	}
}

// largeSnapshot is a namespace of n healthy Pods beside one scenario.
func largeSnapshot(b *testing.B, n int) *diagnose.Snapshot {
	b.Helper()
	for _, s := range scenarios(b) {
		if s.Name == "bad-rollout" {
			snap, err := s.Large(n)
			if err != nil {
				b.Fatal(err)
			}
			return snap
		}
	}
	b.Fatal("no scenario bad-rollout")
	return nil
}
