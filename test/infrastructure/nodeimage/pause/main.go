// Command pause holds the namespaces of a pod: it does nothing until it is told to end, and collects the processes whose
// parents have ended where it is the first one of the pod.
package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	reap() // those that ended before
	for {
		select {
		case <-end:
			return
		case <-children:
			reap()
		}
	}
}

// reap collects all children that have ended: one signal can stand for many.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
