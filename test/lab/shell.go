package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

// prelude is what the scripts of incidents can call beside kubectl, whose namespace is the incident's: on NODE COMMAND…, with a
// node's name without that of the cluster; await SECONDS WANT KUBECTL-ARGUMENTS…, which waits until the output holds WANT; and
// certificate HOST DURATION SECRET, which makes a TLS Secret.
const prelude = `set -euo pipefail
on() { local node=$1; shift; "$ENGINE" exec "$CLUSTER-$node" "$@"; }
await() {
  local until=$((SECONDS + $1)) want=$2; shift 2
  while ! kubectl "$@" 2>&1 | grep -qF -- "$want"; do
    if ((SECONDS > until)); then echo "kubectl $*: no $want" >&2; kubectl "$@" >&2; return 1; fi
    sleep 1
  done
}
certificate() {
  local dir; dir=$(mktemp -d)
  actor "cert=$1,$2,$dir" done >&2
  kubectl create secret tls "$3" --cert="$dir/tls.crt" --key="$dir/tls.key" --dry-run=client -o yaml | kubectl apply -f - >&2
  base64 -w0 <"$dir/tls.crt"; rm -r "$dir"
}
`

// shell is where the commands for an incident run.
type shell struct{ env []string }

// shell returns one whose kubectl has a namespace.
func (l *lab) shell(namespace string) (*shell, func(), error) {
	config, err := l.kubeconfig()
	if err != nil {
		return nil, nil, err
	}
	c, err := clientcmd.LoadFromFile(config)
	if err != nil {
		return nil, nil, err
	}
	c.Contexts[c.CurrentContext].Namespace = namespace
	dir, err := os.MkdirTemp("", "kubernaut-lab-")
	if err != nil {
		return nil, nil, err
	}
	drop := func() { os.RemoveAll(dir) }
	file := filepath.Join(dir, "config")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		drop()
		return nil, nil, err
	}
	tools, err := l.tools()
	if err != nil {
		drop()
		return nil, nil, err
	}
	engine := l.getenv("E2E_RUNTIME")
	if engine == "" {
		engine = "podman"
	}
	env := append(os.Environ(), "KUBECONFIG="+file, "PATH="+tools+":"+l.getenv("PATH"), "ENGINE="+engine, "CLUSTER="+name, "NS="+namespace)
	return &shell{env: env}, drop, nil
}

// run runs a script and returns what it wrote.
func (s *shell) run(ctx context.Context, script string) (string, error) {
	return s.command(ctx, "", "bash", "-c", prelude+script)
}

func (s *shell) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	return s.command(ctx, stdin, "kubectl", args...)
}

func (s *shell) command(ctx context.Context, stdin, program string, args ...string) (string, error) {
	path := program
	for _, e := range s.env {
		if dirs, ok := strings.CutPrefix(e, "PATH="); ok && program == "kubectl" {
			path = filepath.Join(strings.Split(dirs, ":")[0], program)
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = s.env
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String() + stderr.String(), fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args[:min(1, len(args))], " "), err, stderr.String())
	}
	return stdout.String(), nil
}
