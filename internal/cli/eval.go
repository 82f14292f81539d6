package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/internal/app/holmesgptapi"
	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/evaluate"
)

// evalFlags say what to measure, and how often.
type evalFlags struct {
	config   string
	runs     int
	parallel int
	format   output
}

func (c *command) eval() *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use:   "eval DIR...",
		Short: "Measure the engine on scenarios, without a model and with one",
		Long: `Measure the engine on scenarios, without a model and with the one that a configuration of holmesgpt-api names, side
by side: how often the answer is right, whether evidence carries what the model says, whether confidence can be
believed, how far answers vary, how long they take and what they cost.

A DIR holds scenarios: YAML files of a faulted cluster and of the answer that is right, as in test/scenarios. A
model is asked about each scenario as often as -n says, and every time it may cost as much as llm.budget allows.
Without --config, and where the configuration has no model, only the engine is measured.`,
		Example: `  kubernaut eval test/scenarios/open
  kubernaut eval test/scenarios/open --config holmesgpt-config.yaml -n 3 -o markdown > report.md`,
		Args: arguments(1, 1<<10, "one DIR or more"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.evaluate(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "configuration `file` of holmesgpt-api, whose section llm names the model")
	flags.IntVarP(&f.runs, "runs", "n", 1, "`times` that each scenario is put")
	flags.IntVar(&f.parallel, "parallel", 2, "scenarios at once; with more than one their latencies are those under load")
	bindOutput(cmd, &f.format, "text", "json", "markdown")
	return cmd
}

// evalReport is the document of -o json.
type evalReport struct {
	Version  string `json:"version"` // of the program
	Provider string `json:"provider,omitempty"`
	Model    string `json:"modelName,omitempty"`
	evaluate.Report
}

func (c *command) evaluate(ctx context.Context, f evalFlags, dirs []string) error {
	if f.runs < 1 || f.parallel < 1 {
		return &usageError{err: errors.New("-n and --parallel must be at least 1")}
	}
	subjects, err := readSubjects(dirs)
	if err != nil {
		return err
	}
	shelf, err := builtinWorkflows()
	if err != nil {
		return err
	}
	o := evaluate.Options{Subjects: subjects, Catalog: shelf, Runs: f.runs, Parallel: f.parallel, Clock: c.clock}
	r := evalReport{Version: buildVersion()}
	if f.config != "" {
		cfg, err := config.LoadHolmesGPTAPI(f.config, c.env)
		if err != nil {
			return err
		}
		for _, w := range cfg.Warnings {
			fmt.Fprintf(c.Err, "kubernaut: %s: %s\n", f.config, w)
		}
		if cfg.LLM.Used() {
			r.Provider, r.Model = cfg.LLM.Provider, cfg.LLM.Name
			if o.Reasoner, err = holmesgptapi.NewReasoner(cfg.LLM, shelf); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(c.Err, "kubernaut: %s names no model to ask: only the engine is measured\n", f.config)
		}
	}
	trials, err := c.tried(ctx, o, r.Model)
	if err != nil {
		return err
	}
	r.Report = evaluate.ReportOf(trials)
	return c.writeEvaluation(f.format, r)
}

// tried puts the scenarios to the engine and the model, and shows how far that is.
func (c *command) tried(ctx context.Context, o evaluate.Options, model string) ([]evaluate.Trial, error) {
	p := newProgress(c.Err, c.err, false, c.clock)
	defer p.close()
	name := "putting " + counted(len(o.Subjects), "scenario")
	if o.Reasoner != nil {
		name += " to " + model
	}
	running := p.start(clean(name))
	o.Done = func(finished, all int) { running.update("%d of %d", finished, all) }
	trials, err := evaluate.Run(ctx, o)
	if err != nil {
		running.fail(err)
		return nil, err
	}
	running.drop()
	return trials, nil
}

// readSubjects reads the scenarios of directories, each of which must have some.
func readSubjects(dirs []string) ([]evaluate.Subject, error) {
	var subjects []evaluate.Subject
	for _, dir := range dirs {
		all, err := scenario.Load(os.DirFS(dir), ".")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%s has no scenarios: they are files *.yaml", dir)
		}
		for _, s := range all {
			subjects = append(subjects, evaluate.Subject{Set: filepath.Base(filepath.Clean(dir)), Scenario: s})
		}
	}
	return subjects, nil
}

// headline says what was measured.
func (r evalReport) headline() string {
	text := counted(r.Scenarios, "scenario") + ", each put " + counted(r.Runs, "time") + ", to the engine"
	if r.Report.Model != nil {
		text += fmt.Sprintf(" and to %s (%s)", r.Model, r.Provider)
	}
	return text
}

func (c *command) writeEvaluation(format output, r evalReport) error {
	switch format {
	case "json":
		return printObject(c.Out, format, r)
	case "markdown":
		_, err := fmt.Fprint(c.Out, evaluationPage(r))
		return err
	}
	if _, err := fmt.Fprintf(c.Out, "%s\n", clean(r.headline())); err != nil {
		return err
	}
	for _, part := range r.Tables() {
		if _, err := fmt.Fprintf(c.Out, "\n%s\n", c.out.bold(part.Title)); err != nil {
			return err
		}
		t := &table{paint: func(row, _ int, cell string) string {
			if row == 0 {
				return c.out.dim(cell)
			}
			return cell
		}}
		for _, row := range part.Rows {
			cells := make([]string, len(row))
			for i, cell := range row {
				cells[i] = clean(cell)
			}
			t.add(cells...)
		}
		if err := t.write(c.Out); err != nil {
			return err
		}
	}
	return nil
}

// evaluationPage is the report as Markdown. What a model or a scenario says in it is text and no markup.
func evaluationPage(r evalReport) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Evaluation\n\n%s. Measured with kubernaut %s.\n", escape(r.headline()), escape(r.Version))
	for _, part := range r.Tables() {
		fmt.Fprintf(&b, "\n## %s\n\n", part.Title)
		for i, row := range part.Rows {
			b.WriteString("|")
			for _, cell := range row {
				b.WriteString(" " + escape(cell) + " |")
			}
			b.WriteString("\n")
			if i == 0 {
				b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
			}
		}
	}
	return b.String()
}
