package evaluate

import (
	"fmt"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
)

// Table is a part of a report, for people. The first row is its head.
type Table struct {
	Title string
	Rows  [][]string
}

// Tables returns the report as tables, engine and model side by side.
func (r Report) Tables() []Table {
	all := []Table{r.sideBySide()}
	if r.Model == nil {
		return all
	}
	all = append(all, r.Model.words(), r.Model.expense())
	if differing := r.Differing(); len(differing) > 0 {
		all = append(all, disputes(differing))
	}
	return all
}

func (r Report) sideBySide() Table {
	head, scores := []string{"", "no model"}, []Score{r.Engine}
	if r.Model != nil {
		head, scores = append(head, "with the model", "what the model itself holds"), append(scores, r.Model.Score, r.Model.Held)
	}
	t := Table{Title: "Answers", Rows: [][]string{head}}
	row := func(name string, cell func(s Score) string) {
		cells := []string{name}
		for _, s := range scores {
			cells = append(cells, cell(s))
		}
		t.Rows = append(t.Rows, cells)
	}
	row("answers", func(s Score) string { return fmt.Sprint(s.Answers) })
	row("class right", func(s Score) string { return ratio(s.Class, s.Answers) })
	row("class and target right", func(s Score) string { return ratio(s.Right, s.Answers) })
	row("causes where nothing is wrong", func(s Score) string { return fmt.Sprint(s.FalseCauses) })
	for _, c := range []struct {
		name string
		of   func(Score) scenario.Reliability
	}{
		{"causes", func(s Score) scenario.Reliability { return s.Causes }},
		{"nothing is wrong", func(s Score) scenario.Reliability { return s.Healthy }},
	} {
		row("claims, "+c.name, func(s Score) string { return fmt.Sprint(c.of(s).Number) })
		row("confidence, "+c.name, func(s Score) string { return figure(c.of(s), c.of(s).Mean) })
		row("Brier, "+c.name, func(s Score) string { return figure(c.of(s), c.of(s).Brier) })
		row("ECE, "+c.name, func(s Score) string { return figure(c.of(s), c.of(s).Error) })
	}
	row("scenarios that vary between runs", func(s Score) string {
		if r.Runs < 2 {
			return "-"
		}
		return ratio(s.Varying, r.Scenarios)
	})
	row("latency, median", func(s Score) string { return millis(s, s.Median) })
	row("latency, longest", func(s Score) string { return millis(s, s.Longest) })
	return t
}

// words is what the model says.
func (a Asked) words() Table {
	t := Table{Title: "The model", Rows: [][]string{{"", "number"}}}
	row := func(name, value string) { t.Rows = append(t.Rows, []string{name, value}) }
	for _, s := range stances() {
		row(string(s), ratio(a.Stances[s], a.Answers))
	}
	row("right where the engine is wrong", fmt.Sprint(a.Helped))
	row("wrong where the engine is right", fmt.Sprint(a.Misled))
	row("sentences that evidence carries", ratio(a.Supported, a.Sentences))
	row("sentences that were not its to say", ratio(a.Dropped, a.Sentences))
	row("prefers another workflow", fmt.Sprint(a.Choices))
	row("asks for a person", fmt.Sprint(a.Reviews))
	for _, limit := range sortedKeys(a.Stopped) {
		row("stopped: "+limit, fmt.Sprint(a.Stopped[limit]))
	}
	for _, kind := range sortedKeys(a.Failures) {
		row("failed: "+kind, fmt.Sprint(a.Failures[kind]))
	}
	return t
}

// expense is what the model cost.
func (a Asked) expense() Table {
	n := max(a.Answers, 1)
	count := "tokens"
	if a.Usage.Estimated {
		count = "tokens, in part estimated"
	}
	all := a.Usage.InputTokens + a.Usage.OutputTokens
	return Table{Title: "What it costs", Rows: [][]string{
		{"", "all", "mean", "median", "most"},
		{count, fmt.Sprint(all), fmt.Sprint(all / n), fmt.Sprint(a.MedianTokens), fmt.Sprint(a.MostTokens)},
		{"of these in", fmt.Sprint(a.Usage.InputTokens), fmt.Sprint(a.Usage.InputTokens / n), "-", "-"},
		{"of these out", fmt.Sprint(a.Usage.OutputTokens), fmt.Sprint(a.Usage.OutputTokens / n), "-", "-"},
		{"US dollars", fmt.Sprintf("%.4f", a.Usage.Cost), fmt.Sprintf("%.4f", a.Usage.Cost/float64(n)), "-", fmt.Sprintf("%.4f", a.MostCost)},
		{"turns", fmt.Sprint(a.Usage.Turns), fmt.Sprintf("%.1f", float64(a.Usage.Turns)/float64(n)), "-", "-"},
		{"tool calls", fmt.Sprint(a.Usage.ToolCalls), fmt.Sprintf("%.1f", float64(a.Usage.ToolCalls)/float64(n)), "-", "-"},
	}}
}

// disputes lists what the model holds against the engine.
func disputes(trials []Trial) Table {
	t := Table{Title: "Where the model holds something else", Rows: [][]string{{"scenario", "run", "right is", "the engine", "the model", "who is right"}}}
	for _, d := range trials {
		who := "neither"
		switch engine, model := d.Want.Right(d.Engine), d.Want.Right(*d.Model.Held); {
		case engine && model:
			who = "both"
		case engine:
			who = "the engine"
		case model:
			who = "the model"
		}
		t.Rows = append(t.Rows, []string{d.Set + "/" + d.Name, fmt.Sprint(d.Run), d.Want.String(), d.Engine.String(), d.Model.Held.String(), who})
	}
	return t
}

func ratio(part, all int) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d (%.1f %%)", part, all, 100*share(part, all))
}

func figure(r scenario.Reliability, value float64) string {
	if r.Number == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", value)
}

func millis(s Score, d time.Duration) string {
	if s.Answers == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
