package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"text/tabwriter"
	"time"

	"kubernaut.ai/kubernaut/internal/approval"
	"kubernaut.ai/kubernaut/internal/incident"
)

// report is all that was measured.
type report struct {
	policy policyResult
	burst  result
	mixed  mixedResult
	steady result
	memory memory
}

// policyResult is the cost of evaluating the policy.
type policyResult struct {
	rate float64       // a second, on one goroutine
	cpu  time.Duration // each
}

// measurePolicy evaluates the policy for a second.
func measurePolicy(ctx context.Context, file string) (policyResult, error) {
	e, err := approval.Load(file, approval.Options{})
	if err != nil {
		return policyResult{}, err
	}
	yes, confidence := true, 0.92
	in := approval.Input{
		SignalType: "OOMKilled", Severity: "critical", Environment: "production", BusinessPriority: "P1",
		TargetResource: incident.Ref{Kind: "Pod", Name: "web", Namespace: "shop"}, DetectedLabels: &incident.DetectedLabels{PDBProtected: true},
		Confidence: &confidence, TargetInOwnerChain: &yes, WorkflowID: "raise-memory", RootCauseSeverity: incident.SeverityHigh,
	}
	before, err := ownCPU()
	if err != nil {
		return policyResult{}, err
	}
	n := 0
	start := time.Now()
	for time.Since(start) < time.Second {
		if _, err := e.Evaluate(ctx, in); err != nil {
			return policyResult{}, err
		}
		n++
	}
	took := time.Since(start)
	after, err := ownCPU()
	return policyResult{rate: float64(n) / took.Seconds(), cpu: (after - before) / time.Duration(n)}, err
}

// ownCPU is the CPU time of this process.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

func (r report) write(out io.Writer) error {
	const mebi = 1 << 20
	host, _ := os.Hostname()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...any) {
		for _, c := range cells {
			_, _ = fmt.Fprintf(table, "%v\t", c)
		}
		_, _ = fmt.Fprintln(table)
	}
	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	_, _ = fmt.Fprintf(out, "\ncontroller on a real API server, all on one machine (%s)\n\n", host)
	row("load", "analyses", "per second", "p50", "p99", "API writes", "controller CPU", "all CPU", "others", "RSS MiB", "peak MiB")
	line := func(name string, r result, rate bool) {
		perSecond := "-"
		if rate {
			perSecond = fmt.Sprintf("%.1f", r.rate())
		}
		row(name, r.count, perSecond, ms(r.percentile(50)), ms(r.percentile(99)), fmt.Sprintf("%.1f", r.writes),
			fmt.Sprintf("%.2fms", milli(r.cpu)), fmt.Sprintf("%.1fms", milli(r.allCPU)), fmt.Sprintf("%.1f", r.others),
			r.memory.resident/mebi, r.memory.peak/mebi)
	}
	line("burst, answered at once", r.burst, true)
	line("burst, 1 in 10 slow: the others", r.mixed.fast, false)
	line("burst, 1 in 10 slow: the slow", r.mixed.slow, false)
	line("half of the maximum rate", r.steady, true)
	if r.memory.resident > 0 {
		row("with the finished resources", "", "", "", "", "", "", "", "", r.memory.resident/mebi, r.memory.peak/mebi)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, `
CPU is that of one analysis: of the controller, and of all that the load needs (controller, API server and
etcd, Data Storage, the load itself). "others" is how many of the %d processors were busy with something else.
`, runtime.NumCPU())
	_, _ = fmt.Fprintf(out, "\napproval policy: %.0f evaluations a second, %.3fms of CPU each\n\n", r.policy.rate, float64(r.policy.cpu.Nanoseconds())/1e6)
	return r.benchmarks(out)
}

// benchmarks writes the figures in the format of Go's benchmarks.
func (r report) benchmarks(out io.Writer) error {
	var errs []error
	line := func(name string, r result, rate bool) {
		_, err := fmt.Fprintf(out, "Benchmark%s\t%8d\t%.0f ns/op\t%.1f p50-ms\t%.1f p99-ms\t%.1f writes/op\t%.2f cpu-ms/op\t%.1f all-cpu-ms/op\t%.1f others-cpus",
			name, r.count, float64(r.took.Nanoseconds())/float64(max(r.count, 1)), milli(r.percentile(50)), milli(r.percentile(99)), r.writes, milli(r.cpu), milli(r.allCPU), r.others)
		errs = append(errs, err)
		if rate {
			_, err = fmt.Fprintf(out, "\t%.1f analyses/s", r.rate())
			errs = append(errs, err)
		}
		_, err = fmt.Fprintln(out)
		errs = append(errs, err)
	}
	line("Burst", r.burst, true)
	line("BurstBesideSlow", r.mixed.fast, false)
	line("HalfRate", r.steady, true)
	if r.memory.resident > 0 {
		_, err := fmt.Fprintf(out, "BenchmarkFinishedResources\t1\t0 ns/op\t%.1f rss-MiB\t%.1f peak-MiB\n",
			float64(r.memory.resident)/(1<<20), float64(r.memory.peak)/(1<<20))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func milli(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
