package cluster

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	looking  = 50 * time.Millisecond
	patience = 30 * time.Second
	// settled is how long no program of Kind's must have been seen before there is none.
	settled = 3
)

// reapUntil ends the programs that Kind runs until its call returns, and reports whether it did.
func reapUntil(ended <-chan struct{}) bool {
	tick := time.NewTicker(looking)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	var r reaper
	for {
		r.look(syscall.SIGTERM)
		select {
		case <-ended:
			reapAll()
			return true
		case <-late.C:
			return false
		case <-tick.C:
		}
	}
}

// reapAll ends the programs that Kind's last call left running, and returns when none is left.
func reapAll() {
	var r reaper
	end := time.Now().Add(patience)
	for quiet := 0; quiet < settled && time.Now().Before(end); {
		sig := syscall.SIGTERM
		if time.Until(end) < patience/2 {
			sig = syscall.SIGKILL
		}
		if quiet++; r.look(sig) > 0 {
			quiet = 0
		}
		time.Sleep(looking)
	}
}

// reaper ends children of this process that are in its own process group. Only Kind's are: a program that package command
// runs has a group of its own. A child gets that one when it starts, so a process is ended only when it was seen in ours
// twice.
type reaper struct {
	seen map[int]bool
}

// look ends those that it saw before and returns how many children there are.
func (r *reaper) look(sig syscall.Signal) int {
	found := children(os.Getpid(), syscall.Getpgrp())
	now := make(map[int]bool, len(found))
	for _, pid := range found {
		now[pid] = true
		if r.seen[pid] {
			_ = syscall.Kill(pid, sig) // the error says that it has ended
		}
	}
	r.seen = now
	return len(found)
}

// children lists the processes of a parent in a group, those aside that have ended.
func children(parent, group int) []int {
	if entries, err := os.ReadDir("/proc"); err == nil && len(entries) > 0 {
		var found []int
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil {
				continue
			}
			stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
			if err != nil {
				continue
			}
			// The name, in parentheses, may hold anything; after it come state, parent and group.
			fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
			if len(fields) > 2 && fields[0] != "Z" && fields[1] == strconv.Itoa(parent) && fields[2] == strconv.Itoa(group) {
				found = append(found, pid)
			}
		}
		return found
	}
	return childrenByPS(parent, group)
}

// childrenByPS is children for systems without /proc.
func childrenByPS(parent, group int) []int {
	cmd := exec.Command("ps", "-A", "-o", "pid=,ppid=,pgid=,stat=") //nolint:noctx // it takes milliseconds
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, _ := cmd.Output() // without an answer nothing is ended, and the call of Kind's runs to its end
	var found []int
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 4 || f[1] != strconv.Itoa(parent) || f[2] != strconv.Itoa(group) || strings.HasPrefix(f[3], "Z") {
			continue
		}
		if pid, err := strconv.Atoi(f[0]); err == nil {
			found = append(found, pid)
		}
	}
	return found
}
