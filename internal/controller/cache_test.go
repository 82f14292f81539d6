package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

func TestTrim(t *testing.T) {
	busy := running(false)
	busy.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}}
	want := running(false)
	if got, err := trim(busy); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("unfinished: error %v, differs (-want +got):\n%s", err, cmp.Diff(want, got))
	}

	done := running(false)
	done.ManagedFields, done.Labels = []metav1.ManagedFieldsEntry{{Manager: "x"}}, map[string]string{"a": "b"}
	done.Status.Phase, done.Status.Message = v1alpha1.PhaseCompleted, "long"
	kept := &v1alpha1.AIAnalysis{ObjectMeta: metav1.ObjectMeta{
		Namespace: done.Namespace, Name: done.Name, UID: done.UID, Generation: 1, Finalizers: done.Finalizers,
	}}
	kept.Spec.RemediationID, kept.Status.Phase = "rr-1", v1alpha1.PhaseCompleted
	deletion1 := deletion(done, testTime)
	got, err := trim(done)
	if err != nil || cmp.Diff(kept, got) != "" {
		t.Errorf("finished: error %v, differs (-want +got):\n%s", err, cmp.Diff(kept, got))
	}
	if diff := cmp.Diff(deletion1, deletion(done, testTime)); diff != "" {
		t.Errorf("the event of its deletion needs what was taken away:\n%s", diff)
	}
	if got, err := trim("something else"); got != "something else" || err != nil {
		t.Errorf("something else became %v, %v", got, err)
	}
}

func TestLatest(t *testing.T) {
	at := func(version string) *v1alpha1.AIAnalysis {
		a := running(false)
		a.ResourceVersion = version
		return a
	}
	l, name := newLatest(), nameOf(running(false))
	if got := l.newest(name, at("9")); got.ResourceVersion != "9" {
		t.Errorf("nothing written: got version %s", got.ResourceVersion)
	}
	l.put(name, at("10"))
	if got := l.newest(name, at("9")); got.ResourceVersion != "10" {
		t.Errorf("the cache is behind: got version %s", got.ResourceVersion)
	}
	other := at("9")
	other.UID = "another"
	if got := l.newest(name, other); got != other {
		t.Error("another resource of the same name was taken for ours")
	}
	if got := l.newest(name, at("11")); got.ResourceVersion != "11" {
		t.Errorf("the cache is ahead: got version %s", got.ResourceVersion)
	}
	l.seen(name, at("9"))
	if len(l.written) != 1 {
		t.Error("forgotten before the cache had it")
	}
	l.seen(name, at("10"))
	if len(l.written) != 0 {
		t.Error("kept after the cache had it")
	}
}

func TestRelevant(t *testing.T) {
	r := &Reconciler{latest: newLatest()}
	p := r.relevant()
	deleted := func(a *v1alpha1.AIAnalysis) *v1alpha1.AIAnalysis {
		a.DeletionTimestamp = &metav1.Time{Time: testTime}
		a.Generation++
		return a
	}
	finished := func() *v1alpha1.AIAnalysis {
		a := running(false)
		a.Status.Phase = v1alpha1.PhaseFailed
		return a
	}
	for name, tt := range map[string]struct{ got, want bool }{
		"new":              {p.Create(event.CreateEvent{Object: fresh(false)}), true},
		"found unfinished": {p.Create(event.CreateEvent{Object: running(false)}), true},
		"found finished":   {p.Create(event.CreateEvent{Object: finished()}), false},
		"found deleted":    {p.Create(event.CreateEvent{Object: deleted(finished())}), true},
		"status written":   {p.Update(event.UpdateEvent{ObjectOld: fresh(false), ObjectNew: running(false)}), false},
		"deleted":          {p.Update(event.UpdateEvent{ObjectOld: finished(), ObjectNew: deleted(finished())}), true},
		"gone":             {p.Delete(event.DeleteEvent{Object: finished()}), true},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", name, tt.got, tt.want)
		}
	}
	r.latest.put(nameOf(fresh(false)), running(false))
	p.Update(event.UpdateEvent{ObjectOld: fresh(false), ObjectNew: client.Object(running(false))})
	if len(r.latest.written) != 0 {
		t.Error("what the watch has brought is still remembered")
	}
}
