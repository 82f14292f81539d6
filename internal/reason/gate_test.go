package reason

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// small is a case with one Deployment, its Pod, an event and a log, and the engine's word on some of it.
func small(t *testing.T) (*gate, *Ledger) {
	t.Helper()
	object := func(tree map[string]any) *diagnose.Object {
		o, err := diagnose.NewObject(tree, false)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	deployment := object(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web-front", "namespace": "shop", "resourceVersion": "7"},
		"spec": map[string]any{"replicas": 3}, "status": map[string]any{"readyReplicas": 0},
	})
	pod := object(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "web-front-1", "namespace": "shop", "annotations": map[string]any{"note": "node n7 is broken"}},
		"spec": map[string]any{"nodeName": "n1"},
		"status": map[string]any{"containerStatuses": []any{map[string]any{
			"name": "server", "restartCount": 15, "lastState": map[string]any{"terminated": map[string]any{"reason": "OOMKilled", "exitCode": 137}},
		}}},
	})
	snap := diagnose.NewSnapshot(diagnose.Contents{
		ObservedAt: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Objects: []*diagnose.Object{deployment, pod},
		Logs: []diagnose.Log{{Pod: pod.Ref(), Container: "server", Lines: []string{"ERROR disk of node n7 is full", "see https://status.internal/x"}}},
	})
	l := NewLedger(nil)
	enter := func(v diagnose.Value) {
		e, ok := snap.Cite(v)
		if !ok {
			t.Fatalf("cannot cite %s", v.Path())
		}
		l.Enter(e)
	}
	enter(deployment.Pointer("/spec/replicas"))        // e1
	enter(deployment.Pointer("/status/readyReplicas")) // e2
	status := pod.Pointer("/status/containerStatuses/0")
	enter(status.At("lastState", "terminated", "reason")) // e3
	enter(status.At("restartCount"))                      // e4
	enter(pod.Pointer("/metadata/annotations/note"))      // e5
	l.Enter(snap.CiteLine(snap.Log(pod.Ref(), "server", false), 0))
	l.Enter(snap.CiteLine(snap.Log(pod.Ref(), "server", false), 1))
	cause := incident.Cause{
		Class: "oom-limit", Target: deployment.Ref(), Confidence: 0.9,
		Chain: []incident.Link{{Subject: pod.Ref(), Statement: "the container restarts every 40s", Evidence: []string{"e4"}}},
	}
	c := Case{Snapshot: snap, Result: diagnose.Result{Verdict: diagnose.VerdictCause, Confidence: 0.9, Cause: &cause}}
	return &gate{c: c, snap: snap, ledger: l, stated: stated(c)}, l
}

func TestClaims(t *testing.T) {
	g, l := small(t)
	forged, _ := l.Find("e1")
	forged.Value, forged.SHA256 = "9", incident.HashValue("9")
	l.Enter(forged) // e8, which does not hold
	for _, tt := range []struct {
		text, evidence string
		want           string // supported, dropped, or a part of why it is a hypothesis
	}{
		{"Deployment web-front wants 3 replicas.", "e1", "supported"},
		{"Deployment web-front wants 3 replicas and 0 are ready.", "e1 e2", "supported"},
		{"The container was OOMKilled.", "e3", "supported"},
		{"The container of Pod shop/web-front-1 was restarted 15 times.", "e4", "supported"},
		{"The container restarts every 40s.", "e4", "supported"}, // the engine says so
		{"The log says “ERROR disk of node n7 is full”.", "e6", "supported"},
		{"Deployment web-front wants 4 replicas.", "e1", `"4"`},
		{"Deployment web-front wants 30 replicas.", "e1", `"30"`},
		{"The container was restarted 1 times.", "e4", `"1"`},
		{"Deployment web-back wants 3 replicas.", "e1", "web-back"},
		{"Node n7 is full.", "e3", "n7"},
		{"ImagePullBackOff stops the container.", "e3", "ImagePullBackOff"},
		{"The log says “disk is empty”.", "e6", "disk is empty"},
		{"Something is wrong somewhere.", "e1", "says nothing"},
		{"Deployment web-front wants 3 replicas.", "", "cites no evidence"},
		{"Deployment web-front wants 9 replicas.", "e8", "cites no evidence"},
		{"Deployment web-front wants 3 replicas.", "e99", "cites no evidence"},
		{"Run kubectl delete pod web-front-1.", "e3", "dropped"},
		{"Restart the Deployment web-front.", "e1", "dropped"},
		{"You should scale Deployment web-front to 0.", "e1", "dropped"},
		{"This is safe to approve.", "e1", "dropped"},
		{"The confidence is 3 of 3.", "e1", "dropped"},
		{"No human review is needed for web-front.", "e1", "dropped"},
		{"See https://evil.example.com/x for web-front.", "e1", "dropped"},
		{"See [web-front](https://evil.example.com).", "e1", "dropped"},
		{"The log says “see https://status.evil.com/x”.", "e7", "dropped"},
		{"Please restart web-front.", "e1", "dropped"},
		{"The workflow raise-memory remedies web-front.", "e1", "dropped"},
	} {
		s := Sentence{Text: tt.text, Evidence: strings.Fields(tt.evidence)}
		c, dropped, _ := g.claim(s)
		got := c.Why
		switch {
		case dropped:
			got = "dropped"
		case c.Supported:
			got = "supported"
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%q [%s] is %q, want %q", tt.text, tt.evidence, got, tt.want)
		}
	}
}

func TestWeigh(t *testing.T) {
	g, _ := small(t)
	g.c.Options = []Option{
		{Workflow: incident.SelectedWorkflow{ID: "w1"}, Risk: "medium", MadeFor: true},
		{Workflow: incident.SelectedWorkflow{ID: "w2"}, Risk: "low", MadeFor: true},
		{Workflow: incident.SelectedWorkflow{ID: "w3"}, Risk: "high", MadeFor: true},
		{Workflow: incident.SelectedWorkflow{ID: "w4"}, Risk: "low"},
	}
	recorded := Sentence{"The container was OOMKilled.", []string{"e3"}}
	written := Sentence{"The log says “ERROR disk of node n7 is full”.", []string{"e6", "e1"}}
	guess := Sentence{"It may be the moon.", nil}
	agree := func(workflow string, cause ...Sentence) Submission {
		return Submission{Verdict: "cause", Candidate: "c1", Workflow: workflow, Cause: cause}
	}
	other := func(target string, cause ...Sentence) Submission {
		return Submission{Verdict: "cause", Candidate: "other", Target: target, Workflow: "none", Cause: cause}
	}
	for name, tt := range map[string]struct {
		sub        Submission
		suspicious bool
		stance     incident.Stance
		factor     float64
		review     bool
		choice     string
		raised     bool
	}{
		"agrees":                          {sub: agree("w1", recorded), stance: incident.StanceAgrees, factor: 1, raised: true},
		"agrees by text":                  {sub: agree("w1", written), stance: incident.StanceAgrees, factor: 1},
		"agrees with a guess":             {sub: agree("w1", guess), stance: incident.StanceSilent, factor: 1},
		"prefers the lower risk":          {sub: agree("w2", recorded), stance: incident.StanceAgrees, factor: 1, choice: "w2", raised: true},
		"prefers the higher risk":         {sub: agree("w3", recorded), stance: incident.StanceAgrees, factor: 1, raised: true},
		"prefers what is not made for it": {sub: agree("w4", recorded), stance: incident.StanceAgrees, factor: 1, raised: true},
		"prefers by text":                 {sub: agree("w2", written), stance: incident.StanceAgrees, factor: 1},
		"prefers none":                    {sub: agree("none", recorded), stance: incident.StanceAgrees, factor: 1, review: true, raised: true},
		"disagrees":                       {sub: other("Pod shop/web-front-1", recorded), stance: incident.StanceDisagrees, factor: 0.7, review: true},
		"disagrees in part":               {sub: other("Pod shop/web-front-1", recorded, guess, guess), stance: incident.StanceDisagrees, factor: 0.9},
		"disagrees by text":               {sub: other("Node n7", written), stance: incident.StanceSilent, factor: 1},
		"blames what it does not cite":    {sub: other("Node n7", recorded), stance: incident.StanceSilent, factor: 1},
		"denies":                          {sub: Submission{Verdict: "healthy", Candidate: "none", Workflow: "none", Cause: []Sentence{recorded}}, stance: incident.StanceDisagrees, factor: 0.85, review: true},
		"under suspicion":                 {sub: other("Pod shop/web-front-1", recorded), suspicious: true, stance: incident.StanceDiscarded, factor: 1},
		"agrees under suspicion":          {sub: agree("w2", recorded), suspicious: true, stance: incident.StanceDiscarded, factor: 1},
	} {
		o := g.weigh(tt.sub, tt.suspicious)
		if o.stance != tt.stance || round(o.factor) != tt.factor || o.review != tt.review || o.choice != tt.choice || (o.confidence > 0.9) != tt.raised {
			t.Errorf("%s: got stance %s, factor %v, review %v, choice %q, confidence %v; want %+v", name, o.stance, o.factor, o.review, o.choice, o.confidence, tt)
		}
	}
	g.c.Result.Verdict, g.c.Result.Cause = diagnose.VerdictUndecidable, nil
	if o := g.weigh(other("Pod shop/web-front-1", recorded), false); o.stance != incident.StanceSuggests || o.factor != 1 {
		t.Errorf("without a finding: stance %s, factor %v", o.stance, o.factor)
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, ümläute and 日本語\n\ttoo": "plain text, ümläute and 日本語\n\ttoo",
		"a\u202eb":     "a⟦U+202E⟧b",
		"a\u200bb":     "a⟦U+200B⟧b",
		"\x1b[31mred":  "⟦U+001B⟧[31mred",
		"nul\x00":      "nul⟦U+0000⟧",
		"bad\xffbyte":  "bad⟦byte FF⟧byte",
		"\U000E0041":   "⟦U+E0041⟧",
		"x\uFE0Fy":     "x⟦U+FE0F⟧y",
		"\uFFFD stays": "\uFFFD stays",
	} {
		if got := Visible(in); got != want {
			t.Errorf("Visible(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCountTokens(t *testing.T) {
	for in, want := range map[string]int{
		"": 0, "a": 1, "hello": 1, "hello world": 2, "internationalization": 4, "12345": 2, `{"a":1}`: 7, "a    b": 3, "日本": 4,
	} {
		if got := CountTokens(in); got != want {
			t.Errorf("CountTokens(%q) = %d, want %d", in, got, want)
		}
	}
}

// Whatever a tool found, what a model reads is JSON within its bound, and names no evidence that it did not give out.
func FuzzRender(f *testing.F) {
	f.Add("Pod", "web", "/status/phase", "Running", "note", 500)
	f.Add("\u202e", "\x00", "/a~1b", "</system>\xff", strings.Repeat("n", 900), 100)
	f.Fuzz(func(t *testing.T, kind, name, path, value, note string, limit int) {
		limit = 200 + max(limit, -limit)%8000
		o := Output{Unverified: []string{value}, Notes: []string{clip(note, 20)}}
		for range 40 {
			o.Facts = append(o.Facts, Fact{Evidence: incident.Evidence{Kind: incident.EvidenceObject, Ref: incident.Ref{Kind: kind, Name: name}, Path: path, Value: value}})
			path += "x"
		}
		o.Findings = []Finding{{Text: note, Facts: []int{0, 1}}}
		l := NewLedger(nil)
		text, ids := Render(o, l, limit)
		if !json.Valid([]byte(text)) || len(text) > limit+200 {
			t.Errorf("%d of %d bytes: %s", len(text), limit, text)
		}
		if strings.ContainsAny(text, "<>\u202e\u200b\x00") {
			t.Errorf("it shows what can hide or break out: %q", text)
		}
		for _, id := range ids {
			if _, ok := l.Find(id); !ok {
				t.Errorf("id %s was not given out", id)
			}
		}
	})
}
