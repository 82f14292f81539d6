package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// sendSignal sends a signal to the processes of one Pod that have a certain name. It runs among the
// host's processes.
func sendSignal(_ context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	set := flag.NewFlagSet("signal", flag.ContinueOnError)
	set.SetOutput(stderr)
	pod := set.String("pod", "", "`uid` of the Pod")
	comm := set.String("comm", "", "`name` of the process, as in /proc/PID/comm")
	number := set.Int("signal", int(syscall.SIGKILL), "`number` of the signal")
	proc := set.String("proc", "/proc", "`directory` of the processes")
	if err := set.Parse(args); err != nil {
		return 2, nil //nolint:nilerr // the flag set has said what is wrong
	}
	if *pod == "" || *comm == "" {
		return 2, errors.New("-pod and -comm are needed")
	}
	pids, err := processes(*proc, *pod, *comm)
	if err != nil {
		return 1, err
	}
	if len(pids) == 0 {
		return 1, fmt.Errorf("no process %[2]s in Pod %[1]s", *pod, *comm)
	}
	for _, pid := range pids {
		err := syscall.Kill(pid, syscall.Signal(*number))
		if errors.Is(err, syscall.ESRCH) {
			continue // the end of a container's first process is that of the others
		}
		if err != nil {
			return 1, fmt.Errorf("signal %d to %d: %w", *number, pid, err)
		}
		fmt.Fprintf(stdout, "signal %d sent to process %d\n", *number, pid)
	}
	return 0, nil
}

// maxComm is how much of a name the kernel keeps.
const maxComm = 15

// processes returns the processes of a Pod with a name. A Pod's cgroup carries its uid, with dashes
// or, where systemd manages cgroups, with underscores.
func processes(proc, pod, comm string) ([]int, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	comm = comm[:min(len(comm), maxComm)]
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process may end at any time; then it is not the one.
		name, err1 := os.ReadFile(filepath.Join(proc, e.Name(), "comm"))
		groups, err2 := os.ReadFile(filepath.Join(proc, e.Name(), "cgroup"))
		if err1 != nil || err2 != nil || strings.TrimSpace(string(name)) != comm {
			continue
		}
		if g := string(groups); strings.Contains(g, pod) || strings.Contains(g, strings.ReplaceAll(pod, "-", "_")) {
			found = append(found, pid)
		}
	}
	return found, nil
}
