package controlplane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	assetsTimeout  = time.Minute
	assetsInterval = 20 * time.Millisecond
)

// supervisor lets a program live as long as its own standard input, as the controlplane binary does by itself, calls an
// end by the signal that it sends a good one, and then removes the directory that is its first argument, if that is not
// empty. The program's input is empty, as that of every background command of a shell is.
const supervisor = `dir=$1; shift
exec 3<&0
"$@" 3<&- & child=$!
(while read -r _ <&3; do :; done; kill "$child") & watcher=$!
wait "$child"; status=$?
kill "$watcher"
[ -z "$dir" ] || rm -rf "$dir"
[ "$status" -eq 143 ] && status=0
exit "$status"`

// assets are etcd and kube-apiserver as processes of their own, in a temporary directory.
type assets struct {
	dir             string
	etcd, apiserver *process
	once            sync.Once
	err             error
}

func startAssets(ctx context.Context, binaries string) (*Server, error) {
	s, err := tryAssets(ctx, binaries)
	if err != nil {
		return nil, fmt.Errorf("%s=%s: %w", EnvAssets, binaries, err)
	}
	return s, nil
}

func tryAssets(ctx context.Context, binaries string) (_ *Server, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, assetsTimeout, fmt.Errorf("not ready within %s", assetsTimeout))
	defer cancel()
	if binaries, err = filepath.Abs(binaries); err != nil {
		return nil, err
	}
	a := new(assets)
	if a.dir, err = os.MkdirTemp("", "controlplane-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.stop())
		}
	}()
	// Sockets are named relative to the working directory: a socket's path must be short.
	const client, peer = "unix://etcd.sock:2379", "unix://etcd.sock:2380"
	if a.etcd, err = supervise(a.dir, true, filepath.Join(binaries, "etcd"), "--data-dir=etcd", "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer); err != nil {
		return nil, err
	}
	token, err := a.writeSecrets()
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	if a.apiserver, err = supervise(a.dir, false, filepath.Join(binaries, "kube-apiserver"), "--etcd-servers="+client,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+strconv.Itoa(port), "--endpoint-reconciler-type=none",
		"--cert-dir=pki", "--token-auth-file=tokens.csv", "--service-account-key-file=serviceaccount.key", "--service-account-signing-key-file=serviceaccount.key",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
		"--allow-privileged=true", "--disable-admission-plugins=ServiceAccount"); err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(a.dir, "kubeconfig")
	cfg, err := a.await(ctx, kubeconfig, fmt.Sprintf("https://127.0.0.1:%d", port), token)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	return &Server{config: cfg, kubeconfig: kubeconfig, backend: a}, nil
}

// supervise starts a program in dir that stops when we let go of its process; last says to remove dir after that.
func supervise(dir string, last bool, program string, args ...string) (*process, error) {
	if _, err := os.Stat(program); err != nil {
		return nil, err // the shell would only say so when it is waited for
	}
	toRemove := ""
	if last {
		toRemove = dir
	}
	p, stdout, err := spawn(dir, "/bin/sh", append([]string{"-c", supervisor, filepath.Base(program), toRemove, program}, args...))
	if err != nil {
		return nil, err
	}
	_ = stdout.Close() // neither program writes to it
	return p, nil
}

// writeSecrets makes the key that signs service accounts' tokens, and the administrator's token.
func (a *assets) writeSecrets() (token string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(a.dir, "serviceaccount.key"), keyPEM, 0o600); err != nil {
		return "", err
	}
	token = rand.Text()
	return token, os.WriteFile(filepath.Join(a.dir, "tokens.csv"), []byte(token+`,admin,admin,"system:masters"`+"\n"), 0o600)
}

// await returns a configuration for the API server as soon as that is ready, which includes having made the certificate
// that its clients must trust.
func (a *assets) await(ctx context.Context, kubeconfig, url, token string) (*rest.Config, error) {
	tick := time.NewTicker(assetsInterval)
	defer tick.Stop()
	for {
		cfg, err := a.probe(ctx, kubeconfig, url, token)
		if err == nil {
			return cfg, nil
		}
		select {
		case <-tick.C:
		case <-a.etcd.done():
			return nil, a.etcd.wait()
		case <-a.apiserver.done():
			return nil, a.apiserver.wait()
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

func (a *assets) probe(ctx context.Context, kubeconfig, url, token string) (*rest.Config, error) {
	cert, err := os.ReadFile(filepath.Join(a.dir, "pki", "apiserver.crt"))
	if err != nil {
		return nil, err
	}
	const name = "controlplane"
	c := clientcmdapi.NewConfig()
	c.Clusters[name] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: cert}
	c.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	c.CurrentContext = name
	if err := clientcmd.WriteToFile(*c, kubeconfig); err != nil {
		return nil, err
	}
	cfg, err := loadConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := get(ctx, cfg, "/readyz"); err != nil {
		return nil, err
	}
	return cfg, get(ctx, cfg, "/api/v1/namespaces/default")
}

func (a *assets) stop() error {
	a.once.Do(func() {
		for _, p := range []*process{a.apiserver, a.etcd} { // in this order: the API server would wait for etcd in vain
			if p != nil {
				a.err = errors.Join(a.err, p.stop())
			}
		}
		_ = os.RemoveAll(a.dir) // the supervisor's work, unless etcd was never started
	})
	return a.err
}

// done is about the API server only: it ends when etcd does not answer any more.
func (a *assets) done() <-chan struct{} { return a.apiserver.done() }

// freePort returns a port that nobody had a moment ago; kube-apiserver cannot choose one and tell.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
