package reason

import (
	"fmt"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Budget bounds one investigation by a model. A zero field means its default; none can be switched off.
type Budget struct {
	Turns        int           // answers of the model; default 8
	ToolCalls    int           // of all turns together; default 24
	InputTokens  int           // of all turns together; default 60,000
	OutputTokens int           // the same; default 8,000
	Cost         float64       // in US dollars, by Prices; default 0.50
	WallClock    time.Duration // of the whole; default 25s
	ResultBytes  int           // of one tool's result; default 6 KiB
	TurnTimeout  time.Duration // of one answer of the model; default 20s
	ToolTimeout  time.Duration // of one tool; default 5s
	Parallel     int           // tools at once; default 4
}

// WithDefaults fills zero fields. The error is an *incident.Error of KindInvalid that names every negative one.
func (b Budget) WithDefaults() (Budget, error) {
	var faults incident.FieldErrors
	integer := func(field string, v *int, otherwise int) {
		switch {
		case *v < 0:
			faults.Add(field, "must not be negative")
		case *v == 0:
			*v = otherwise
		}
	}
	duration := func(field string, v *time.Duration, otherwise time.Duration) {
		switch {
		case *v < 0:
			faults.Add(field, "must not be negative")
		case *v == 0:
			*v = otherwise
		}
	}
	integer("turns", &b.Turns, 8)
	integer("tool_calls", &b.ToolCalls, 24)
	integer("input_tokens", &b.InputTokens, 60_000)
	integer("output_tokens", &b.OutputTokens, 8_000)
	integer("result_bytes", &b.ResultBytes, 6<<10)
	integer("parallel", &b.Parallel, 4)
	duration("wall_clock", &b.WallClock, 25*time.Second)
	duration("turn_timeout", &b.TurnTimeout, 20*time.Second)
	duration("tool_timeout", &b.ToolTimeout, 5*time.Second)
	switch {
	case !(b.Cost >= 0): // also for NaN
		faults.Add("cost", "must not be negative")
	case b.Cost == 0:
		b.Cost = 0.50
	}
	if len(faults) > 0 {
		return b, incident.Errorf(incident.KindInvalid, "check the budget", "%w", faults)
	}
	return b, nil
}

// Prices are those of one model, in US dollars for a million tokens. The zero value is a model that
// costs nothing.
type Prices struct {
	Input  float64
	Cached float64 // of input that was seen before; 0 means Input
	Output float64
}

// Of returns what a usage costs.
func (p Prices) Of(u Usage) float64 {
	cached := p.Cached
	if cached == 0 {
		cached = p.Input
	}
	return (float64(u.Input-u.Cached)*p.Input + float64(u.Cached)*cached + float64(u.Output)*p.Output) / 1e6
}

// Limit names what ended an investigation before the model was done; empty when nothing did.
type Limit string

const (
	LimitTurns        Limit = "turns"
	LimitToolCalls    Limit = "tool_calls"
	LimitInputTokens  Limit = "input_tokens"
	LimitOutputTokens Limit = "output_tokens"
	LimitCost         Limit = "cost"
	LimitWallClock    Limit = "wall_clock"
	LimitAttempts     Limit = "attempts"   // every submission was rejected
	LimitRepetition   Limit = "repetition" // the model asks the same again and again
)

// meter is what was used of a budget.
type meter struct {
	budget Budget
	prices Prices
	total  incident.ModelUsage
}

// allow returns the limit that one more turn of so many input tokens would break, and else how long its
// answer may be.
func (m *meter) allow(input int) (Limit, int) {
	switch {
	case m.total.Turns >= m.budget.Turns:
		return LimitTurns, 0
	case m.total.InputTokens+input > m.budget.InputTokens:
		return LimitInputTokens, 0
	}
	output := min(m.budget.OutputTokens-m.total.OutputTokens, maxOutput)
	if output < minOutput {
		return LimitOutputTokens, 0
	}
	left := m.budget.Cost - m.total.Cost
	if m.prices.Output > 0 {
		output = min(output, int((left-m.prices.Of(Usage{Input: input}))*1e6/m.prices.Output))
	}
	if output < minOutput || m.prices.Of(Usage{Input: input, Output: minOutput}) > left {
		return LimitCost, 0
	}
	return "", output
}

// Bounds of one answer, in tokens: a submission fits into the smaller.
const (
	maxOutput = 2_000
	minOutput = 300
)

// spend adds a turn. What the vendor did not count is estimated.
func (m *meter) spend(u Usage, estimated Usage) Usage {
	if u.Input <= 0 && u.Output <= 0 {
		u, m.total.Estimated = estimated, true
	}
	u = Usage{Input: max(u.Input, 0), Output: max(u.Output, 0), Cached: min(max(u.Cached, 0), max(u.Input, 0))}
	m.total.Turns++
	m.total.InputTokens += u.Input
	m.total.CachedTokens += u.Cached
	m.total.OutputTokens += u.Output
	m.total.Cost += m.prices.Of(u)
	return u
}

func (l Limit) String() string {
	switch l {
	case LimitAttempts:
		return "every submission was rejected"
	case LimitRepetition:
		return "the model asked the same again and again"
	}
	return fmt.Sprintf("the budget's limit %s was reached", string(l))
}
