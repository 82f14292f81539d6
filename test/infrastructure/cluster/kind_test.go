package cluster

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	kinderrors "sigs.k8s.io/kind/pkg/errors"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

func TestTranslate(t *testing.T) {
	inner := kindexec.Command("sh", "-c", `echo "Error: no such container"; exit 125`).Run()
	err := translate(kinderrors.Wrap(inner, "failed to read logs"))
	failed, ok := errors.AsType[*command.Error](err)
	if !ok || failed.ExitCode != 125 || !strings.Contains(failed.Output, "no such container") || !strings.HasPrefix(failed.Cmd, "sh -c") {
		t.Fatalf("got %v, %+v", err, failed)
	}
	if !strings.HasPrefix(err.Error(), "failed to read logs") {
		t.Errorf("got %q, want Kind's text", err)
	}
	if f := failure.Classify(t.Context(), "cluster", err, nil); f.Row != "F01" {
		t.Errorf("got row %q, want F01", f.Row)
	}
	plain := errors.New("plain")
	if got := translate(plain); !errors.Is(got, plain) {
		t.Errorf("got %v, want it as it was", got)
	}
}

func TestWithoutCrictl(t *testing.T) {
	crictl := kindexec.Command("false", "crictl", "images").Run()
	other := kindexec.Command("false", "journalctl").Run()
	for _, row := range []struct {
		name string
		err  error
		want string // in the error; empty: none
	}{
		{"nothing", nil, ""},
		{"crictl alone", crictl, ""},
		{"crictl on two nodes", kinderrors.NewAggregate([]error{crictl, crictl}), ""},
		{"another alone", other, "journalctl"},
		{"both", kinderrors.NewAggregate([]error{crictl, other}), "journalctl"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := withoutCrictl(row.err)
			if row.want == "" && got != nil || row.want != "" && (got == nil || !strings.Contains(got.Error(), row.want) || strings.Contains(got.Error(), "crictl")) {
				t.Errorf("got %v, want %q", got, row.want)
			}
		})
	}
}

// start starts a program that would run for long, in the group of this process or in one of its own.
func start(t *testing.T, own bool) (*exec.Cmd, <-chan error) {
	t.Helper()
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: own}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
	})
	return cmd, ended
}

func TestReap(t *testing.T) {
	_, foreign := start(t, true)
	_, first := start(t, false)
	_, second := start(t, false)
	begin := time.Now()
	reapAll()
	for _, ended := range []<-chan error{first, second} {
		select {
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
				t.Errorf("got %v, want an end by SIGTERM", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a child of this group still runs")
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	select {
	case err := <-foreign:
		t.Errorf("a child of another group was ended: %v", err)
	default:
	}
}

func TestReapUntil(t *testing.T) {
	_, child := start(t, false)
	ended := make(chan struct{})
	go func() { // as Kind does: one program after another, each waited for
		defer close(ended)
		<-child
		again := exec.Command("sleep", "300")
		_ = again.Run()
	}()
	if !reapUntil(ended) {
		t.Error("the call did not return")
	}
}

func TestChildrenByPS(t *testing.T) {
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("there is no ps")
	}
	cmd, _ := start(t, false)
	own, _ := start(t, true)
	got := childrenByPS(syscall.Getpid(), syscall.Getpgrp())
	var found bool
	for _, pid := range got {
		found = found || pid == cmd.Process.Pid
		if pid == own.Process.Pid {
			t.Error("it lists a child of another group")
		}
	}
	if !found {
		t.Errorf("got %v, want %d in it", got, cmd.Process.Pid)
	}
}
