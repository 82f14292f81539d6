// Command controlplane runs etcd, kube-apiserver and the controllers of kube-controller-manager in one process: a real
// Kubernetes API without containers, nodes or root. There is no scheduler and no kubelet, so pods stay Pending unless
// somebody writes their status.
//
// Once the API answers, one line of JSON is written to standard output:
//
//	{"ready":true,"url":"https://127.0.0.1:34567","kubeconfig":"/path/kubeconfig"}
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"kubernaut.ai/kubernaut/controlplane/internal/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var o cluster.Options
	fs := pflag.NewFlagSet("controlplane", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	o.AddFlags(fs)
	withStdin := fs.Bool("stop-with-stdin", false, "stop when standard input ends; a parent that holds the other end of a pipe cannot leak the server, however it dies")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see --help", fs.Arg(0))
	}
	if *withStdin {
		go func() {
			_, _ = io.Copy(io.Discard, stdin)
			cancel()
		}()
	}
	return cluster.Run(ctx, o, func(r cluster.Ready) error { return json.NewEncoder(stdout).Encode(r) })
}
