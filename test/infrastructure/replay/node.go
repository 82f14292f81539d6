package replay

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const containerdConfig = `version = 3
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
`

// exec plays a program in a container, of a node mostly.
func (c *call) exec(args []string) (int, error) {
	_, rest := flags(args, "env", "e")
	name, command := rest[0], rest[1:]
	n, err := c.find(name)
	switch {
	case err != nil:
		return 0, err
	case n == nil:
		return c.noSuch(name), nil
	case !n.Running && c.docker():
		return c.refuse(1, "Error response from daemon: container %s is not running", n.ID[:12]), nil
	case !n.Running:
		return c.refuse(255, "Error: can only create exec sessions on running containers: container state improper"), nil
	}
	if command[0] == "sh" {
		return c.shell(name, command)
	}
	return c.inNode(name, command)
}

// envNode tells a program in a node which node it is in.
const envNode = "E2E_REPLAY_NODE"

// shell runs a script, whose programs are those of a node.
func (c *call) shell(node string, command []string) (int, error) {
	sh := exec.Command("/bin/sh", command[1:]...)
	sh.Stdin, sh.Stdout, sh.Stderr = c.in, c.out, c.errs
	sh.Env = append(os.Environ(), "PATH="+filepath.Join(c.world.Dir, nodeBin)+":/usr/bin:/bin", envNode+"="+node)
	if err := sh.Run(); sh.ProcessState == nil {
		return 0, err
	}
	return sh.ProcessState.ExitCode(), nil
}

// inNode plays a program in a node.
func (c *call) inNode(name string, command []string) (int, error) {
	line := strings.Join(command, " ")
	switch {
	case command[0] == "/probe":
		fmt.Fprintln(c.out, command[2])
	case line == "cat /kind/version":
		fmt.Fprintln(c.out, "v1.34.0")
	case line == "cat /kind/manifests/default-cni.yaml", line == "cat /kind/manifests/default-storage.yaml":
		fmt.Fprintln(c.out, "{}")
	case line == "cat /etc/kubernetes/admin.conf":
		content, err := os.ReadFile(filepath.Join(c.world.Dir, adminFile))
		if err != nil {
			return 0, err
		}
		_, err = c.out.Write(content)
		return 0, err
	case line == "containerd config dump":
		fmt.Fprint(c.out, containerdConfig)
	case command[0] == "journalctl":
		fmt.Fprintln(c.out, "Nov 27 18:00:00 node systemd[1]: Started kubelet.service")
	case strings.HasPrefix(line, "ctr --namespace=k8s.io images import"):
		return c.importArchive(name)
	case strings.HasPrefix(line, "ctr --namespace=k8s.io images check"):
		return 0, c.checkImages(name, command[4:])
	case strings.HasPrefix(line, "ctr --namespace=k8s.io content get"):
		fmt.Fprintf(c.out, `{"config":{"digest":%q}}`+"\n", command[4])
	case strings.HasPrefix(line, "ctr --namespace k8s.io images list"), strings.HasPrefix(line, "ctr --namespace=k8s.io images list"):
		return 0, c.world.change(func(s *state) error {
			for ref := range s.Node[name].Images {
				fmt.Fprintln(c.out, ref)
			}
			return nil
		})
	default: // kubeadm, kubectl, cp, mkdir and such
		if strings.Contains(line, "/dev/stdin") || strings.HasSuffix(line, " -") {
			_, err := io.Copy(io.Discard, c.in)
			return 0, err
		}
	}
	return 0, nil
}

// importArchive reads a docker-archive and puts its image on a node.
func (c *call) importArchive(node string) (int, error) {
	archive := tar.NewReader(c.in)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return c.refuse(1, "ctr: unrecognized image format"), nil
		}
		if err != nil {
			return c.refuse(1, "ctr: archive/tar: %v", err), nil
		}
		if h.Name != "manifest.json" {
			continue
		}
		var images []struct {
			Config   string
			RepoTags []string
		}
		if err := json.NewDecoder(archive).Decode(&images); err != nil {
			return c.refuse(1, "ctr: %v", err), nil
		}
		if _, err := io.Copy(io.Discard, c.in); err != nil {
			return 0, err
		}
		return 0, c.world.change(func(s *state) error {
			n, ok := s.Node[node]
			if !ok || n.Images == nil {
				n.Images = map[string]string{}
			}
			for _, i := range images {
				for _, tag := range i.RepoTags {
					n.Images[tag] = strings.TrimSuffix(i.Config, ".json")
					fmt.Fprintln(c.out, "saved "+tag)
				}
			}
			s.Node[node] = n
			return nil
		})
	}
}

func (c *call) checkImages(node string, filters []string) error {
	fmt.Fprintln(c.out, "REF TYPE DIGEST STATUS SIZE UNPACKED")
	return c.world.change(func(s *state) error {
		for _, f := range filters {
			ref := strings.TrimPrefix(f, "name==")
			if id, ok := s.Node[node].Images[ref]; ok {
				fmt.Fprintf(c.out, "%s application/vnd.docker.distribution.manifest.v2+json sha256:%s complete (2/2) 1.0 MiB/1.0 MiB true\n", ref, id)
			}
		}
		return nil
	})
}
