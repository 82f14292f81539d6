package diagnose

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChanges(t *testing.T) {
	container := func(image string, env ...any) map[string]any {
		return map[string]any{"name": "app", "image": image, "env": env}
	}
	env := func(name, value string) any { return map[string]any{"name": name, "value": value} }
	template := func(containers ...any) map[string]any {
		return map[string]any{"metadata": map[string]any{"labels": map[string]any{"pod-template-hash": containers[0].(map[string]any)["image"]}}, "spec": map[string]any{"containers": containers}}
	}
	for _, tt := range []struct {
		name     string
		from, to map[string]any
		want     []string
	}{
		{"nothing but the hash", template(container("x:1")), template(container("x:1")), nil},
		{"the image", template(container("x:1")), template(container("x:2")), []string{"containers[app].image from x:1 to x:2"}},
		{"a variable among others", template(container("x", env("A", "1"), env("B", "2"))), template(container("x", env("B", "3"), env("A", "1"))), []string{"containers[app].env[B].value from 2 to 3"}},
		{"a variable removed", template(container("x", env("A", "1"), env("B", "2"))), template(container("x", env("A", "1"))), []string{`containers[app].env[B] removed ({"name":"B","value":"2"})`}},
		{"a container added", template(container("x")), template(container("x"), map[string]any{"name": "side"}), []string{`containers[side] added ({"name":"side"})`}},
		{"empty and absent are one", map[string]any{"spec": map[string]any{"volumes": []any{}}}, map[string]any{"spec": map[string]any{}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range changes(place(tt.from), place(tt.to)) {
				got = append(got, c.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// A table shows less of a revision than a description: what it leaves out is no change.
func TestChangesNotRead(t *testing.T) {
	template := func(image string, more map[string]any) map[string]any {
		c := map[string]any{"name": "app", "image": image}
		maps.Copy(c, more)
		return map[string]any{"kind": "ReplicaSet", "metadata": map[string]any{"name": "r"}, "spec": map[string]any{"containers": []any{c}}}
	}
	row, err := NewPart(template("x:1", nil), []string{"/metadata/name"})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := NewObject(template("x:2", map[string]any{"args": []any{"run"}}), false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes(row.Root(), whole.Root()) {
		got = append(got, c.String())
	}
	if diff := cmp.Diff([]string{"containers[app].image from x:1 to x:2"}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestLoopedFromStart(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name     string
		age      time.Duration
		restarts int64
		run      time.Duration
		want     bool
	}{
		{"the first run has just failed", 20 * time.Second, 0, 5 * time.Second, true},
		{"six restarts in twenty minutes", 20 * time.Minute, 6, time.Second, true},
		{"five restarts in a week", 7 * 24 * time.Hour, 5, time.Second, false},
		{"hundreds of restarts in a day", 24 * time.Hour, 280, time.Second, true},
		{"dies every two hours, always did", 24 * time.Hour, 11, 2 * time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			finished := now.Add(-10 * time.Second)
			pod, err := NewObject(map[string]any{
				"kind": "Pod", "metadata": map[string]any{"name": "p"},
				"spec": map[string]any{"containers": []any{map[string]any{"name": "c"}}},
				"status": map[string]any{"startTime": now.Add(-tt.age).Format(time.RFC3339), "containerStatuses": []any{map[string]any{
					"name": "c", "restartCount": tt.restarts,
					"lastState": map[string]any{"terminated": map[string]any{"exitCode": 1, "startedAt": finished.Add(-tt.run).Format(time.RFC3339), "finishedAt": finished.Format(time.RFC3339)}},
				}}},
			}, false)
			if err != nil {
				t.Fatal(err)
			}
			q := &inquiry{now: now}
			if got := q.loopedFromStart(pod, containersOf(pod)[0]); got != tt.want {
				t.Errorf("loopedFromStart = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m", 70 * time.Second: "1m10s", time.Hour: "1h", 90 * time.Minute: "1h30m", 100 * time.Hour: "4 days",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}
