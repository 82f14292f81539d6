package reason

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// session is one investigation.
type session struct {
	r      *Reasoner
	c      Case
	view   *View
	ledger *Ledger
	engine int // pieces of evidence that were there before
	watch  *watchdog
	gate   *gate
	submit submit
	meter  meter
	ends   time.Time     // the deadline
	slow   time.Duration // the longest answer so far

	messages []Message
	sent     int // messages that are in the transcript
	entries  []Entry
	asked    map[string]int // identical calls
	calls    int
	shrunk   bool

	attempts []incident.ValidationAttempt
	accepted *Submission
	partial  *Submission // the best of those that were rejected

	model   string
	stopped string
	err     error
}

func newSession(r *Reasoner, c Case) *session {
	s := &session{
		r: r, c: c, view: NewView(c, r.o.Live), ledger: NewLedger(c.Result.Evidence), engine: len(c.Result.Evidence), watch: newWatchdog(c),
		meter: meter{budget: r.o.Budget, prices: r.o.Prices}, asked: map[string]int{}, model: r.o.Name,
	}
	s.view.Catalog, s.view.History = r.o.Catalog, r.o.History
	s.gate = &gate{c: c, snap: c.Snapshot, ledger: s.ledger, stated: stated(c)}
	return s
}

func (s *session) progress(ctx context.Context, p Progress) {
	p.Turn = s.meter.total.Turns
	p.InputTokens, p.OutputTokens, p.Cost = s.meter.total.InputTokens, s.meter.total.OutputTokens, s.meter.total.Cost
	s.r.o.Watch(ctx, p)
}

func (s *session) enter(e Entry) {
	e.At, e.Turn = s.r.o.Clock().UTC(), s.meter.total.Turns
	s.entries = append(s.entries, e)
}

// run talks with the model until it is done or may not go on.
func (s *session) run(ctx context.Context) {
	var err error
	if s.submit, err = newSubmit(s.c); err != nil {
		s.err = incident.Errorf(incident.KindInternal, "describe a submission", "%w", err)
		return
	}
	s.ends, _ = ctx.Deadline()
	text, shown := tell(s.c, s.ledger, s.r.o.Redact)
	s.inspect(shown)
	for _, e := range s.c.Result.Evidence { // also what there was no room to show: the engine quotes it
		s.watch.evidence(e)
	}
	s.watch.incident(s.c.Incident)
	s.messages = []Message{{Role: RoleUser, Text: text}}
	for s.accepted == nil && s.stopped == "" && s.err == nil {
		s.turn(ctx)
	}
	if s.err != nil && s.stopped == "" && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.stopped = LimitWallClock.String()
	}
}

// inspect looks for orders in what was shown.
func (s *session) inspect(ids []string) {
	for _, id := range ids {
		if e, ok := s.ledger.Find(id); ok {
			s.watch.evidence(e)
		}
	}
}

// turn asks the model once and does what it wants.
func (s *session) turn(ctx context.Context) {
	req, ok := s.request()
	if !ok {
		return
	}
	s.progress(ctx, Progress{Kind: ProgressTurn})
	before := s.meter.total.Cost
	resp, err := s.ask(ctx, req)
	if err != nil {
		s.enter(Entry{Error: s.r.o.Redact(err.Error()), Cost: s.meter.total.Cost - before})
		if incident.KindOf(err) == incident.KindTooLarge && s.shrink() {
			return
		}
		s.err = err
		return
	}
	s.progress(ctx, Progress{Kind: ProgressAnswered})
	if resp.Stop == StopRefused {
		s.err = incident.Errorf(incident.KindForbidden, "ask the model", "it declined to answer")
		return
	}
	s.messages = append(s.messages, Message{Role: RoleModel, Text: resp.Text, Calls: resp.Calls})
	if len(resp.Calls) == 0 {
		s.reject(ctx, Submission{}, []string{"the answer is no call of " + submitName})
		s.messages = append(s.messages, Message{Role: RoleUser, Text: s.r.prompts.nudge})
		return
	}
	results := s.answer(ctx, resp.Calls)
	s.messages = append(s.messages, Message{Role: RoleTool, Results: results})
}

// request is the next turn, or false when the budget has none: then stopped says so.
func (s *session) request() (Request, bool) {
	req := Request{System: s.r.prompts.system, Messages: s.messages}
	for _, t := range s.r.o.Tools.tools {
		req.Tools = append(req.Tools, t.Definition)
	}
	req.Tools = append(req.Tools, s.submit.Definition)
	input := countRequest(req)
	limit, output := s.meter.allow(input)
	if limit != "" {
		s.stopped = limit.String()
		return Request{}, false
	}
	if s.last(input, output) {
		req.Only = submitName
		if n := len(s.messages); n > 1 && s.messages[n-1].Text != s.r.prompts.last {
			s.messages = append(s.messages, Message{Role: RoleUser, Text: s.r.prompts.last})
			req.Messages = s.messages
		}
	}
	req.MaxOutput = output
	s.enter(Entry{Request: &Asked{Messages: slices.Clone(s.messages[s.sent:]), Only: req.Only, MaxOutput: output, Estimated: input}})
	s.sent = len(s.messages)
	return req, true
}

// last reports whether there will be no further turn after one of this size.
func (s *session) last(input, output int) bool {
	after := s.meter
	after.spend(Usage{Input: input, Output: min(output, minOutput)}, Usage{})
	limit, _ := after.allow(input + minOutput + s.r.o.Budget.ResultBytes/4)
	return limit != "" || s.calls >= s.r.o.Budget.ToolCalls || time.Until(s.ends) < 2*s.slow+time.Second
}

// Bounds of what is taken of an answer.
const (
	maxAnswerText  = 64 << 10
	maxCallsInTurn = 16
)

// ask is one call of the model. What it said is bounded and counted.
func (s *session) ask(ctx context.Context, req Request) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, s.r.o.Budget.TurnTimeout)
	defer cancel()
	began := time.Now()
	resp, err := s.r.o.Model.Turn(ctx, req)
	s.slow = max(s.slow, time.Since(began))
	estimated := Usage{Input: countRequest(req)}
	if err != nil {
		// What it cost is not known. That it was sent counts, so that errors cannot be bought without end.
		s.meter.spend(Usage{}, estimated)
		if ctx.Err() != nil && incident.KindOf(err) != incident.KindTimeout {
			err = incident.Errorf(incident.KindTimeout, "ask the model", "%w", ctx.Err())
		}
		return Response{}, err
	}
	if len(resp.Text) > maxAnswerText {
		resp.Text = strings.ToValidUTF8(resp.Text[:maxAnswerText], "")
	}
	resp.Text = s.r.o.Redact(resp.Text)
	resp.Calls = slices.Clone(resp.Calls[:min(len(resp.Calls), maxCallsInTurn)])
	for i := range resp.Calls {
		c := &resp.Calls[i]
		if len(c.Arguments) > maxArguments || !json.Valid(c.Arguments) {
			text, _ := json.Marshal(string(c.Arguments[:min(len(c.Arguments), maxArguments)])) // a string always has a JSON form
			c.Arguments = text
		}
	}
	before := s.meter.total.Cost
	estimated.Output = countMessage(Message{Text: resp.Text, Calls: resp.Calls})
	resp.Usage = s.meter.spend(resp.Usage, estimated)
	if resp.Model != "" {
		s.model = clip(Visible(resp.Model), 100)
	}
	s.enter(Entry{Response: &resp, Cost: s.meter.total.Cost - before})
	return resp, nil
}

// shrink makes room, once: what tools said is left out, but for the last.
func (s *session) shrink() bool {
	if s.shrunk {
		return false
	}
	s.shrunk = true
	made := false
	for i := range s.messages[:max(len(s.messages)-1, 0)] {
		for k := range s.messages[i].Results {
			s.messages[i].Results[k].Content = `{"notes":["left out to make room; ask again if you need it"]}`
			made = true
		}
	}
	clear(s.asked)
	return made
}

// answer runs the calls of one turn, side by side, and writes their results in their order.
func (s *session) answer(ctx context.Context, calls []Call) []CallResult {
	outputs, durations := s.runTools(ctx, calls)
	results := make([]CallResult, len(calls))
	submitted := false
	s.gate.snap = s.view.Now()
	for i, c := range calls {
		if c.Name == submitName {
			continue
		}
		content, failed := s.show(c, outputs[i])
		results[i] = CallResult{CallID: c.ID, Content: content, Failed: failed}
		s.enter(Entry{Result: &ToolAnswer{
			Index: s.calls, CallID: c.ID, Tool: c.Name, Arguments: c.Arguments, Content: content, Failed: failed, DurationMS: durations[i].Milliseconds(),
		}})
		s.calls++
		s.meter.total.ToolCalls++
		s.progress(ctx, Progress{Kind: ProgressTool, Tool: clip(Visible(c.Name), 60), Failed: failed})
	}
	for i, c := range calls {
		if c.Name != submitName {
			continue
		}
		if submitted {
			results[i] = CallResult{c.ID, jsonText(rendered{Error: "only the first submission of a turn is looked at"}), true}
			continue
		}
		submitted = true
		sub, faults := s.submit.read(c.Arguments, s.ledger)
		if len(faults) == 0 {
			s.accept(ctx, sub)
			results[i] = CallResult{c.ID, `{"notes":["accepted"]}`, false}
			continue
		}
		s.reject(ctx, sub, faults)
		results[i] = CallResult{c.ID, jsonText(struct {
			Rejected []string `json:"rejected"`
			Left     int      `json:"attemptsLeft"`
		}{faults, MaxAttempts - len(s.attempts)}), true}
	}
	return results
}

// ran is what became of one call.
type ran struct {
	output Output
	err    error
}

// maxRepeats is how often one investigation may ask the same again.
const maxRepeats = 3

// runTools runs what may run. Nothing runs any more when it returns.
func (s *session) runTools(ctx context.Context, calls []Call) ([]ran, []time.Duration) {
	out, durations := make([]ran, len(calls)), make([]time.Duration, len(calls))
	slots := make(chan struct{}, s.r.o.Budget.Parallel)
	var running sync.WaitGroup
	room := s.r.o.Budget.ToolCalls - s.calls
	for i, c := range calls {
		key := c.Name + " " + string(c.Arguments)
		switch {
		case c.Name == submitName:
			continue
		case room <= 0:
			out[i].err = incident.Errorf(incident.KindInvalid, "call a tool", "the budget has no further call")
			continue
		case s.asked[key] > 0:
			s.asked[key]++
			if s.repeats() >= maxRepeats {
				s.stopped = LimitRepetition.String()
			}
			out[i].output.Note("the same was asked before, and its answer stands above")
			continue
		}
		s.asked[key] = 1
		room--
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, s.r.o.Budget.ToolTimeout)
			defer cancel()
			began := time.Now()
			out[i].output, out[i].err = s.r.o.Tools.Call(ctx, s.view, c.Name, c.Arguments)
			durations[i] = time.Since(began)
		})
	}
	running.Wait()
	return out, durations
}

func (s *session) repeats() int {
	n := 0
	for _, times := range s.asked {
		n += times - 1
	}
	return n
}

// show writes what a tool said, and looks at it.
func (s *session) show(c Call, r ran) (content string, failed bool) {
	if r.err != nil {
		return jsonText(rendered{Error: Visible(clip(r.err.Error(), 600))}), true
	}
	content, ids := Render(r.output, s.ledger, s.r.o.Budget.ResultBytes)
	s.inspect(ids)
	for i, text := range r.output.Unverified {
		s.watch.look(fmt.Sprintf("answer %d of tool %s", i+1, c.Name), "", text)
	}
	var read rendered
	if json.Unmarshal([]byte(content), &read) == nil {
		for _, f := range read.Findings {
			if len(f.Evidence) > 0 {
				s.gate.stated = append(s.gate.stated, statement{f.Text, f.Evidence})
			}
		}
	}
	return content, false
}

func (s *session) attempt(sub Submission, faults []string) int {
	n := len(s.attempts) + 1
	workflow := sub.Workflow
	if workflow == choiceNone {
		workflow = ""
	}
	workflow = Visible(clip(workflow, 100))
	s.attempts = append(s.attempts, incident.ValidationAttempt{
		Attempt: n, WorkflowID: workflow, Valid: len(faults) == 0, Errors: faults, At: s.r.o.Clock().UTC(),
	})
	s.enter(Entry{Verdict: &Judgement{Attempt: n, Accepted: len(faults) == 0, WorkflowID: workflow, Faults: faults}})
	return n
}

func (s *session) accept(ctx context.Context, sub Submission) {
	n := s.attempt(sub, nil)
	s.accepted = &sub
	s.progress(ctx, Progress{Kind: ProgressSubmitted, Attempt: n})
}

func (s *session) reject(ctx context.Context, sub Submission, faults []string) {
	n := s.attempt(sub, faults)
	if len(sub.Cause) > 0 {
		s.partial = &sub
	}
	if n == MaxAttempts {
		s.stopped = LimitAttempts.String()
	}
	s.progress(ctx, Progress{Kind: ProgressRejected, Attempt: n, Detail: fmt.Sprintf("%d faults", len(faults))})
}
