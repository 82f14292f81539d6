package nodeimage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

const kindModule = "sigs.k8s.io/kind"

// kindSources is Kind's module, whose node image this one is equivalent to.
type kindSources struct {
	dir string // of the module
}

// kindDir returns Kind's module in the version that this repository requires.
func (b *builder) kindDir(ctx context.Context) (kindSources, error) {
	out, err := b.goCommand(ctx, b.run.Log, ".", "mod", "download", "-json", kindModule)
	if err != nil {
		return kindSources{}, fmt.Errorf("get Kind's module: %w", err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil || m.Dir == "" {
		return kindSources{}, fmt.Errorf("get Kind's module: go mod download says %q", out)
	}
	return kindSources{m.Dir}, nil
}

// kindKey is over the version of Kind's module and what is done with it.
func (b *builder) kindKey() (string, error) {
	sum, err := os.ReadFile(filepath.Join(b.source, "go.sum"))
	if err != nil {
		return "", err
	}
	mod, err := os.ReadFile(filepath.Join(b.source, "go.mod"))
	if err != nil {
		return "", err
	}
	version := regexp.MustCompile(`(?m)\b` + regexp.QuoteMeta(kindModule) + ` (v\S+)`).FindSubmatch(mod)
	if version == nil {
		return "", fmt.Errorf("go.mod does not require %s", kindModule)
	}
	hash := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(kindModule+" "+string(version[1])) + ` \S+$`).Find(sum)
	if hash == nil {
		return "", fmt.Errorf("go.sum does not have %s %s", kindModule, version[1])
	}
	k := newDigest("kind")
	k.add("module", string(hash))
	return k.key("kindfiles.go")
}

// nodeBase is the lowest layer of a node: the root file system with Kind's files in it, changed as Kind's Dockerfile does.
func (b *builder) nodeBase(ctx context.Context, root string, kind kindSources) (layer, error) {
	l, err := tree(root, "")
	if err != nil {
		return nil, err
	}
	if err := l.remove(
		"dev/*", // engines make them
		"usr/lib/systemd/system/containerd.service",
		"usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
		"usr/lib/systemd/system/multi-user.target.wants/*",
		"usr/lib/systemd/system/local-fs.target.wants/*",
		"usr/lib/systemd/system/sockets.target.wants/*udev*",
		"usr/lib/systemd/system/sockets.target.wants/*initctl*",
		"usr/lib/systemd/system/basic.target.wants/*",
		"etc/systemd/system/*.wants/*",
		"etc/machine-id", // the entrypoint makes one for each node
	); err != nil {
		return nil, err
	}
	if err := kind.addFiles(l); err != nil {
		return nil, err
	}
	l.dirs("kind/manifests", "etc/kubernetes/manifests", "opt/cni/bin", "etc/cni/net.d")
	if err := l.enable("kubelet.service", "containerd.service", "undo-mount-hacks.service"); err != nil {
		return nil, err
	}
	l.symlink("etc/systemd/system/systemd-binfmt.service", "/dev/null")
	l.symlink("usr/sbin/init", "/usr/lib/systemd/systemd")
	journald, err := os.ReadFile(filepath.Join(root, "etc/systemd/journald.conf"))
	if err != nil {
		return nil, err
	}
	l.put("etc/systemd/journald.conf", 0o644, append(journald, "\nReadKMsg=no\n"...))
	// As new as everything else: systemd has nothing to bring up to date at a node's first boot.
	for _, dir := range []string{"etc", "var"} {
		l.put(dir+"/.updated", 0o644, fmt.Appendf(nil, "TIMESTAMP_NSEC=%d\n", epoch().UnixNano()))
	}
	spec, err := b.containerSpec(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("make the base specification of containers: %w", err)
	}
	l.put("etc/containerd/cri-base.json", 0o644, spec)
	return l, nil
}

// addFiles adds the files of Kind's base image.
func (k kindSources) addFiles(l layer) error {
	files := os.DirFS(filepath.Join(k.dir, "images", "base", "files"))
	edits := map[string][2]string{
		// Debian's package has it elsewhere.
		"etc/systemd/system/containerd.service": {"ExecStart=/usr/local/bin/containerd\n", "ExecStart=/usr/bin/containerd\n"},
		// A node whose engine may not raise priorities cannot start a critical pod otherwise.
		"etc/containerd/config.toml": {"restrict_oom_score_adj = false", "restrict_oom_score_adj = true"},
	}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if edit, ok := edits[name]; ok {
			delete(edits, name)
			if bytes.Count(content, []byte(edit[0])) != 1 {
				return fmt.Errorf("%s does not have the line %q once: this version of Kind needs other changes", name, edit[0])
			}
			content = bytes.Replace(content, []byte(edit[0]), []byte(edit[1]), 1)
		}
		perm := fs.FileMode(0o644)
		if dir := path.Dir(name); dir == "usr/local/bin" || dir == "kind/bin" {
			perm = 0o755
		}
		l.put(name, perm, content)
		return nil
	})
	if err != nil {
		return fmt.Errorf("add the files of Kind's base image: %w", err)
	}
	for name := range edits {
		return fmt.Errorf("add the files of Kind's base image: %s is not there: this version of Kind needs other changes", name)
	}
	return nil
}

// enable does what systemctl enable does with units that are wanted by targets.
func (l layer) enable(units ...string) error {
	for _, unit := range units {
		name := "etc/systemd/system/" + unit
		e, ok := l[name]
		wanted := regexp.MustCompile(`(?m)^WantedBy=(\S+)$`).FindSubmatch(e.data)
		if !ok || wanted == nil {
			return fmt.Errorf("enable %s: it is not there, or wanted by nothing", unit)
		}
		l.symlink("etc/systemd/system/"+string(wanted[1])+".wants/"+unit, "/"+name)
	}
	return nil
}

// containerSpec is containerd's default specification of a container, changed as Kind's Dockerfile does.
func (b *builder) containerSpec(ctx context.Context, root string) ([]byte, error) {
	out, err := b.run.Run(ctx, isolated(command.Cmd{Args: []string{"chroot", root, "ctr", "oci", "spec"}, Deadline: stepDeadline, Quiet: true}))
	if err != nil {
		return nil, err
	}
	var spec map[string]any
	if err := json.Unmarshal(out, &spec); err != nil {
		return nil, err
	}
	process, ok := spec["process"].(map[string]any)
	if !ok {
		return nil, errors.New("it has no process")
	}
	delete(process, "rlimits")
	spec["hooks"] = map[string]any{"createContainer": []any{map[string]any{"path": "/kind/bin/mount-product-files.sh"}}}
	return json.MarshalIndent(spec, "", "  ")
}

// storage are the constants of Kind's default storage class.
type storage struct{ manifest, provisioner, helper string }

func (k kindSources) storage() (storage, error) {
	file := filepath.Join(k.dir, "pkg", "build", "nodeimage", "const_storage.go")
	constants, err := stringConstants(file)
	if err != nil {
		return storage{}, fmt.Errorf("read Kind's default storage class: %w", err)
	}
	s := storage{constants["defaultStorageManifest"], constants["storageProvisionerImage"], constants["storageHelperImage"]}
	if s.manifest == "" || s.provisioner == "" || s.helper == "" {
		return storage{}, fmt.Errorf("read Kind's default storage class: %s does not have its constants", file)
	}
	return s, nil
}

// stringConstants returns the values of the string constants that a Go file declares, by name.
func stringConstants(file string) (map[string]string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, 0)
	if err != nil {
		return nil, err
	}
	pkg, err := new(types.Config).Check("p", fset, []*ast.File{f}, nil)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string)
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Val().Kind() == constant.String {
			values[name] = constant.StringVal(c.Val())
		}
	}
	return values, nil
}

// sandboxImage is the image of the container that holds a pod's namespaces, as containerd on the node is told.
func (l layer) sandboxImage() (string, error) {
	m := regexp.MustCompile(`(?m)^\s*sandbox_image = "(\S+)"$`).FindSubmatch(l["etc/containerd/config.toml"].data)
	if m == nil {
		return "", errors.New("containerd's configuration names no sandbox_image")
	}
	return strings.TrimSpace(string(m[1])), nil
}
