package recorded_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe/recorded"
)

func scenarios(t testing.TB) []*scenario.Scenario {
	t.Helper()
	all, err := scenario.Load(os.DirFS("../../../test/scenarios"), "open")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readText(t testing.TB, text string) *recorded.Recording {
	t.Helper()
	rec, err := recorded.ReadText(strings.NewReader(text), "ticket.txt", recorded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// notInText are scenarios whose evidence kubectl's tables and descriptions do not print.
var notInText = map[string]string{
	"node-affinity-mismatch":                 "kubectl describe prints no affinity",
	"anti-affinity-deadlock":                 "kubectl describe prints no affinity",
	"node-cordoned-anti-affinity":            "kubectl describe prints no affinity",
	"insufficient-resources-standing-cordon": "kubectl describe prints no time of a cordon",
	"pv-mismatch":                            "kubectl describe prints no claim request",
	"pv-mismatch-access-mode":                "kubectl describe prints no modes of a claim that is not bound",
	"pv-mismatch-mode-refused":               "kubectl describe prints no modes of a claim that is not bound",
	"pv-mismatch-released":                   "kubectl describe prints no claim request",
	"port-conflict-host":                     "kubectl describe prints no hostNetwork",
	"dns-policy":                             "kubectl describe prints no DNS policy",
	"dns-policy-host-network":                "kubectl describe prints no DNS policy",
	"secret-stale":                           "kubectl get secrets prints no managers",
	"secret-stale-ready":                     "kubectl get secrets prints no managers",
}

// The same incident gives the same cause whether it is read from objects, from YAML or from what kubectl prints, where
// that carries the evidence. New rules come with evidence of their own: what each form must reach is a share.
func TestScenariosAsText(t *testing.T) {
	for form, share := range map[string]float64{"yaml": 0.95, "text": 0.85} {
		t.Run(form, func(t *testing.T) {
			all, same := 0, 0
			for _, s := range scenarios(t) {
				snap, err := s.Snapshot(scenario.Variant{})
				if err != nil {
					t.Fatal(err)
				}
				want := diagnose.Run(snap, s.Input())
				rec := readText(t, strings.Join(render(snap, form == "yaml"), "\n"))
				got := diagnose.Run(rec.Snapshot, s.Input())
				if err := diagnose.Verify(rec.Snapshot, got.Evidence); err != nil {
					t.Errorf("%s: evidence does not verify: %v", s.Name, err)
				}
				if notInText[s.Name] != "" {
					continue
				}
				all++
				if diff := sameOutcome(want, got); diff != "" {
					t.Logf("%s: %s: %s", s.Name, diff, got.Summary)
					continue
				}
				same++
			}
			if float64(same) < share*float64(all) {
				t.Errorf("%d of %d scenarios have the same outcome, want %.0f %%", same, all, 100*share)
			}
		})
	}
}

// With tables and events alone there is less to go by, and nothing that is not there may be concluded from that.
func TestTablesAloneDoNotMislead(t *testing.T) {
	all, misled := 0, 0
	for _, s := range scenarios(t) {
		snap, err := s.Snapshot(scenario.Variant{})
		if err != nil {
			t.Fatal(err)
		}
		want := diagnose.Run(snap, s.Input())
		var sections []string
		for _, section := range render(snap, false) {
			if !strings.HasPrefix(section, "$ kubectl describe") {
				sections = append(sections, section)
			}
		}
		rec := readText(t, strings.Join(sections, "\n"))
		got := diagnose.Run(rec.Snapshot, s.Input())
		if err := diagnose.Verify(rec.Snapshot, got.Evidence); err != nil {
			t.Errorf("%s: evidence does not verify: %v", s.Name, err)
		}
		all++
		switch diff := sameOutcome(want, got); {
		case diff != "" && got.Verdict == diagnose.VerdictCause && (want.Cause == nil || got.Cause.Class != want.Cause.Class):
			misled++
			t.Logf("%s: %s: %s", s.Name, diff, got.Summary)
		case diff != "" && got.Verdict == diagnose.VerdictHealthy:
			misled++
			t.Logf("%s: %s, which is: %s", s.Name, diff, want.Summary)
		}
	}
	if misled*20 > all {
		t.Errorf("%d of %d scenarios read as something else", misled, all)
	}
}

func sameOutcome(want, got diagnose.Result) string {
	if want.Verdict != got.Verdict {
		return fmt.Sprintf("verdict = %s, want %s", got.Verdict, want.Verdict)
	}
	if want.Cause != nil && (want.Cause.Class != got.Cause.Class || want.Cause.Target.String() != got.Cause.Target.String()) {
		return fmt.Sprintf("cause = %s of %s, want %s of %s", got.Cause.Class, got.Cause.Target, want.Cause.Class, want.Cause.Target)
	}
	return ""
}

func dump(v any) string {
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

// The order of sections and files does not show in the outcome.
func TestOrderDoesNotShow(t *testing.T) {
	for i, s := range scenarios(t) {
		if i%4 != 0 {
			continue
		}
		snap, err := s.Snapshot(scenario.Variant{})
		if err != nil {
			t.Fatal(err)
		}
		sections := render(snap, false)
		one := dump(diagnose.Run(readText(t, strings.Join(sections, "\n")).Snapshot, s.Input()))
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		for range 2 {
			rng.Shuffle(len(sections), func(i, j int) { sections[i], sections[j] = sections[j], sections[i] })
			if two := dump(diagnose.Run(readText(t, strings.Join(sections, "\n")).Snapshot, s.Input())); two != one {
				t.Errorf("%s: the order of sections shows:\n%s\n%s", s.Name, one, two)
			}
		}
		files := fstest.MapFS{}
		for j, text := range sections {
			files[fmt.Sprintf("%02d.txt", j)] = &fstest.MapFile{Data: []byte(text)}
		}
		rec, err := recorded.ReadDir(files, recorded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if two := dump(diagnose.Run(rec.Snapshot, s.Input())); two != one {
			t.Errorf("%s: files give another outcome than one text", s.Name)
		}
	}
}

// Seeded secrets do not survive.
func TestSecretsAreRedacted(t *testing.T) {
	text := `$ kubectl describe pod web-1 -n shop
Name:             web-1
Namespace:        shop
Service Account:  default
Node:             node-a/10.0.0.9
Status:           Running
Containers:
  server:
    Image:  nginx
    Environment:
      DB_PASSWORD:  correct-horse-battery

$ kubectl logs web-1 -c server -n shop
connecting with password=correct-horse-battery
$ kubectl get secret db -n shop -o yaml
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
data: {password: Y29ycmVjdC1ob3JzZQ==}
`
	rec := readText(t, text)
	all := fmt.Sprint(rec.Snapshot.Contents().Logs)
	for _, o := range rec.Snapshot.Contents().Objects {
		all += dump(o.Tree())
	}
	for _, secret := range []string{"correct-horse-battery", "Y29ycmVjdC1ob3JzZQ=="} {
		if strings.Contains(all, secret) {
			t.Errorf("%q was kept", secret)
		}
	}
	if rec.Snapshot.Contents().Redactions == 0 {
		t.Error("no redaction is reported")
	}
	if _, ok := rec.SourceOf(incident.Ref{Kind: "Pod", Namespace: "shop", Name: "web-1"}, "/status/phase"); !ok {
		t.Error("a value has no source")
	}
}

// Damaged text is read as far as it goes, never crashes, and yields no evidence that does not hold.
func TestDamagedText(t *testing.T) {
	all := scenarios(t)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 300 {
		s := all[rng.IntN(len(all))]
		snap, err := s.Snapshot(scenario.Variant{})
		if err != nil {
			t.Fatal(err)
		}
		text := []byte(strings.Join(render(snap, i%3 == 0), "\n"))
		for range 1 + rng.IntN(30) {
			at := rng.IntN(len(text))
			switch to := min(len(text), at+rng.IntN(200)); rng.IntN(5) {
			case 0:
				text = append(text[:at:at], text[to:]...)
			case 1:
				text = append(text[:at:at], append([]byte(string(text[at:to])), text[at:]...)...)
			case 2:
				text[at] = byte(rng.IntN(256))
			case 3:
				text[at] = " \n\t:/-(){}[]\"'|,="[rng.IntN(17)]
			case 4:
				text = append(text[:at:at], append([]byte("\n"), text[at:]...)...)
			}
		}
		rec := readText(t, string(text))
		if err := diagnose.Verify(rec.Snapshot, diagnose.Run(rec.Snapshot, s.Input()).Evidence); err != nil {
			t.Errorf("%s, damaged: evidence does not verify: %v", s.Name, err)
		}
	}
}

func FuzzReadText(f *testing.F) {
	for i, s := range scenarios(f) {
		if i%10 == 0 {
			if snap, err := s.Snapshot(scenario.Variant{}); err == nil {
				f.Add(strings.Join(render(snap, i%20 == 0), "\n"))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		rec := readText(t, text)
		for _, inc := range []incident.Incident{{Resource: incident.Ref{Kind: "Namespace", Name: "shop"}}, {Resource: incident.Ref{Kind: "Pod", Namespace: "shop", Name: "a"}}} {
			r := diagnose.Run(rec.Snapshot, inc)
			if err := diagnose.Verify(rec.Snapshot, r.Evidence); err != nil {
				t.Errorf("evidence does not verify: %v", err)
			}
		}
	})
}

func BenchmarkReadText(b *testing.B) {
	var text strings.Builder
	all := scenarios(b)
	for i := 0; text.Len() < 10<<20; i++ {
		snap, err := all[i%len(all)].Snapshot(scenario.Variant{})
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range render(snap, false) {
			text.WriteString(strings.ReplaceAll(s, "shop", fmt.Sprintf("shop%d", i)))
			text.WriteByte('\n')
		}
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		readText(b, text.String())
	}
}
