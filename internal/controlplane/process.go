package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	stopTimeout   = 45 * time.Second // above the sum of what the binary allows its parts
	maxReadyBytes = 64 << 10
	maxErrorBytes = 4 << 10
)

// collectLess lets the heap of what we start grow to three times what is in use instead of twice. An API server keeps
// little and allocates much: by default it spends almost a third of its time on garbage. A GOGC of the caller's wins.
const collectLess = "GOGC=200"

// process is a running controlplane binary. It lives as long as we hold the other end of its standard input. It costs
// no goroutine of ours until somebody asks for done.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File // the end that we hold
	stderr *os.File // has no name

	closeStdin sync.Once
	waitOnce   sync.Once
	waitErr    error

	doneOnce  sync.Once
	doneAwait chan struct{}
}

func startProcess(ctx context.Context, binary string, o Options) (*Server, error) {
	args := []string{"--stop-with-stdin", "--dir=" + o.Dir, "--port=" + strconv.Itoa(o.Port), "--fsync=" + strconv.FormatBool(o.Fsync)}
	if o.Controllers != nil {
		args = append(args, "--controllers="+strings.Join(o.Controllers, ","))
	}
	p, stdout, err := spawn("", binary, args)
	if err != nil {
		return nil, fmt.Errorf("start the control plane: %w", err)
	}
	// When the caller gives up, the binary is told to stop, which ends the read below.
	release := context.AfterFunc(ctx, p.hangUp)
	ready, err := readReady(stdout)
	if !release() {
		err = context.Cause(ctx)
	}
	_ = stdout.Close()
	if err != nil {
		stopErr := p.stop()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("start the control plane: %w", context.Cause(ctx))
		}
		if stopErr != nil { // the binary's own words say more than what is missing on its output
			err = stopErr
		}
		return nil, fmt.Errorf("start the control plane: %w", err)
	}
	cfg, err := loadConfig(ready.Kubeconfig)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the control plane: read its kubeconfig: %w", err), p.stop())
	}
	cfg.QPS = -1
	return &Server{config: cfg, kubeconfig: ready.Kubeconfig, backend: p}, nil
}

// spawn starts a program in dir (empty: here) and in a process group of its own, so that an interrupt from the terminal reaches us alone and we
// stop it when nothing needs it any more. All its streams are files: os/exec then needs no goroutine to copy them.
func spawn(dir, binary string, args []string) (*process, *os.File, error) {
	theirIn, ourIn, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer theirIn.Close()
	ourOut, theirOut, err := os.Pipe()
	if err != nil {
		_ = ourIn.Close()
		return nil, nil, err
	}
	defer theirOut.Close()
	stderr, err := os.CreateTemp("", "controlplane-stderr-")
	if err != nil {
		_, _ = ourIn.Close(), ourOut.Close()
		return nil, nil, err
	}
	_ = os.Remove(stderr.Name())
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	if _, given := os.LookupEnv("GOGC"); !given {
		cmd.Env = append(os.Environ(), collectLess)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, stderr
	cmd.SysProcAttr = ownProcessGroup()
	if err := cmd.Start(); err != nil {
		_, _, _ = ourIn.Close(), ourOut.Close(), stderr.Close()
		return nil, nil, err
	}
	return &process{cmd: cmd, stdin: ourIn, stderr: stderr}, ourOut, nil
}

// readyLine is what the binary writes when the API answers.
type readyLine struct {
	Ready      bool   `json:"ready"`
	URL        string `json:"url"`
	Kubeconfig string `json:"kubeconfig"`
}

func readReady(r io.Reader) (readyLine, error) {
	var l readyLine
	text, err := bufio.NewReader(io.LimitReader(r, maxReadyBytes)).ReadBytes('\n')
	if err != nil {
		return l, fmt.Errorf("it ended before it was ready: %w", err)
	}
	if err := json.Unmarshal(text, &l); err != nil || !l.Ready || l.Kubeconfig == "" {
		return l, fmt.Errorf("it wrote %.200q where its readiness was expected; is it a controlplane binary of another version?", text)
	}
	return l, nil
}

// hangUp tells the binary to stop.
func (p *process) hangUp() {
	p.closeStdin.Do(func() { _ = p.stdin.Close() })
}

// wait returns how the binary ended: nil, or an error with its last words.
func (p *process) wait() error {
	p.waitOnce.Do(func() {
		defer p.stderr.Close()
		if err := p.cmd.Wait(); err != nil {
			p.waitErr = fmt.Errorf("%s: %w: %s", p.cmd.Args[0], err, p.lastWords())
		}
	})
	return p.waitErr
}

func (p *process) lastWords() string {
	info, err := p.stderr.Stat()
	if err != nil {
		return err.Error()
	}
	text := make([]byte, min(info.Size(), maxErrorBytes))
	if _, err := p.stderr.ReadAt(text, info.Size()-int64(len(text))); err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text))
}

func (p *process) stop() error {
	p.hangUp()
	kill := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	return p.wait()
}

func (p *process) done() <-chan struct{} {
	p.doneOnce.Do(func() {
		p.doneAwait = make(chan struct{})
		go func() {
			defer close(p.doneAwait)
			_ = p.wait()
		}()
	})
	return p.doneAwait
}
