package nodeimage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

const (
	compileDeadline = time.Hour
	// One package, or the linking of one program, can take minutes on a busy machine, and the go command says nothing meanwhile.
	compileStall = 20 * time.Minute
)

// buildFlags are those of the control plane's own build, internal/controlplane, so that its packages are compiled once
// for both.
func buildFlags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-tags=selinux,notest,grpcnotrace"}
}

// goPrograms describes programs that are built from one module.
type goPrograms struct {
	name     string // of the step
	what     string // for people
	dir      string // of the module, below the repository's root
	modOnly  bool   // they are built from the module's requirements, and not from what is in dir
	packages []string
	rename   map[string]string // of programs whose package has another name
	ldflags  func(mod []byte) (string, error)
}

func kubernetesPrograms() goPrograms {
	p := goPrograms{
		name: "kubernetes", what: "Kubernetes", dir: "controlplane", modOnly: true,
		packages: []string{"go.etcd.io/etcd/server/v3"}, rename: map[string]string{"server": "etcd"}, ldflags: kubernetesLDFlags,
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubeadm", "kubectl", "kubelet"} {
		p.packages = append(p.packages, "k8s.io/kubernetes/cmd/"+name)
	}
	return p
}

func corednsPrograms() goPrograms {
	return goPrograms{name: "coredns", what: "CoreDNS", dir: modules + "coredns", packages: []string{"."}}
}

func localPathPrograms() goPrograms {
	return goPrograms{
		name: "localpath", what: "local-path-provisioner", dir: modules + "localpath", packages: []string{"github.com/rancher/local-path-provisioner"},
	}
}

func cniPrograms() goPrograms {
	p := goPrograms{name: "cni", what: "the CNI plugins", dir: modules + "cni"}
	for _, name := range []string{"ipam/host-local", "main/loopback", "main/ptp", "meta/portmap"} {
		p.packages = append(p.packages, "github.com/containernetworking/plugins/plugins/"+name)
	}
	return p
}

// ownProgram is one of this repository's main module.
func ownProgram(name string) goPrograms {
	return goPrograms{name: name, what: name, dir: here + name, packages: []string{"."}}
}

const (
	here    = "test/infrastructure/nodeimage/"
	modules = here + "modules/"
)

func (b *builder) goKey(ctx context.Context, p goPrograms) (string, error) {
	env, err := b.goVersion(ctx)
	if err != nil {
		return "", err
	}
	ldflags, err := b.ldflags(p)
	if err != nil {
		return "", err
	}
	k := newDigest(p.name)
	k.add("go", env)
	k.add("packages", p.packages...)
	k.add("flags", append(buildFlags(), ldflags)...)
	k.add("renamed", fmt.Sprint(p.rename))
	dir := filepath.Join(b.source, p.dir)
	if p.modOnly {
		err = k.files(dir, "go.mod", "go.sum")
	} else {
		err = k.sources(dir)
	}
	if err != nil {
		return "", fmt.Errorf("read the sources of %s: %w", p.what, err)
	}
	return k.key()
}

func (b *builder) ldflags(p goPrograms) (string, error) {
	if p.ldflags == nil {
		return "-s -w", nil
	}
	mod, err := os.ReadFile(filepath.Join(b.source, p.dir, "go.mod"))
	if err != nil {
		return "", err
	}
	return p.ldflags(mod)
}

// build returns the directory of the programs.
func (b *builder) build(ctx context.Context, p goPrograms) (string, error) {
	key, err := b.goKey(ctx, p)
	if err != nil {
		return "", err
	}
	dir, err := b.get(ctx, p.name, key, func(ctx context.Context, dir string) error {
		return b.compile(ctx, p, dir)
	})
	if err != nil {
		return "", fmt.Errorf("build %s: %w", p.what, err)
	}
	return dir, nil
}

func (b *builder) compile(ctx context.Context, p goPrograms, dir string) error {
	ldflags, err := b.ldflags(p)
	if err != nil {
		return err
	}
	stale, err := b.countStale(ctx, p)
	if err != nil {
		return err
	}
	m := b.meter("compile and link "+p.what, "packages compiled")
	defer m.end()
	m.set(0, stale)
	log := &lines{next: b.run.Log, take: func(line string) bool {
		if isImportPath(line) {
			m.add(1)
		}
		return false
	}}
	args := append([]string{"build", "-v", "-o=" + dir + "/", "-ldflags=" + ldflags}, buildFlags()...)
	if _, err := b.goCommand(ctx, log, p.dir, append(args, p.packages...)...); err != nil {
		return err
	}
	for from, to := range p.rename {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			return err
		}
	}
	return nil
}

// countStale loads the packages of a build, which downloads modules that are missing, and counts those that Go's build
// cache does not have.
func (b *builder) countStale(ctx context.Context, p goPrograms) (int, error) {
	m := b.meter("load the modules of "+p.what, "downloaded")
	defer m.end()
	log := &lines{next: b.run.Log, take: func(line string) bool {
		if strings.HasPrefix(line, "go: downloading ") {
			m.add(1)
		}
		return line == "stale"
	}}
	args := append([]string{"list", "-deps", "-f={{if .Stale}}stale{{end}}"}, buildFlags()...)
	out, err := b.goCommand(ctx, log, p.dir, append(args, p.packages...)...)
	return bytes.Count(out, []byte("stale")), err
}

// goCommand runs the go command in a directory of the repository, free of the settings of the surrounding module.
func (b *builder) goCommand(ctx context.Context, log io.Writer, dir string, args ...string) ([]byte, error) {
	return b.run.With(log).Run(ctx, command.Cmd{
		Name: "go", Args: args, Dir: filepath.Join(b.source, dir), Env: []string{"CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off"},
		Deadline: compileDeadline, Stall: compileStall,
	})
}

// goVersion is what of the tool chain goes into a program.
func (b *builder) goVersion(ctx context.Context) (string, error) {
	b.goOnce.Do(func() {
		var out []byte
		out, b.goErr = b.run.Run(ctx, command.Cmd{
			Name: "go", Args: []string{"env", "-json", "GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT"},
			Dir: b.source, Env: []string{"GOFLAGS="}, Deadline: time.Minute,
		})
		b.goEnv = string(out)
	})
	return b.goEnv, b.goErr
}

// isImportPath tells the lines of go build -v from those of an error.
func isImportPath(line string) bool { return line != "" && !strings.ContainsAny(line, " \t:#$") }

// kubernetesVersion is that of k8s.io/kubernetes in a go.mod: "v1.34.10", with its parts.
func kubernetesVersion(mod []byte) (version, major, minor string, err error) {
	m := regexp.MustCompile(`(?m)\bk8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)`).FindSubmatch(mod)
	if m == nil {
		return "", "", "", fmt.Errorf("%s requires no k8s.io/kubernetes", path.Join(kubernetesPrograms().dir, "go.mod"))
	}
	return string(m[1]), string(m[2]), string(m[3]), nil
}

// kubernetesLDFlags give the programs their version, which they would not know.
func kubernetesLDFlags(mod []byte) (string, error) {
	version, major, minor, err := kubernetesVersion(mod)
	if err != nil {
		return "", err
	}
	flags := []string{"-s -w"}
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags, fmt.Sprintf("-X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s -X %[1]s.gitCommit=", pkg, version, major, minor))
	}
	return strings.Join(flags, " "), nil
}

// lines shows each line that is written to it to take, and hands on those that take does not keep.
type lines struct {
	next io.Writer
	take func(line string) bool
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := l.rest[:i+1]
		l.rest = l.rest[i+1:]
		if l.take(strings.TrimRight(string(line), "\r\n")) || l.next == nil {
			continue
		}
		if _, err := l.next.Write(line); err != nil {
			return len(p), err
		}
	}
}
