package approval

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const shipped = "../../deploy/policies/approval.rego"

// BenchmarkEvaluate reports evaluations per second and CPU per evaluation of the shipped policy,
// with the conversion of the input.
func BenchmarkEvaluate(b *testing.B) {
	e, err := Load(filepath.FromSlash(shipped), Options{EvaluationTimeout: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	automatic, production, recovery := knownInput(), knownInput(), knownInput()
	production.Environment = "production"
	production.Warnings = []string{"memory near its limit"}
	production.DetectedLabels.Stateful = true
	recovery.IsRecoveryAttempt, recovery.RecoveryAttemptNumber = true, 3
	for _, bb := range []struct {
		name  string
		input Input
	}{{"automatic", automatic}, {"production", production}, {"recovery", recovery}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			cpu := cpuTime(b)
			for b.Loop() {
				if _, err := e.Evaluate(context.Background(), bb.input); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "evaluations/s")
		})
	}
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		cpu := cpuTime(b)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := e.Evaluate(context.Background(), production); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "evaluations/s")
	})
}

// BenchmarkInput is the share of the conversion in BenchmarkEvaluate.
func BenchmarkInput(b *testing.B) {
	b.ReportAllocs()
	in := knownInput()
	for b.Loop() {
		in.document()
	}
}

// BenchmarkCompile is what a reload costs, self-test included.
func BenchmarkCompile(b *testing.B) {
	text, err := read(filepath.FromSlash(shipped))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := compile(context.Background(), "approval.rego", text, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime returns the user and system time of this process.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
