// Command aianalysis is the controller of AIAnalysis resources.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"kubernaut.ai/kubernaut/internal/app/aianalysis"
	"kubernaut.ai/kubernaut/internal/config"
)

// version is set by the linker; without it the build's own information is shown.
var version string

func main() {
	// The second signal ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("aianalysis", flag.ContinueOnError)
	fs.SetOutput(stderr)
	flags := config.BindAIAnalysis(fs)
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	cfg, err := flags.Load(os.Getenv)
	if err == nil && flags.PrintConfig {
		err = config.Print(stdout, cfg)
	} else if err == nil {
		err = aianalysis.Run(ctx, cfg, aianalysis.Options{Stderr: stderr, Version: buildVersion(), PodNamespace: os.Getenv("POD_NAMESPACE")})
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "aianalysis:", err)
		return 1
	}
	return 0
}

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if version != "" || !ok {
		return version
	}
	return info.Main.Version
}
