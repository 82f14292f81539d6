package nodeimage

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

const stepDeadline = 2 * time.Minute // of a program that takes a second

// parts is where the results of the steps are that a node is made of, and what its images are called.
type parts struct {
	root                                             string // of Debian packages
	kubernetes, coredns, localPath, cni, cnid, pause string // directories of programs
	version                                          string // of Kubernetes
	storage                                          storage
	sandboxImage, cnidImage                          string
}

// componentImages are the images that kubeadm and Kind start on a node.
func (b *builder) componentImages(ctx context.Context, p parts) ([]imageSpec, error) {
	names, err := b.kubeadmImages(ctx, p)
	if err != nil {
		return nil, err
	}
	var images []imageSpec
	for _, one := range []struct{ ref, dir, program string }{
		{names["kube-apiserver"], p.kubernetes, "kube-apiserver"},
		{names["kube-controller-manager"], p.kubernetes, "kube-controller-manager"},
		{names["kube-scheduler"], p.kubernetes, "kube-scheduler"},
		{names["etcd"], p.kubernetes, "etcd"},
		{names["coredns"], p.coredns, "coredns"},
		{p.cnidImage, p.cnid, "cnid"},
		{p.storage.provisioner, p.localPath, "local-path-provisioner"},
		{p.sandboxImage, p.pause, "pause"},
	} {
		l := base()
		if err := l.program("usr/local/bin/"+one.program, filepath.Join(one.dir, one.program)); err != nil {
			return nil, err
		}
		images = append(images, component(one.ref, l, "/usr/local/bin/"+one.program))
	}
	helper := base()
	if err := b.addBusybox(ctx, helper, p.root); err != nil {
		return nil, err
	}
	proxy, err := proxyLayer(p)
	if err != nil {
		return nil, fmt.Errorf("collect what kube-proxy runs: %w", err)
	}
	return append(images, component(p.storage.helper, helper), component(names["kube-proxy"], proxy, "/usr/local/bin/kube-proxy")), nil
}

func component(ref string, l layer, entrypoint ...string) imageSpec {
	const search = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	return imageSpec{ref: ref, created: epoch(), layers: []layer{l}, config: imageConfig{Env: []string{search}, Entrypoint: entrypoint}}
}

// base is a file system with a user and a place for temporary files.
func base() layer {
	l := make(layer)
	l.put("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/sbin/nologin\n"))
	l.put("etc/group", 0o644, []byte("root:x:0:\n"))
	l.sticky("tmp")
	return l
}

// kubeadmImages returns the references under which kubeadm looks for images, by their last names.
func (b *builder) kubeadmImages(ctx context.Context, p parts) (map[string]string, error) {
	out, err := b.run.Run(ctx, command.Cmd{
		Name: filepath.Join(p.kubernetes, "kubeadm"), Args: []string{"config", "images", "list", "--kubernetes-version", p.version}, Deadline: stepDeadline,
	})
	if err != nil {
		return nil, err
	}
	names := make(map[string]string)
	for ref := range strings.FieldsSeq(string(out)) {
		name, _, _ := strings.Cut(path.Base(ref), ":")
		names[name] = ref
	}
	for _, want := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns"} {
		if names[want] == "" {
			return nil, fmt.Errorf("kubeadm names no image of %s: %q", want, out)
		}
	}
	return names, nil
}

// addBusybox adds busybox under all its names that are not there yet.
func (b *builder) addBusybox(ctx context.Context, l layer, root string) error {
	const name = "usr/bin/busybox"
	program := filepath.Join(root, name)
	if err := l.program(name, program); err != nil {
		return err
	}
	out, err := b.run.Run(ctx, command.Cmd{Name: program, Args: []string{"--list"}, Deadline: stepDeadline, Quiet: true})
	if err != nil {
		return err
	}
	l.symlink("bin", "usr/bin")
	for applet := range strings.FieldsSeq(string(out)) {
		if link := path.Join(path.Dir(name), applet); l[link].mode == 0 {
			l.symlink(link, path.Base(name))
		}
	}
	return nil
}

// proxyStart points iptables to those tables that the kubelet uses, which leaves a chain there as a hint, and becomes kube-proxy.
const proxyStart = `#!/usr/bin/busybox sh
mode=legacy
if xtables-nft-multi iptables-save -t mangle 2>/dev/null | busybox grep -qE '^:KUBE-(IPTABLES-HINT|KUBELET-CANARY) '; then
	mode=nft
elif ! xtables-legacy-multi iptables -t nat -S >/dev/null 2>&1; then
	mode=nft
fi
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
	busybox ln -sf xtables-$mode-multi /usr/sbin/$name
done
exec /usr/local/bin/kube-proxy.real "$@"
`

// proxyLayer is kube-proxy and what it calls: iptables with every extension, which are loaded by name, nft, conntrack and
// modprobe. Without one extension, traffic to Services is not translated.
func proxyLayer(p parts) (layer, error) {
	programs := []string{
		"usr/sbin/xtables-legacy-multi", "usr/sbin/xtables-nft-multi", "usr/sbin/nft", "usr/sbin/conntrack", "usr/bin/kmod", "usr/bin/busybox",
	}
	extensions, err := filepath.Glob(filepath.Join(p.root, "usr/lib/*/xtables/*.so"))
	if err != nil {
		return nil, err
	}
	if len(extensions) == 0 {
		return nil, fmt.Errorf("no extensions of iptables below %s", p.root)
	}
	for _, e := range extensions {
		rel, err := filepath.Rel(p.root, e)
		if err != nil {
			return nil, err
		}
		programs = append(programs, filepath.ToSlash(rel))
	}
	l := base()
	if err := l.addPrograms(p.root, programs...); err != nil {
		return nil, err
	}
	l.symlink("usr/sbin/modprobe", "../bin/kmod")
	l.dirs("run", "proc", "sys", "dev")
	if err := l.program("usr/local/bin/kube-proxy.real", filepath.Join(p.kubernetes, "kube-proxy")); err != nil {
		return nil, err
	}
	l.put("usr/local/bin/kube-proxy", 0o755, []byte(proxyStart))
	return l, nil
}
