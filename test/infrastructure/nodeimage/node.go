package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

func nodeDebian() debian { return debian{name: "debian", packages: nodePackages()} }

// nodeProgramSets are all programs that a node is made of.
func nodeProgramSets() []goPrograms {
	return []goPrograms{kubernetesPrograms(), localPathPrograms(), cniPrograms(), corednsPrograms(), ownProgram("cnid"), ownProgram("pause")}
}

// preloadKey is over what the images on a node are made from.
func (b *builder) preloadKey(ctx context.Context) (string, error) {
	k := newDigest("preload")
	root, err := nodeDebian().key(b.arch)
	if err != nil {
		return "", err
	}
	kind, err := b.kindKey()
	if err != nil {
		return "", err
	}
	k.add("root", root)
	k.add("kind", kind)
	for _, p := range nodeProgramSets() {
		key, err := b.goKey(ctx, p)
		if err != nil {
			return "", err
		}
		k.add(p.name, key)
	}
	return k.key("preload.go", "components.go", "elf.go", "layer.go", "archive.go")
}

// nodeKey is over all that a node image is made from.
func (b *builder) nodeKey(ctx context.Context) (string, error) {
	preload, err := b.preloadKey(ctx)
	if err != nil {
		return "", err
	}
	k := newDigest("node")
	k.add("preload", preload) // all other inputs are inputs of that, too
	return k.key("node.go", "tree_linux.go", "default-cni.yaml")
}

// buildNode builds the node image and gives it to the engine.
func (b *builder) buildNode(ctx context.Context, ref, key string) error {
	p, kind, err := b.nodeParts(ctx)
	if err != nil {
		return err
	}
	bottom, err := b.nodeBase(ctx, p.root, kind)
	if err != nil {
		return err
	}
	if p.sandboxImage, err = bottom.sandboxImage(); err != nil {
		return err
	}
	preloadKey, err := b.preloadKey(ctx)
	if err != nil {
		return err
	}
	preloaded, err := b.get(ctx, "preload", preloadKey, func(ctx context.Context, dir string) error {
		images, err := b.componentImages(ctx, p)
		if err != nil {
			return err
		}
		return b.preload(ctx, p.root, dir, images)
	})
	if err != nil {
		return err
	}
	programs, err := nodePrograms(p)
	if err != nil {
		return err
	}
	top, err := tree(preloaded, "var/lib/containerd")
	if err != nil {
		return err
	}
	if err := top.addManifests(p); err != nil {
		return err
	}
	return b.load(ctx, imageSpec{ref: ref, created: b.now(), layers: []layer{bottom, programs, top}, config: imageConfig{
		Env: []string{"container=docker"}, Entrypoint: []string{"/usr/local/bin/entrypoint", "/sbin/init"}, StopSignal: "SIGRTMIN+3",
		Labels: labels(key),
	}})
}

// nodeParts makes the parts of a node: the packages, which come over the network mostly, while the programs are compiled,
// one set after the other, since each uses all processors.
func (b *builder) nodeParts(ctx context.Context) (parts, kindSources, error) {
	var (
		p    parts
		kind kindSources
		dirs = make(map[string]string)
	)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		p.root, err = b.debianRoot(gctx, nodeDebian())
		return err
	})
	g.Go(func() (err error) {
		if kind, err = b.kindDir(gctx); err != nil {
			return err
		}
		for _, set := range nodeProgramSets() {
			if dirs[set.name], err = b.build(gctx, set); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return parts{}, kindSources{}, err
	}
	p.kubernetes, p.coredns, p.localPath, p.cni = dirs["kubernetes"], dirs["coredns"], dirs["localpath"], dirs["cni"]
	p.cnid, p.pause = dirs["cnid"], dirs["pause"]
	p.cnidImage = "localhost/kubernaut-e2e-cnid:" + strings.TrimPrefix(filepath.Base(p.cnid), "cnid-")
	mod, err := os.ReadFile(filepath.Join(b.source, kubernetesPrograms().dir, "go.mod"))
	if err != nil {
		return parts{}, kindSources{}, err
	}
	if p.version, _, _, err = kubernetesVersion(mod); err != nil {
		return parts{}, kindSources{}, err
	}
	if p.storage, err = kind.storage(); err != nil {
		return parts{}, kindSources{}, err
	}
	return p, kind, nil
}

// nodePrograms is the layer of the programs that run on a node itself.
func nodePrograms(p parts) (layer, error) {
	l := make(layer)
	for dir, names := range map[string][]string{
		p.kubernetes: {"kubeadm", "kubelet", "kubectl"},
		p.cni:        {"host-local", "loopback", "ptp", "portmap"},
	} {
		to := "usr/bin/"
		if dir == p.cni {
			to = "opt/cni/bin/"
		}
		for _, name := range names {
			if err := l.program(to+name, filepath.Join(dir, name)); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// addManifests adds what Kind applies to a new cluster, and the version that it reads.
func (l layer) addManifests(p parts) error {
	const placeholder = "CNID_IMAGE"
	cni, err := recipe.ReadFile("default-cni.yaml")
	if err != nil {
		return err
	}
	if strings.Count(string(cni), placeholder) != 1 {
		return fmt.Errorf("default-cni.yaml does not have %s once", placeholder)
	}
	l.put("kind/manifests/default-cni.yaml", 0o644, []byte(strings.Replace(string(cni), placeholder, p.cnidImage, 1)))
	l.put("kind/manifests/default-storage.yaml", 0o644, []byte(p.storage.manifest))
	l.put("kind/version", 0o644, []byte(p.version))
	return nil
}
