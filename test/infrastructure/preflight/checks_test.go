package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// outcome is what a row of a table expects of a verdict: one finding of this row with these words in it, or, without a
// row, none; and these words in a note.
type outcome struct {
	row   string
	words []string
	note  string
}

func (want outcome) check(t *testing.T, v verdict) {
	t.Helper()
	notes := strings.Join(v.notes, "\n")
	if want.note != "" && !strings.Contains(notes, want.note) {
		t.Errorf("notes: got %q, want %q in them", notes, want.note)
	}
	if len(want.words) == 0 {
		if len(v.findings) > 0 {
			t.Errorf("got %+v, want nothing to stop for", v.findings)
		}
		return
	}
	if len(v.findings) != 1 {
		t.Fatalf("got %+v, want one finding", v.findings)
	}
	f := v.findings[0]
	if f.Row != want.row || f.Summary == "" || f.Fix == "" {
		t.Errorf("got %+v, want row %q, a summary and a fix", f, want.row)
	}
	for _, w := range want.words {
		if !strings.Contains(text(f), w) {
			t.Errorf("%q is not in %q", w, text(f))
		}
	}
}

// Places that nodes run at.
func here(files map[string]string) engine.Place {
	return engine.Place{Answer: reading.Answer{Files: files}, Where: "this machine", Here: true}
}

func machine(files map[string]string) engine.Place {
	return engine.Place{Answer: reading.Answer{Files: files}, Where: `Podman's machine "m"`, Enter: "podman machine ssh m sudo "}
}

func TestCheckTrip(t *testing.T) {
	failing := func(output string) error {
		return fmt.Errorf("round trip through podman, step run: %w", &command.Error{Cmd: "podman run", ExitCode: 126, Output: output, Err: errors.New("exit status 126")})
	}
	for _, row := range []struct {
		name  string
		trip  engine.Trip
		err   error
		class failure.Class
		outcome
	}{
		{"it lives", engine.Trip{Run: 123 * time.Millisecond}, nil, "", outcome{note: "run 123ms"}},
		{"no limit of threads", engine.Trip{Container: engine.Container{PidsLimit: 0}}, nil, "", outcome{note: "round trip"}},
		{"few threads", engine.Trip{Container: engine.Container{PidsLimit: threadsOfNode + 1}}, nil, "", outcome{note: "pids_limit = 65536"}},
		{"too few threads", engine.Trip{Container: engine.Container{PidsLimit: 100}}, nil, failure.Host, outcome{row: "F21", words: []string{"may have 100 threads", "pids_limit = 65536"}}},
		{"the runtime is too old", engine.Trip{}, failing("Error: OCI runtime error: crun: unknown version specified"), failure.Host, outcome{row: "F23", words: []string{"unknown version", "podman info"}}},
		{"the key quota", engine.Trip{}, failing("Error: crun: join keyctl `abc`: Disk quota exceeded: OCI runtime error"), failure.Resource, outcome{row: "F24", words: []string{"maxkeys"}}},
		{"something new", engine.Trip{}, failing("Error: the moon is full"), failure.Host, outcome{words: []string{"the moon is full", "step run", "podman run --rm IMAGE"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := checkTrip(t.Context(), engine.Podman, row.trip, row.err)
			row.check(t, v)
			if row.class != "" && v.findings[0].Class != row.class {
				t.Errorf("class: got %s, want %s", v.findings[0].Class, row.class)
			}
		})
	}
}

func TestCheckEngine(t *testing.T) {
	for _, row := range []struct {
		name string
		kind engine.Kind
		info engine.Info
		outcome
	}{
		{"nothing", engine.Podman, engine.Info{LogDriver: "k8s-file", StorageDriver: "overlay", CgroupVersion: 1}, outcome{}},
		{"the journal", engine.Podman, engine.Info{LogDriver: "journald"}, outcome{note: "log_driver = \"k8s-file\""}},
		{"vfs", engine.Docker, engine.Info{StorageDriver: "vfs"}, outcome{note: "overlay"}},
		{"rootless on v1", engine.Podman, engine.Info{Rootless: true, CgroupVersion: 1}, outcome{row: "F22", words: []string{"cgroup v1", "unified_cgroup_hierarchy=1"}}},
		{"rootless on v2", engine.Podman, engine.Info{Rootless: true, CgroupVersion: 2}, outcome{}},
	} {
		t.Run(row.name, func(t *testing.T) { row.check(t, checkEngine(row.kind, row.info)) })
	}
}

func TestCheckDelegation(t *testing.T) {
	const user = 1000
	rootless := func(controllers ...string) engine.Info {
		return engine.Info{Rootless: true, CgroupVersion: 2, CgroupControllers: controllers}
	}
	for _, row := range []struct {
		name  string
		info  engine.Info
		files map[string]string
		outcome
	}{
		{"root", engine.Info{CgroupVersion: 2}, nil, outcome{}},
		{"all", rootless("cpuset", "cpu", "io", "memory", "pids"), nil, outcome{}},
		{"not known", rootless(), nil, outcome{}},
		{"as Podman says", rootless("memory", "pids"), nil, outcome{row: "F22", words: []string{"controllers cpu are", "Delegate=", "memory pids"}}},
		{"as the kernel says", rootless(), map[string]string{delegated(user): "memory\n"}, outcome{row: "F22", words: []string{"cpu, pids", "this machine: memory"}}},
	} {
		t.Run(row.name, func(t *testing.T) { row.check(t, checkDelegation(user, row.info, here(row.files))) })
	}
}

func TestCheckInstances(t *testing.T) {
	one := instancesOfControlPlane
	for _, row := range []struct {
		name         string
		nodes, limit int
		used         int
		remote       bool
		outcome
	}{
		{"plenty", 3, 8192, 100, false, outcome{}},
		{"scarce", 1, 10 + 2*one - 1, 10, false, outcome{note: "scarce"}},
		{"just enough for two", 1, 10 + 2*one, 10, false, outcome{}},
		{"too few by one", 1, 10 + one - 1, 10, false, outcome{row: "F20", words: []string{"one node", "sysctl -w fs.inotify.max_user_instances=512", "10 in use"}}},
		{"others use them", 2, 128, 120, false, outcome{row: "F20", words: []string{"2 nodes", "120 in use"}}},
		{"in the machine", 3, 20, 0, true, outcome{row: "F20", words: []string{"podman machine ssh m sudo sysctl -w"}}},
		{"512 would not do", 100, 128, 0, false, outcome{row: "F20", words: []string{fmt.Sprintf("max_user_instances=%d", 2*instances(100))}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			place := here(map[string]string{maxInstances: fmt.Sprintf("%d\n", row.limit)})
			if row.remote {
				place = machine(place.Files)
			}
			place.Inotify = map[int]int{7: row.used, 0: 100000} // another's do not count
			v := checkInstances(row.nodes, 7, place)
			row.check(t, v)
			if row.note == "" && len(v.notes) > 0 {
				t.Errorf("notes: got %q, want none", v.notes)
			}
		})
	}
	outcome{}.check(t, checkInstances(3, 0, here(nil))) // a limit that cannot be read
}

func TestCheckWatches(t *testing.T) {
	outcome{}.check(t, checkWatches(3, here(map[string]string{maxWatches: "192536\n"})))
	outcome{}.check(t, checkWatches(3, here(nil)))
	outcome{row: "F20", words: []string{"8192", "max_user_watches=524288"}}.check(t, checkWatches(3, here(map[string]string{maxWatches: "8192"})))
}

func TestCheckThreads(t *testing.T) {
	files := func(load, pids, threads string) map[string]string {
		return map[string]string{loadavg: load, pidMax: pids, threadsMax: threads}
	}
	for _, row := range []struct {
		name  string
		files map[string]string
		outcome
	}{
		{"enough", files("0.00 0.01 0.05 2/300 4242\n", "32768\n", "192731\n"), outcome{}},
		{"pids", files("0.00 0.01 0.05 2/300 4242\n", "1000\n", "192731\n"), outcome{row: "F21", words: []string{"sysctl -w kernel.pid_max=", "300 are in use"}}},
		{"threads", files("0.00 0.01 0.05 2/30000 4242\n", "4194304\n", "30500\n"), outcome{row: "F21", words: []string{"sysctl -w kernel.threads-max="}}},
		{"not known", files("", "1", "1"), outcome{}},
	} {
		t.Run(row.name, func(t *testing.T) { row.check(t, checkThreads(2, here(row.files))) })
	}
}

func TestCheckKeys(t *testing.T) {
	users := "    0:    90 89/89 80/1000000 1600/25000000\n 1000:   195 195/195 195/200 3900/20000\n"
	for _, row := range []struct {
		name string
		user int
		keys string
		max  string
		outcome
	}{
		{"root", 0, users, "200", outcome{}},
		{"used up", 1000, users, "200", outcome{row: "F24", words: []string{"195 of 200", "kernel.keys.maxkeys=20000 kernel.keys.maxbytes=2000000"}}},
		{"no key yet", 1001, users, "200", outcome{}},
		{"no key yet, and hardly any allowed", 1001, users, "20", outcome{row: "F24", words: []string{"0 of 20"}}},
		{"root's are used up", 0, "0: 1 1/1 199/200 1/2", "", outcome{row: "F24", words: []string{"kernel.keys.root_maxkeys=20000 kernel.keys.root_maxbytes=2000000"}}},
		{"not known", 1001, "", "", outcome{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.check(t, checkKeys(2, row.user, here(map[string]string{keyUsers: row.keys, maxKeys: row.max})))
		})
	}
}

func TestCheckMemory(t *testing.T) {
	const cluster = "aianalysis-e2e"
	need := (memoryOfControlPlane + memoryOfWorker + memoryOfWork) >> 10
	node := engine.Container{Name: cluster + "-worker", Running: true, Labels: map[string]string{engine.KindLabel: cluster}}
	for _, row := range []struct {
		name  string
		place engine.Place
		nodes []engine.Container
		outcome
	}{
		{"enough", here(map[string]string{meminfo: fmt.Sprintf("MemTotal: 1 kB\nMemAvailable:   %d kB\n", need)}), nil, outcome{note: "memory available"}},
		{"too little", here(map[string]string{meminfo: fmt.Sprintf("MemAvailable: %d kB\n", need-1)}), nil, outcome{row: "F07", words: []string{"2 nodes", "larger machine"}}},
		{"too little in the machine", machine(map[string]string{meminfo: "MemAvailable: 500000 kB\n"}), nil, outcome{row: "F07", words: []string{"podman machine set --memory", "488 MiB"}}},
		{"the nodes run already", here(map[string]string{meminfo: fmt.Sprintf("MemAvailable: %d kB\n", need-1)}), []engine.Container{node}, outcome{note: "memory available"}},
		{"not known", here(nil), nil, outcome{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.check(t, checkMemory(Options{Cluster: cluster, Nodes: 2}, row.place, row.nodes))
		})
	}
}

func TestCheckClock(t *testing.T) {
	for _, row := range []struct {
		skew time.Duration
		outcome
	}{
		{0, outcome{}},
		{2 * time.Second, outcome{note: "2s ahead of"}},
		{-maxSkew, outcome{note: "behind"}},
		{-maxSkew - time.Second, outcome{row: "F25", words: []string{"31s behind", "podman machine ssh m sudo date -s"}}},
		{time.Hour, outcome{row: "F25", words: []string{"1h0m0s ahead of"}}},
	} {
		t.Run(row.skew.String(), func(t *testing.T) {
			place := machine(nil)
			place.Skew = row.skew
			row.check(t, checkClock(place))
		})
	}
}

func TestCheckDisks(t *testing.T) {
	const gib = 1 << 30
	disk := func(device uint64, free uint64) reading.Disk {
		return reading.Disk{Device: device, Free: free, Total: 2 * free, Inodes: 1e6, Counts: true}
	}
	needs := []diskNeed{{"/graph", true, 4 * gib, "images", 2}, {"/state", false, 1 * gib, "state", 0}, {"/tmp", false, 1 * gib, "archives", 0}}
	for _, row := range []struct {
		name   string
		remote bool
		there  map[string]reading.Disk
		here   map[string]reading.Disk
		outcome
		disks int // notes
	}{
		{"one disk for all", false, map[string]reading.Disk{"/graph": disk(1, 6*gib)}, map[string]reading.Disk{"/state": disk(1, 6*gib), "/tmp": disk(1, 6*gib)}, outcome{note: "free here: 6.0 GiB; needed: 6.0 GiB"}, 1},
		{"one disk, too small for all together", false, map[string]reading.Disk{"/graph": disk(1, 6*gib-1)}, map[string]reading.Disk{"/state": disk(1, 6*gib-1), "/tmp": disk(1, 6*gib-1)}, outcome{row: "F08", words: []string{"4.0 GiB in /graph for images", "podman rmi"}}, 0},
		{"disks of their own", false, map[string]reading.Disk{"/graph": disk(1, 5*gib)}, map[string]reading.Disk{"/state": disk(2, 2*gib), "/tmp": disk(3, gib)}, outcome{}, 3},
		{"a small /tmp", false, map[string]reading.Disk{"/graph": disk(1, 5*gib)}, map[string]reading.Disk{"/state": disk(2, 2*gib), "/tmp": disk(3, gib/2)}, outcome{row: "F08", words: []string{"/tmp", "512 MiB"}}, 2},
		{"the machine has a device of the same number", true, map[string]reading.Disk{"/graph": disk(1, 4*gib)}, map[string]reading.Disk{"/state": disk(1, 2*gib), "/tmp": disk(1, 2*gib)}, outcome{note: "free in Podman's machine"}, 2},
		{"the machine is full", true, map[string]reading.Disk{"/graph": disk(1, gib)}, map[string]reading.Disk{"/state": disk(1, 9*gib), "/tmp": disk(1, 9*gib)}, outcome{row: "F08", words: []string{"in Podman's machine"}}, 1},
		{"no inodes", false, map[string]reading.Disk{"/graph": {Device: 1, Free: 9 * gib, Inodes: 100, Counts: true}}, nil, outcome{row: "F08", words: []string{"inodes", "100"}}, 0},
		{"inodes are not counted", false, map[string]reading.Disk{"/graph": {Device: 1, Free: 9 * gib}}, nil, outcome{}, 1},
		{"not known", false, nil, nil, outcome{}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := readings{there: here(nil), here: reading.Answer{Disks: row.here}}
			if row.remote {
				r.there = machine(nil)
			}
			r.there.Disks = row.there
			v := checkDisks(Options{Engine: &fake{}}, needs, r)
			row.check(t, v)
			if len(v.notes) != row.disks {
				t.Errorf("notes: got %q, want %d", v.notes, row.disks)
			}
		})
	}
}

func TestDiskNeeds(t *testing.T) {
	const mib = mebibyte
	o := Options{Cluster: "c", Nodes: 2, StateDir: "/state", TempDir: "/tmp"}
	info := engine.Info{GraphRoot: "/graph", ImageTemp: "/var/tmp"}
	image := func(size int64, tags ...string) engine.Image { return engine.Image{Size: size, Tags: tags} }
	sum := func(r readings) map[string]uint64 {
		got := make(map[string]uint64)
		for _, n := range diskNeeds(o, info, r) {
			got[n.dir] = n.bytes / mib
		}
		return got
	}
	fresh := sum(readings{})
	if want := uint64((nodeImageSize + serviceImageSize + 2*(diskOfNode+serviceImageSize)) / mib); fresh["/graph"] != want {
		t.Errorf("with nothing there: got %v, want %d in /graph", fresh, want)
	}
	if fresh["/var/tmp"] < nodeImageSize/mib || fresh["/state"] < nodeBuildSize/mib || fresh["/tmp"] == 0 {
		t.Errorf("with nothing there: got %v", fresh)
	}
	warm := sum(readings{images: []engine.Image{
		image(300*mib, "localhost/kubernaut-aianalysis:new"), image(900*mib, "localhost/kubernaut-aianalysis:old"),
		image(100*mib, "localhost/kubernaut-datastorage:1"), image(900*mib, nodeImageName+":1"), image(10 * mib),
	}})
	if want := uint64(400 + 2*(diskOfNode/mib+400)); warm["/graph"] != want {
		t.Errorf("with images there: got %v, want %d in /graph, by the newest of each name", warm, want)
	}
	if warm["/state"] >= nodeBuildSize/mib {
		t.Errorf("with a node image there: got %v, want nothing for building one", warm)
	}
	running := sum(readings{containers: []engine.Container{{Running: true, Labels: map[string]string{engine.KindLabel: "c"}}}})
	if running["/graph"] >= fresh["/graph"]-uint64(2*diskOfNode/mib) {
		t.Errorf("with the nodes there: got %v, want less than %v", running, fresh)
	}
}

func TestNodeUser(t *testing.T) {
	for _, row := range []struct {
		info  engine.Info
		place engine.Place
		want  int
	}{
		{engine.Info{}, here(nil), 0},
		{engine.Info{Rootless: true}, here(nil), 1234},
		{engine.Info{Rootless: true}, machine(nil), 1000},
		{engine.Info{}, machine(nil), 0},
	} {
		if got := nodeUser(1234, row.info, row.place); got != row.want {
			t.Errorf("%+v: got %d", row, got)
		}
	}
}

// fake is a Runtime with fixed answers.
type fake struct {
	kind       engine.Kind
	info       engine.Info
	tripErr    error
	place      engine.Place
	readErr    error
	containers []engine.Container
	storage    []engine.Storage
	removeErr  error
	removed    []string
	networks   []engine.Network
	images     []engine.Image
	listErr    error
}

func (f *fake) Kind() engine.Kind {
	if f.kind == "" {
		return engine.Podman
	}
	return f.kind
}
func (f *fake) Info() engine.Info { return f.info }
func (f *fake) RoundTrip(context.Context) (engine.Trip, error) {
	return engine.Trip{}, f.tripErr
}

func (f *fake) Read(context.Context, reading.Question) (engine.Place, error) {
	return f.place, f.readErr
}

func (f *fake) AllContainers(context.Context) ([]engine.Container, error) {
	return f.containers, f.listErr
}

func (f *fake) StorageContainers(context.Context) ([]engine.Storage, error) {
	return f.storage, f.listErr
}

func (f *fake) RemoveStorage(_ context.Context, name string) error {
	f.removed = append(f.removed, name)
	return f.removeErr
}

func (f *fake) Networks(context.Context, string) ([]engine.Network, error) {
	return f.networks, f.listErr
}

func (f *fake) Images(context.Context, string) ([]engine.Image, error) { return f.images, f.listErr }

func TestCheck(t *testing.T) {
	options := func(f *fake) Options {
		return Options{
			Engine: f, Getenv: func(string) string { return "" }, StateDir: t.TempDir(), TempDir: t.TempDir(), Cluster: "c", Nodes: 2,
			Listeners: listenersFunc(func([]int) (map[int]Listener, error) { return nil, nil }),
		}
	}
	fine := here(map[string]string{meminfo: "MemAvailable: 64000000 kB\n", maxInstances: "8192"})

	if _, err := Check(t.Context(), options(&fake{place: fine})); err != nil {
		t.Errorf("nothing is wrong: got %v", err)
	}

	low := here(map[string]string{meminfo: "MemAvailable: 1 kB\n", maxInstances: "1"})
	_, err := Check(t.Context(), options(&fake{place: low, networks: []engine.Network{{ID: "a"}, {ID: "b"}}}))
	var rows []string
	for _, f := range failure.ClassifyAll(t.Context(), phase, err, nil) {
		rows = append(rows, f.Row)
		if f.Phase != phase || f.Fingerprint == "" {
			t.Errorf("got %+v", f)
		}
	}
	slices.Sort(rows)
	if want := []string{"F07", "F20", "F31"}; !slices.Equal(rows, want) {
		t.Errorf("all at once: got %q, want %q", rows, want)
	}

	// An engine that does nothing is one finding, not one for each question that it does not answer.
	down := errors.New("no")
	_, err = Check(t.Context(), options(&fake{tripErr: down, readErr: down, listErr: down}))
	if got := failure.ClassifyAll(t.Context(), phase, err, nil); len(got) != 1 || !strings.Contains(got[0].Summary, "trivial container") {
		t.Errorf("a dead engine: got %+v", got)
	}
	_, err = Check(t.Context(), options(&fake{readErr: down, listErr: down}))
	if got := failure.ClassifyAll(t.Context(), phase, err, nil); len(got) != 2 {
		t.Errorf("an engine that answers no questions: got %+v", got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ctx, options(&fake{place: low})); failure.Classify(t.Context(), phase, err, nil).Class != failure.Interrupted {
		t.Errorf("interrupted: got %v", err)
	}
}

type listenersFunc func([]int) (map[int]Listener, error)

func (f listenersFunc) Listeners(_ context.Context, ports []int) (map[int]Listener, error) {
	return f(ports)
}
