// Command scenarios measures the engine on the scenarios beside it: see scenarios -help.
package main

import (
	"os"

	"kubernaut.ai/kubernaut/test/scenarios"
)

func main() { os.Exit(scenarios.Main(os.Args[1:], os.Stdout, os.Stderr)) }
