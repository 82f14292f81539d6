package engine

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
)

func TestSurplus(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	image := func(id string, age time.Duration, tags ...string) Image {
		return Image{ID: id, Tags: tags, Created: now.Add(-age)}
	}
	images := []Image{
		image("a1", 3*time.Hour, "localhost/a:1"),
		image("a2", 2*time.Hour, "localhost/a:2"),
		image("a3", time.Hour, "localhost/a:3"),
		image("b1", 4*time.Hour, "localhost:5000/b:1"),
		image("ab", 5*time.Hour, "localhost/a:4", "localhost/c:1"), // two names
		image("none", time.Minute),
	}
	for _, row := range []struct {
		name string
		keep Keep
		want []string
	}{
		{"nothing is kept", Keep{}, []string{"none", "a3", "a2", "a1", "b1", "ab"}},
		{"one of each name", Keep{Images: 1}, []string{"none", "a2", "a1"}},
		{"two of each name", Keep{Images: 2}, []string{"none", "a1"}},
		{"by name and by id", Keep{Refs: []string{"localhost/a:1", "none"}}, []string{"a3", "a2", "b1", "ab"}},
		{"the young", Keep{Young: 150 * time.Minute}, []string{"a1", "b1", "ab"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			for _, i := range surplus(images, row.keep, now) {
				got = append(got, i.ID)
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestNodeOf(t *testing.T) {
	for key, want := range map[string]string{
		"aianalysis-e2e-control-plane":  "aianalysis-e2e",
		"aianalysis-e2e-control-plane2": "aianalysis-e2e",
		"aianalysis-e2e-worker":         "aianalysis-e2e",
		"try-worker13":                  "try",
		"other-worker":                  "",
		"try":                           "",
		"try-data":                      "",
		"try-worker-data":               "",
	} {
		got, ok := Volume{Labels: map[string]string{key: "true"}}.nodeOf([]string{"aianalysis-e2e", "try"})
		if got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", key, got, ok, want)
		}
	}
}

func TestOwned(t *testing.T) {
	e := realPodman(t)
	ctx := t.Context()
	running(t, e, "try-control-plane", "--network", "none", "--label", KindLabel+"=try")
	running(t, e, "foreign-control-plane", "--network", "none", "--label", KindLabel+"=foreign")
	running(t, e, "nobodys", "--network", "none")
	for name, label := range map[string]string{"v1": "try-control-plane=true", "v2": "foreign-control-plane=true", "v3": Label + "=try", "v4": "x=y"} {
		if _, err := e.ask(ctx, "volume", "create", "--label", label, name); err != nil {
			t.Fatal(err)
		}
	}
	path := LockPath(e.host.StateDir, "try")
	held, err := lock.Try(path, lock.Holder{PID: 1, Host: "h", RunID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	names := func(rs []Resource) []string {
		var all []string
		for _, r := range rs {
			name, _, _ := strings.Cut(r.Name, ":")
			all = append(all, string(r.Sort)+" "+name)
		}
		slices.Sort(all)
		return all
	}
	own, err := e.Owned(ctx, "try")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"container try-control-plane", "lock " + path, "volume v1", "volume v3"}; !reflect.DeepEqual(names(own), want) {
		t.Errorf("of the cluster: got %q, want %q", names(own), want)
	}
	// A foreign cluster's node is none of ours, as long as it is not on our network.
	all, err := e.Owned(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"image " + probeName, "lock " + path, "volume v1", "volume v3"}; !reflect.DeepEqual(names(all), want) {
		t.Errorf("of all: got %q, want %q", names(all), want)
	}

	if err := e.Remove(ctx, own...); err == nil || !strings.Contains(err.Error(), "only its holder") {
		t.Errorf("remove a lock: got %v", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if own, err = e.Owned(ctx, "try"); err != nil || len(own) != 0 {
		t.Errorf("after the removal: got %v, %v; want nothing", own, err)
	}
	for _, name := range []string{"foreign-control-plane", "nobodys"} {
		if _, ok, err := e.Container(ctx, name); !ok || err != nil {
			t.Errorf("%s: got %v, %v; it must stay", name, ok, err)
		}
	}
	// One that is in use stays, whatever is collected; without its last container it goes.
	if removed, err := e.Collect(ctx, Keep{}); err != nil || len(removed) != 0 {
		t.Errorf("collected %v, %v; want nothing", removed, err)
	}
}

func TestEgressRules(t *testing.T) {
	bin := fakes(t, map[string]string{"iptables": `if [ "$3" = -S ]; then printf '%s\n' '-P FORWARD ACCEPT' \
'-A FORWARD -i podman1 ! -o podman1 -m comment --comment kubernaut-e2e -j REJECT --reject-with icmp-port-unreachable' \
'-A FORWARD -s 10.0.0.0/8 -m comment --comment "netavark firewall plugin rules" -j NETAVARK_FORWARD' \
'-A FORWARD -i old ! -o old -m comment --comment "kubernaut-e2e" -j REJECT' \
'-A FORWARD -m comment --comment kubernaut-e2e-not -j ACCEPT'; fi`})
	root := hostFiles(t, map[string]string{"proc/self/status": "Uid:\t0\t0\t0\t0\n"})
	e := &Engine{kind: Podman, host: Host{OS: "linux", Root: root, Getenv: environment()}}
	if err := e.OpenEgress(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"iptables -w 10 -S FORWARD",
		"iptables -w 10 -D FORWARD -i podman1 ! -o podman1 -m comment --comment kubernaut-e2e -j REJECT --reject-with icmp-port-unreachable",
		"iptables -w 10 -D FORWARD -i old ! -o old -m comment --comment kubernaut-e2e -j REJECT",
	}
	if got := calls(t, bin); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEgressCannotBeClosed(t *testing.T) {
	root := hostFiles(t, map[string]string{"proc/self/status": "Uid:\t0\t0\t0\t0\n"})
	user := hostFiles(t, map[string]string{"proc/self/status": "Uid:\t1000\t1000\t1000\t1000\n"})
	for _, row := range []struct {
		name string
		e    Engine
		want string
	}{
		{"allowed", Engine{host: Host{OS: "linux", Root: root, Getenv: environment("E2E_EGRESS=allow")}}, "E2E_EGRESS=allow"},
		{"macOS", Engine{host: Host{OS: "darwin", Root: root, Getenv: environment()}}, "another machine"},
		{"remote", Engine{info: Info{Remote: true}, host: Host{OS: "linux", Root: root, Getenv: environment()}}, "another machine"},
		{"not root", Engine{host: Host{OS: "linux", Root: user, Getenv: environment()}}, "only root"},
		{"no iptables", Engine{host: Host{OS: "linux", Root: root, Getenv: environment()}}, "not installed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			fakes(t, nil)
			state, err := row.e.CloseEgress(t.Context())
			if err != nil || state.Closed || !strings.Contains(state.Why, row.want) {
				t.Errorf("got %+v, %v; want open, %q", state, err, row.want)
			}
		})
	}

	// Where it could be closed and iptables fails, the run must not go on as if.
	fakes(t, map[string]string{
		"podman":   `if [ "$2" = ls ]; then echo kubernaut-e2e; else echo '[{"name":"kubernaut-e2e","network_interface":"podman1"}]'; fi`,
		"iptables": `echo "iptables: Permission denied" >&2; exit 4`,
	})
	e := &Engine{kind: Podman, host: Host{OS: "linux", Root: root, Getenv: environment()}}
	var failed *command.Error
	if _, err := e.CloseEgress(t.Context()); !errors.As(err, &failed) || failed.ExitCode != 4 {
		t.Errorf("got %v, want the failure of iptables", err)
	}
}
