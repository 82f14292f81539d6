// Command fake is every program that the harness calls, on a machine that package replay plays.
package main

import (
	"os"

	"kubernaut.ai/kubernaut/test/infrastructure/replay"
)

func main() { os.Exit(replay.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, os.Getenv)) }
