// Command pgstart is the entrypoint of the PostgreSQL image: it makes a database cluster where there is none yet, as the
// official image does from the same variables, and becomes the server.
package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	argv, err := prepare(os.Args[1:], os.Getenv, run)
	if err == nil {
		err = syscall.Exec(argv[0], argv, os.Environ()) //nolint:gosec // what it runs is what the container was told
	}
	fmt.Fprintln(os.Stderr, "pgstart:", err)
	os.Exit(1)
}
