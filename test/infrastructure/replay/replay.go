// Package replay plays a machine on which the harness runs: the programs that it calls (podman, docker, go, ginkgo,
// iptables and those of a node) are one fake, put on PATH under their names. It keeps containers, images and networks in a file, answers as
// the real ones do, and does as a script says where that wants something to go wrong. No container runs and nothing of the
// machine changes, so that every failure of the table can be brought about in a second.
package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// EnvDir names the directory of the machine that a fake plays.
const EnvDir = "E2E_REPLAY_DIR"

// Files of a machine's directory.
const (
	scriptFile = "script.json"
	stateFile  = "state.json"
	callsFile  = "calls.jsonl"
	adminFile  = "admin.conf"
	nodeBin    = "node" // programs of a node
)

// Step makes calls go another way.
type Step struct {
	// Call is an expression that matches the command line, without the directory of the program.
	Call string `json:"call"`
	// From is the first matching call that is meant, Times how many are; zero: the first, and one. Negative Times: all.
	From  int `json:"from,omitempty"`
	Times int `json:"times,omitempty"`
	// Stderr, Stdout and Exit are what the call says and how it ends.
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
	Exit   int    `json:"exit,omitempty"`
	// Effects happen to the machine; see World.Do.
	Effects []string `json:"effects,omitempty"`
	// Carried says that the call also does what it should, before it says so.
	Carried bool `json:"carried,omitempty"`
	// Delay is waited first; Hang waits until somebody ends the call.
	Delay time.Duration `json:"delay,omitempty"`
	Hang  bool          `json:"hang,omitempty"`
	// Touch is a file that is made when the call has begun, for who waits for that.
	Touch string `json:"touch,omitempty"`
}

// Script is what a machine is to do.
type Script struct {
	// Steps are looked through in order; the first that is meant decides.
	Steps []Step `json:"steps,omitempty"`
	// Phases are effects at the beginning of a phase of the harness.
	Phases map[string][]string `json:"phases,omitempty"`
	// APIPort is where the API server of the nodes answers.
	APIPort int `json:"apiPort"`
	// Node is the reference of an image of nodes that is there; empty: none.
	Node string `json:"node,omitempty"`
	// Info overrides parts of what the engine says of itself, by dotted path.
	Info map[string]any `json:"info,omitempty"`
}

// Call is one call of a fake.
type Call struct {
	Line string `json:"line"`
	Exit int    `json:"exit"`
	// Scripted says that a step decided.
	Scripted bool `json:"scripted,omitempty"`
	// Evidence is how many failed attempts had left evidence when the call began.
	Evidence int `json:"evidence"`
}

// World is a machine that is played.
type World struct {
	// Dir is the machine's directory.
	Dir string
}

// New makes a machine in an empty directory.
func New(dir string, s Script, adminConf []byte) (*World, error) {
	for name, v := range map[string]any{scriptFile: s, stateFile: firstState(s)} {
		content, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("machine in %s: %w", dir, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	return &World{dir}, os.WriteFile(filepath.Join(dir, adminFile), adminConf, 0o600)
}

// Install puts the fake, a compiled program, on a PATH of its own under the names of programs beside an engine, and
// returns that directory.
func (w *World) Install(fake string, programs ...string) (string, error) {
	dir := filepath.Join(w.Dir, "bin")
	for to, names := range map[string][]string{dir: programs, filepath.Join(w.Dir, nodeBin): {"ctr", "journalctl"}} {
		if err := os.MkdirAll(to, 0o700); err != nil {
			return "", err
		}
		for _, name := range names {
			if err := os.Symlink(fake, filepath.Join(to, name)); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
}

// Calls are the calls so far, in the order in which they ended.
func (w *World) Calls() ([]Call, error) {
	content, err := os.ReadFile(filepath.Join(w.Dir, callsFile))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var all []Call
	for line := range strings.Lines(string(content)) {
		var c Call
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			return nil, fmt.Errorf("calls of machine %s: %w", w.Dir, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// Phase has the effects of a phase's beginning happen.
func (w *World) Phase(name string) error {
	s, err := w.script()
	if err != nil {
		return err
	}
	return w.Do(s.Phases[name]...)
}

// Do has something happen to the machine, each one of: "stop NAME", "oom NAME", "remove NAME" (a container, * for
// all nodes), "storage NAME" (one that only the storage knows), "lose NAME" (the images on a node), "file PATH=CONTENT"
// (what is read where the nodes run), "disk FREE" (bytes free there), "skew DURATION" (of its clock), "twice" (the network),
// "old-image REF" (one of the harness's), "untag REF" (an image), and "touch FILE".
func (w *World) Do(effects ...string) error {
	return w.change(func(s *state) error { return s.happen(effects) })
}

// Left names what is on the machine, the image of nodes aside, that somebody should have removed.
func (w *World) Left() (left []string, err error) {
	err = w.change(func(s *state) error {
		for _, c := range s.Containers {
			left = append(left, "container "+c.Name)
		}
		for _, n := range s.Networks {
			left = append(left, "network "+n.Name)
		}
		for v := range s.Volumes {
			left = append(left, "volume "+v)
		}
		for _, r := range s.Rules {
			left = append(left, "rule "+r)
		}
		for _, i := range s.Images {
			if len(i.Labels) > 0 {
				left = append(left, "image "+strings.Join(i.Tags, ", "))
			}
		}
		return nil
	})
	return left, err
}

func (w *World) script() (Script, error) {
	content, err := os.ReadFile(filepath.Join(w.Dir, scriptFile))
	if err != nil {
		return Script{}, err
	}
	var s Script
	return s, json.Unmarshal(content, &s)
}

// change reads the state, changes it and writes it, while nobody else does.
func (w *World) change(f func(*state) error) error {
	guard, err := os.OpenFile(filepath.Join(w.Dir, "state.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer guard.Close()
	if err := syscall.Flock(int(guard.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	path := filepath.Join(w.Dir, stateFile)
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var s state
	if err := json.Unmarshal(before, &s); err != nil {
		return fmt.Errorf("state of machine %s: %w", w.Dir, err)
	}
	failed := f(&s)
	content, err := json.Marshal(s)
	if err == nil && !bytes.Equal(content, before) {
		// Under the lock; whole, since a fake is killed where the harness ends a command.
		if err = os.WriteFile(path+".new", content, 0o600); err == nil {
			err = os.Rename(path+".new", path)
		}
	}
	if failed != nil {
		return failed
	}
	return err
}

// decide finds the step that is meant by a call, and counts it.
func (w *World) decide(steps []Step, line string) (*Step, error) {
	var matching []int
	for i, step := range steps {
		expr, err := regexp.Compile(step.Call)
		if err != nil {
			return nil, err
		}
		if expr.MatchString(line) {
			matching = append(matching, i)
		}
	}
	if len(matching) == 0 {
		return nil, nil
	}
	var found *Step
	err := w.change(func(s *state) error {
		for _, i := range matching {
			step := &steps[i]
			s.Counts[i]++
			first := max(step.From, 1)
			times := step.Times
			if times == 0 {
				times = 1
			}
			if n := s.Counts[i]; found == nil && n >= first && (times < 0 || n < first+times) {
				found = step
			}
		}
		return nil
	})
	return found, err
}

// record adds a call to the list.
func (w *World) record(c Call) error {
	f, err := os.OpenFile(filepath.Join(w.Dir, callsFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return err
}
