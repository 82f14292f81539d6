// Command e2e runs the end-to-end suites and what belongs to them: see e2e help.
package main

import (
	"os"

	"kubernaut.ai/kubernaut/test/infrastructure/e2ecli"
)

func main() {
	os.Exit(e2ecli.Main(os.Args[1:], e2ecli.Streams{Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}))
}
