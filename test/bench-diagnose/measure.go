package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
)

// figure is one thing that was measured, with what is aimed at; an aim of 0 is none.
type figure struct {
	name, bench string
	got, aim    float64
	unit        string
	note        string
}

// memoryLimit is what the runtime is told to keep to.
const memoryLimit = 360 << 20

type report struct{ figures []figure }

func (r *report) took(name, bench string, d, aim time.Duration, note string) {
	r.figures = append(r.figures, figure{name, bench, float64(d.Microseconds()) / 1000, float64(aim.Microseconds()) / 1000, "ms", note})
}

// measure reads and diagnoses the cluster.
func measure(ctx context.Context, t *town, config *rest.Config, profile string) (*report, error) {
	r := &report{}
	stop, err := startProfile(profile)
	if err != nil {
		return nil, err
	}
	defer stop()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memoryLimit)) // as the service's Deployment does by GOMEMLIMIT
	peak := watchHeap()
	everything := incident.Incident{ID: "all", Resource: diagnose.WholeCluster}
	began := time.Now()
	snap, err := observed(ctx, config, everything)
	if err != nil {
		return nil, err
	}
	c := snap.Contents()
	r.took("read the whole cluster", "ReadCluster", time.Since(began), 5*time.Second,
		fmt.Sprintf("%d objects, %d events, %d lists of %d requests, %.1f MB", len(c.Objects), len(c.Events), c.Reading.Lists, c.Reading.Requests, float64(c.Reading.Bytes)/1e6))
	result := diagnose.Run(snap, everything)
	r.figures = append(r.figures, figure{"memory at its peak, reading and diagnosing", "PeakMemory", float64(peak()) / 1e6, 400, "MB", "with GOMEMLIMIT=360MiB"})
	if err := t.check(result); err != nil {
		return nil, err
	}
	r.took("diagnose the whole cluster", "DiagnoseCluster", median(5, func() { diagnose.Run(snap, everything) }), time.Second, result.Summary)
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	r.figures = append(r.figures, figure{"memory of the snapshot", "SnapshotMemory", float64(mem.HeapAlloc) / 1e6, 400, "MB", ""})
	for _, w := range []struct {
		name, bench string
		ref         incident.Ref
	}{{"a workload that crashes", "Ill", t.ill()}, {"a workload that is well", "Well", t.well()}} {
		in := incident.Incident{ID: w.bench, Resource: w.ref}
		one := diagnose.Run(snap, in)
		r.took("diagnose "+w.name, "Diagnose"+w.bench, median(21, func() { diagnose.Run(snap, in) }), 20*time.Millisecond, one.Summary)
		var fault error
		var live *diagnose.Snapshot
		d := median(11, func() {
			s, err := observed(ctx, config, in)
			if err == nil {
				diagnose.Run(s, in)
				live = s
			}
			fault = errors.Join(fault, err)
		})
		if fault != nil {
			return nil, fault
		}
		got := diagnose.Run(live, in)
		if got.Verdict != one.Verdict {
			return nil, fmt.Errorf("%s: live it is %s (%s), in the whole cluster %s (%s)", w.ref, got.Verdict, got.Summary, one.Verdict, one.Summary)
		}
		reading := live.Contents().Reading
		r.took("read and diagnose "+w.name, "Live"+w.bench, d, 300*time.Millisecond, fmt.Sprintf("%d lists of %d requests, %.1f MB", reading.Lists, reading.Requests, float64(reading.Bytes)/1e6))
	}
	return r, nil
}

// observed reads with a reader that has read nothing before.
func observed(ctx context.Context, config *rest.Config, in incident.Incident) (*diagnose.Snapshot, error) {
	live, err := observe.New(observe.Options{Config: config, Cluster: "bench"})
	if err != nil {
		return nil, err
	}
	return live.Observe(ctx, in)
}

// check reports whether the crashing workloads, and no others, were found.
func (t *town) check(r diagnose.Result) error {
	if r.Cause == nil || r.Cause.Class != diagnose.ClassOOMLimit {
		return fmt.Errorf("the whole cluster is %s: %s; gaps %+v", r.Verdict, r.Summary, r.Gaps)
	}
	for _, c := range append(r.Others, *r.Cause) {
		var i int
		if _, err := fmt.Sscanf(c.Target.Name, "svc-%d", &i); err != nil || i%illEvery != 0 {
			return fmt.Errorf("a false cause: %s at %s", c.Class, c.Target)
		}
	}
	return nil
}

// median runs a function so many times and returns the median duration.
func median(n int, f func()) time.Duration {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		f()
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[n/2]
}

// watchHeap samples how much memory is in use until the returned function is called, which returns the most there was.
func watchHeap() (peak func() uint64) {
	runtime.GC()
	var most atomic.Uint64
	sample := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most.Store(max(most.Load(), m.HeapAlloc+m.StackInuse))
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			sample()
			<-tick.C
		}
	}()
	return func() uint64 {
		stop()
		<-ended
		sample()
		return most.Load()
	}
}

func startProfile(dir string) (stop func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	cpu, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = cpu.Close()
		if heap, err := os.Create(filepath.Join(dir, "heap.pprof")); err == nil {
			_ = pprof.Lookup("allocs").WriteTo(heap, 0)
			_ = heap.Close()
		}
	}, nil
}

// print writes the table and returns how many aims were missed.
func (r *report) print(out io.Writer) (missed int, err error) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "what\tmeasured\taim\t\tnotes")
	for _, f := range r.figures {
		verdict := "met"
		if f.got > f.aim {
			verdict = "MISSED"
			missed++
		}
		fmt.Fprintf(w, "%s\t%.1f %s\t< %.0f %s\t%s\t%s\n", f.name, f.got, f.unit, f.aim, f.unit, verdict, f.note)
	}
	if err := w.Flush(); err != nil {
		return missed, err
	}
	for _, f := range r.figures {
		if f.unit == "ms" {
			_, err = fmt.Fprintf(out, "Benchmark%s\t1\t%.0f ns/op\n", f.bench, f.got*1e6)
		} else {
			_, err = fmt.Fprintf(out, "Benchmark%s\t1\t%.1f %s\n", f.bench, f.got, f.unit)
		}
	}
	return missed, err
}
