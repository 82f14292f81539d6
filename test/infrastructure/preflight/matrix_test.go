package preflight

import (
	"slices"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// fine is a combination that works.
func fine() parts {
	return parts{program: "podman", engine: "5.6.0", kind: "0.33.0", runtimeName: "crun", runtime: "1.23.1", cgroup: 2, nodeImage: "kindest/node:v1.37.0@sha256:a", node: "1.37.0"}
}

// Every entry of the matrix has a combination that it is for, and none that works is in it.
func TestMatrix(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*parts)
		want   []string // ids
		stops  bool
	}{
		{"what works", func(*parts) {}, nil, false},
		{"this kind of machine", func(p *parts) {
			*p = parts{program: "podman", engine: "4.3.1", kind: "0.33.0", runtimeName: "runc", runtime: "1.1.5", cgroup: 1, nodeImage: "localhost/kubernaut-e2e-node:0123456789ab"}
		}, nil, false},
		{"Docker on cgroup v1 with an older node", func(p *parts) {
			*p = parts{program: "docker", engine: "28.3.2", kind: "0.33.0", cgroup: 1, node: "1.34.10"}
		}, nil, false},
		{"Podman 3", func(p *parts) { p.engine = "3.4.4" }, []string{"podman-3"}, true},
		{"Podman 6 and older Kind", func(p *parts) { p.engine, p.kind = "6.0.1", "0.32.0" }, []string{"podman-6-labels"}, true},
		{"Podman 6 and this Kind", func(p *parts) { p.engine = "6.0.1" }, nil, false},
		{"crun of Ubuntu 24.04", func(p *parts) { p.runtime = "1.14.1" }, []string{"crun-spec-1.2"}, false},
		{"runc of that number", func(p *parts) { p.runtimeName, p.runtime = "runc", "1.1.5" }, nil, false},
		{"a newer node on cgroup v1", func(p *parts) { p.cgroup = 1 }, []string{"kubelet-cgroup-1"}, true},
		{"containerd 2.2 under Podman", func(p *parts) { p.nodeImage = "docker.io/kindest/node:v1.34.3" }, []string{"containerd-2.2-podman"}, true},
		{"containerd 2.2 under Docker", func(p *parts) { p.program, p.nodeImage = "docker", "kindest/node:v1.34.3@sha256:b" }, nil, false},
		{"its neighbour", func(p *parts) { p.nodeImage = "kindest/node:v1.34.30" }, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := fine()
			row.change(&p)
			var got []string
			for _, e := range known() {
				if e.fits(p) {
					got = append(got, e.ID)
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
			v := checkMatrix(known(), p)
			if stops := len(v.findings) > 0; stops != row.stops {
				t.Errorf("stops: got %v, want %v", stops, row.stops)
			}
			if len(v.notes) == 0 || !strings.HasPrefix(v.notes[0], "versions: "+p.program) {
				t.Errorf("notes: got %q, want the versions first", v.notes)
			}
			if len(row.want) > 0 && !row.stops && !strings.Contains(strings.Join(v.notes, "\n"), row.want[0]) {
				t.Errorf("notes: got %q, want %s in them", v.notes, row.want[0])
			}
		})
	}
	for _, e := range known() {
		if e.Row != "" && !slices.ContainsFunc(failure.Table(), func(r failure.Row) bool { return r.ID == e.Row }) {
			t.Errorf("entry %s: there is no row %s", e.ID, e.Row)
		}
	}
}

func TestParseMatrix(t *testing.T) {
	const rest = "\n  why: w\n  fix: f\n  source: s\n"
	for _, row := range []struct{ name, content, want string }{
		{"unknown key", "- id: x\n  engin: '<1.0.0'" + rest, "engin"},
		{"no reason", "- id: x\n  fix: f\n  source: s\n", "why"},
		{"no comparison", "- id: x\n  engine: '1.2.3'" + rest, "entry x"},
		{"no version", "- id: x\n  runtime: '<crun'" + rest, "<crun"},
		{"no expression", "- id: x\n  nodeImage: '('" + rest, "entry x"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := parseMatrix([]byte(row.content)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want an error with %q", err, row.want)
			}
		})
	}
}

func TestSatisfies(t *testing.T) {
	for _, row := range []struct {
		version, condition string
		want               bool
	}{
		{"1.2.3", "", true},
		{"", "", true},
		{"", "<1.2.3", false},
		{"unknown", ">=0.0.0", false},
		{"1.2.3", "<1.2.3", false},
		{"1.2.3", "<=1.2.3", true},
		{"1.2.3", "=1.2.3", true},
		{"1.2", "=1.2.0", true},
		{"1.10.0", ">1.9.9", true},
		{"v1.14.3-rc.1", ">=1.14.3", true},
		{"1.1.5+ds1", "<1.2", true},
		{"2", ">1.99", true},
	} {
		if got := satisfies(row.version, row.condition); got != row.want {
			t.Errorf("%q %s: got %v, want %v", row.version, row.condition, got, row.want)
		}
	}
}

func TestCombination(t *testing.T) {
	f := &fake{kind: engine.Docker, info: engine.Info{Version: "28.3.2", CgroupVersion: 2, Runtime: engine.Runtime{Name: "runc", Path: "runc", Version: "1.2.5"}}}
	got := combination(Options{Engine: f, NodeImage: "kindest/node:v1.37.0@sha256:a"}, readings{kind: "0.33.0"}, f.info)
	want := parts{program: "docker", engine: "28.3.2", kind: "0.33.0", runtimeName: "runc", runtimePath: "runc", runtime: "1.2.5", cgroup: 2, nodeImage: "kindest/node:v1.37.0@sha256:a", node: "1.37.0"}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
