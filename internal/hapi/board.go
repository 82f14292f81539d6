package hapi

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Names of the steps that the server itself posts.
const (
	StepStarted  = "started"  // the investigation has its turn
	StepFinished = "finished" // it ended; data says how
)

const (
	// maxSteps bounds what is kept of one investigation; the oldest go first. A model's budget makes fewer.
	maxSteps = 512
	// maxEnded bounds how many ended investigations can still be read, so that a reader who was cut off finds the end.
	maxEnded = 64
	// maxStepData bounds one step, in bytes.
	maxStepData = 4 << 10
)

// Board shows how far keyed investigations are. Whoever posts is never held up by a reader. It is safe for
// concurrent use.
type Board struct {
	mu      sync.Mutex
	byKey   map[string]*course
	endings []string // keys of ended ones, oldest first
}

// NewBoard returns an empty board. It belongs to one server.
func NewBoard() *Board { return &Board{byKey: map[string]*course{}} }

// course is what happened in one investigation so far.
type course struct {
	steps   []step
	number  int // of the last step
	ended   bool
	changed chan struct{} // closed at the next change
}

// step is one thing that happened. Numbers count from 1.
type step struct {
	number int
	name   string
	data   []byte // JSON of one line
}

// Post adds a step to the investigation that ctx carries. Without a key, and where none is running under it, nobody
// could read it, and nothing happens. data must hold no text of the cluster.
func (b *Board) Post(ctx context.Context, name string, data any) {
	key := incident.RequestOf(ctx).Key
	if key == "" {
		return
	}
	b.post(key, name, data)
}

func (b *Board) post(key, name string, data any) {
	text, err := json.Marshal(data)
	if err != nil || len(text) > maxStepData {
		text = []byte(`{}`)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.byKey[key]
	if c == nil || c.ended {
		return
	}
	c.number++
	if c.steps = append(c.steps, step{c.number, name, text}); len(c.steps) > maxSteps {
		c.steps = slices.Delete(c.steps, 0, len(c.steps)-maxSteps)
	}
	c.wake()
}

// wake tells readers that something changed.
func (c *course) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// begin makes an investigation readable, from its first step on.
func (b *Board) begin(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endings = slices.DeleteFunc(b.endings, func(k string) bool { return k == key })
	b.byKey[key] = &course{changed: make(chan struct{})}
}

// end posts the last step of an investigation. Its steps can be read until more than maxEnded others have ended.
func (b *Board) end(key string, err error) {
	last := finished{Status: "succeeded"}
	if err != nil {
		last = finished{Status: "failed", Problem: problemOf(incident.KindOf(err)).slug}
	}
	b.post(key, StepFinished, last)
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.byKey[key]
	if c == nil || c.ended {
		return
	}
	c.ended = true
	c.wake()
	if b.endings = append(b.endings, key); len(b.endings) > maxEnded {
		delete(b.byKey, b.endings[0])
		b.endings = slices.Delete(b.endings, 0, 1)
	}
}

// finished is the data of the last step.
type finished struct {
	Status  string `json:"status"`            // succeeded or failed
	Problem string `json:"problem,omitempty"` // last part of the problem's type
}

// course returns the investigation under key; nil where there is none.
func (b *Board) course(key string) *course {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byKey[key]
}

// after returns the steps of c behind a number, whether c has ended, and a channel that is closed when there is more.
// A number that c has not reached is that of another investigation under the same key: all steps are behind it.
func (b *Board) after(c *course, number int) (steps []step, ended bool, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if number > c.number {
		number = 0
	}
	i := slices.IndexFunc(c.steps, func(s step) bool { return s.number > number })
	if i >= 0 {
		steps = slices.Clone(c.steps[i:])
	}
	return steps, c.ended, c.changed
}
