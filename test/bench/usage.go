package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc.
const tick = 10 * time.Millisecond

// sample is what the controller has used so far.
type sample struct {
	cpu    time.Duration
	writes float64
	memory memory
}

// settled is sample, once the controller has written all that it announces in the background: those
// writes belong to the load, too.
func (p *process) settled(ctx context.Context) (sample, error) {
	const quiet = time.Second
	last, err := p.sample()
	for err == nil {
		select {
		case <-time.After(quiet):
		case <-ctx.Done():
			return last, ctx.Err()
		}
		next, err := p.sample()
		if err != nil || next.writes == last.writes {
			return next, err
		}
		last = next
	}
	return last, err
}

func (p *process) sample() (sample, error) {
	var s sample
	_, cpu, err := processStat(fmt.Sprint(p.command.Process.Pid))
	if err != nil {
		return s, err
	}
	s.cpu = cpu
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			s.memory.resident = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			s.memory.peak = kib << 10
		}
	}
	s.writes, err = p.writeRequests()
	return s, err
}

// writeRequests returns the number of requests to the API server that write.
func (p *process) writeRequests() (float64, error) {
	resp, err := http.Get(p.metrics)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var sum float64
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "rest_client_requests_total{") || strings.Contains(line, `method="GET"`) {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, lines.Err()
}

// processStat returns the parent of a process and its processor time.
func processStat(pid string) (parent string, cpu time.Duration, err error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return "", 0, err
	}
	// After the command's name, which may hold anything, come the state, the parent and so on.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	cpu, err = ticks(fields[11:13])
	return fields[1], cpu, err
}

func ticks(fields []string) (time.Duration, error) {
	var sum time.Duration
	for _, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// used is the processor time that was used so far.
type used struct {
	ours    time.Duration // by this process and those that it started
	machine time.Duration // by all
}

func usage() (used, error) {
	var u used
	line, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	all := strings.Fields(string(line[:strings.IndexByte(string(line), '\n')])) // cpu user nice system idle iowait irq softirq …
	if u.machine, err = ticks(append(append([]string(nil), all[1:4]...), all[6:8]...)); err != nil {
		return u, err
	}
	self := fmt.Sprint(os.Getpid())
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return u, err
	}
	for _, dir := range dirs {
		pid := filepath.Base(dir)
		parent, cpu, err := processStat(pid)
		if err == nil && (pid == self || parent == self) { // others come and go
			u.ours += cpu
		}
	}
	return u, nil
}
